"""Two threads on one pile of blocks: every block once, whatever goes wrong, and no thread left behind."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from refspec.transformer import cores
from refspec.transformer.cores import Helper


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Helper]:
    monkeypatch.setattr(cores, "IDLE", 0.02)
    yield (made := Helper())
    ended(made)


def ended(helper: Helper) -> None:
    for _ in range(500):
        if not helper._runs and not any(thread.name == "refspec-helper" for thread in threading.enumerate()):
            return
        time.sleep(0.01)
    raise AssertionError("the helper is still there after five seconds")


def who_did(helper: Helper, blocks: int, wait: float = 0.002, **options: bool) -> dict[int, str]:
    done: dict[int, str] = {}

    def work(block: int) -> None:
        assert block not in done
        done[block] = threading.current_thread().name
        time.sleep(wait)  # lets go of Python's lock, as a product does

    helper.share(work, blocks, **options)
    assert sorted(done) == list(range(blocks))
    return done


def test_both_take_blocks(helper: Helper) -> None:
    assert len(Counter(who_did(helper, 40).values())) == 2


@pytest.mark.parametrize("blocks", [0, 1, 2, 7])
def test_every_block_is_done_once_before_it_returns(helper: Helper, blocks: int) -> None:
    for _ in range(50):
        who_did(helper, blocks, wait=0)


def test_alone_is_alone(helper: Helper) -> None:
    assert set(who_did(helper, 5, alone=True).values()) == {"MainThread"}
    assert not helper._runs


def test_the_thread_ends_when_nothing_comes_and_another_starts(helper: Helper) -> None:
    for _ in range(3):
        who_did(helper, 4)
        assert helper._runs
        ended(helper)


def test_asked_just_when_it_ends(helper: Helper) -> None:
    """The moment at which the helper gives up is the moment at which work comes."""
    for i in range(30):
        who_did(helper, 3, wait=0)
        time.sleep(0.018 + 0.0002 * i)


@pytest.mark.parametrize("side", ["MainThread", "refspec-helper"])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_of_either_side_is_raised_and_ends_both(helper: Helper, side: str, kind: type[BaseException]) -> None:
    done = 0

    def work(block: int) -> None:
        nonlocal done
        done += 1
        time.sleep(0.002)
        if threading.current_thread().name == side:
            raise kind("wrong")

    with pytest.raises(kind, match="wrong"):
        helper.share(work, 10_000)
    assert done < 1000
    who_did(helper, 20)


def test_a_pile_within_a_pile(helper: Helper) -> None:
    done: list[tuple[int, int]] = []

    def outer(block: int) -> None:
        helper.share(lambda inner: done.append((block, inner)), 5)

    helper.share(outer, 8)
    assert sorted(done) == [(i, j) for i in range(8) for j in range(5)]


def test_many_callers_at_once(helper: Helper) -> None:
    done: list[int] = []
    callers = [threading.Thread(target=helper.share, args=(done.append, 300)) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert Counter(done) == dict.fromkeys(range(300), 6)


def test_no_more_threads_allowed(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert set(who_did(helper, 5).values()) == {"MainThread"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_starts_a_helper_of_its_own() -> None:
    """In a process of its own, since pytest's may have threads that a fork would not copy."""
    code = """
import os, sys, threading, time
from refspec.transformer.cores import HELPER
def names():
    seen = set()
    HELPER.share(lambda block: (seen.add(threading.current_thread().name), time.sleep(0.002)), 40)
    return len(seen)
assert names() == 2
child = os.fork()
if child == 0:
    os._exit(0 if names() == 2 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60).returncode == 0


def test_python_ends_while_the_helper_waits() -> None:
    code = "from refspec.transformer.cores import HELPER; HELPER.share(print, 3)"
    ran = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr, len(ran.stdout)) == (0, "", 6)

"""Two threads on one piece of work: each takes the next block from a pile until the pile is empty.

NumPy lets go of Python's lock while it multiplies, so two threads multiply at once. Nobody is told beforehand who does what:
a helper that wakes late, or finds its core busy, only takes fewer blocks. Each block is computed in the same way whoever takes
it, so the bits are the same (N11). The helper ends when it has had nothing to do for a moment.
"""

import os
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Lock, Thread

IDLE = 0.1  # seconds after which the helper ends


class Pile:
    """Blocks of work that two threads take from."""

    def __init__(self, work: Callable[[int], None], blocks: int) -> None:
        self._work = work
        self._left: Iterator[int] = iter(range(blocks))  # `next` is atomic
        self.helped = False
        self.over = Lock()  # held until the helper has done its last block
        self.over.acquire()
        self.error: BaseException | None = None

    def take_all(self) -> None:
        try:
            for block in self._left:
                self._work(block)
        finally:
            for _ in self._left:  # after an exception nobody takes any more
                pass

    def help(self) -> None:
        self.helped = True  # before it takes a block: whoever finds the pile empty, and this unset, need not wait
        try:
            self.take_all()
        except BaseException as error:  # for the caller to raise
            self.error = error
        self.over.release()


class Helper:
    """One more thread, started when there is work and gone soon after."""

    def __init__(self) -> None:
        self._free = Lock()
        self._piles: SimpleQueue[Pile] = SimpleQueue()
        self._runs = False

    def share(self, work: Callable[[int], None], blocks: int, *, alone: bool = False) -> None:
        """Call work(i) for each i < blocks, some of them on the helper, or all of them here where `alone` says so.

        An exception on either side ends both, and is raised here.
        """
        pile = Pile(work, blocks)
        if not alone and self._free.acquire(blocking=False):  # else somebody else is just putting a pile
            try:
                if self._is_there():
                    self._piles.put(pile)
            finally:
                self._free.release()
        try:
            pile.take_all()
        finally:
            if pile.helped:
                pile.over.acquire()
        if pile.error is not None:
            raise pile.error

    def _is_there(self) -> bool:
        if not self._runs:
            try:
                Thread(target=self._run, name="refspec-helper").start()
            except RuntimeError:  # no more threads are allowed; the caller does all
                return False
            self._runs = True
        return True

    def _run(self) -> None:
        while True:
            try:
                self._piles.get(timeout=IDLE).help()
            except Empty:
                if self._free.acquire(blocking=False):
                    self._runs = self._piles.qsize() > 0
                    self._free.release()
                    if not self._runs:
                        return


HELPER = Helper()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: HELPER.__init__())  # type: ignore[misc]  # a fork copies no thread

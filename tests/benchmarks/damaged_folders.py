"""Damage model folders at random, run each, and count what comes of it.

    python tests/benchmarks/damaged_folders.py --cases 200 --seed 1      # of each group; needs a system with fork

Every case is a copy of a good folder with one thing wrong, and one `refspec generate` on it in a process of its own. Good ends
are the text of the undamaged folder, another text (a flipped bit of a weight cannot be seen), or a refusal: exit code 2 and one
line. The columns behind them are faults, and should be 0; `--keep FOLDER` keeps the folders that had one.
"""

import argparse
import contextlib
import copy
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from folders import GPT2, LLAMA, write_folder

from refspec.cli.main import main as refspec_main

SECONDS, MEMORY = 30, 6 << 30
COLUMNS = ("same text", "another text", "refused", "traceback", "hang", "abort", "long message", "noise", "kind unseen")
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2.5, 1e39, 1e-46, 10**9, 10**20, 10**400, "", "x", "\x1b[2J", "\ud800", "9" * 4000, [], [None],
    {}, {"a": 1}, [[[[]]]], "<|end|>", {"type": "Fixed"}, "{{ 2 ** 99999 }}", "{% for a in range(10**9) %}{{ a }}{% endfor %}",
]  # fmt: skip

Damage = Callable[[Path, random.Random], None]


def flip(folder: Path, draw: random.Random) -> None:
    """Bits, a piece that is missing or stands twice, or an end cut off, in any file."""
    path = draw.choice(sorted(folder.iterdir()))
    data = bytearray(path.read_bytes())
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice([1, 2, 8, 100, 10**6]))
    match draw.randrange(4):
        case 0:
            data[start] ^= 1 << draw.randrange(8)
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = data[start:end]
        case 3:
            data[start:end] = draw.randbytes(end - start)
    path.write_bytes(data)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value; of long lists and objects only the ends."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for key in keys if len(keys) < 40 else keys[:5] + keys[-5:]:
        found += [(value, key), *places(value[key])]
    return found


def odd_json(text: str, draw: random.Random) -> str:
    """One or two places hold something else, nothing, another's value, or stand twice."""
    value = json.loads(text)
    for _ in range(draw.choice([1, 1, 2])):
        container, key = draw.choice(places(value))
        match draw.randrange(4):
            case 0 if isinstance(container, dict):
                container[draw.choice(["x", key + "_", key.upper()])] = container.pop(key)
            case 1:
                del container[key]
            case 2:
                other, theirs = draw.choice(places(value) or [(container, key)])
                container[key] = copy.deepcopy(other[theirs])
            case _:
                container[key] = copy.deepcopy(draw.choice(STRANGE))
        if not places(value):
            break
    return json.dumps(value)


def json_of(*names: str) -> Damage:
    def damage(folder: Path, draw: random.Random) -> None:
        path = folder / draw.choice(names)
        path.write_text(odd_json(path.read_text(encoding="utf-8"), draw), encoding="utf-8")

    return damage


def header(folder: Path, draw: random.Random) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = odd_json(data[8 : 8 + length].decode(), draw).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def kind(folder: Path, draw: random.Random) -> None:
    """A file that is none: each must be refused, since something of that name exists."""
    path = draw.choice(sorted(folder.iterdir()))
    path.unlink()
    match draw.randrange(4):
        case 0:
            os.mkfifo(path)
        case 1:
            path.mkdir()
        case 2:
            path.symlink_to(folder / "nowhere")
        case 3:
            path.symlink_to("/dev/zero")


GROUPS: dict[str, Damage] = {
    "bytes": flip,
    "kind of file": kind,
    "config.json": json_of("config.json"),
    "headers": header,
    "tokenizer.json": json_of("tokenizer.json"),
    "other JSON": json_of("tokenizer_config.json", "generation_config.json"),
}


def run(folder: Path, chat: bool) -> tuple[int | None, str, str]:
    """Exit status (None: a hang), standard output and standard error of one `refspec generate` in a fork."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if not (child := os.fork()):
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            sys.stdout, sys.stderr = (open(fd, "w", encoding="utf-8", closefd=False) for fd in (1, 2))  # noqa: SIM115
            code = 1
            try:
                words = ["--json", "--temperature", "0", "--max-new-tokens", "3", *(["--chat"] if chat else [])]
                code = refspec_main(["generate", "--model", str(folder), "Once upon a time", *words])
            except BaseException:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            finally:
                with contextlib.suppress(OSError):
                    sys.stderr.flush()
                os._exit(code)
        end, status = time.monotonic() + SECONDS, (0, 0)
        while status[0] == 0 and time.monotonic() < end:
            status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.005)
        if hung := status[0] == 0:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return None if hung else os.waitstatus_to_exitcode(status[1]), out.read().decode(), err.read().decode(errors="replace")


def verdict(code: int | None, out: str, err: str, good: list[int], group: str) -> str:
    if code is None:
        return "hang"
    if code < 0:
        return "abort"
    if "Traceback" in err or "panicked" in err or code not in (0, 2):
        return "traceback"
    if any(len(line) > 400 for line in err.splitlines()):
        return "long message"
    if len(err.splitlines()) != (code == 2):
        return "noise"
    if code == 2:
        return "refused"
    if group == "kind of file":
        return "kind unseen"
    return "same text" if json.loads(out)["tokens"] == good else "another text"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200, help="of each group (default: 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--groups", nargs="*", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the folders that had a fault")
    args = parser.parse_args()
    faults = 0
    print("| group | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        whole = []
        for name, config in (("llama", LLAMA), ("gpt2", GPT2)):
            folder = write_folder(Path(scratch) / name, config)
            (folder / "generation_config.json").write_text(
                json.dumps({"eos_token_id": [config["eos_token_id"]], "do_sample": True})
            )
            whole.append((folder, [json.loads(run(folder, chat)[1])["tokens"] for chat in (False, True)]))
        for group in args.groups:
            counts: Counter[str] = Counter()
            for case in range(args.cases):
                draw = random.Random(f"{args.seed} {group} {case}")
                folder, good = draw.choice(whole)
                chat = draw.random() < 0.5
                damaged = Path(scratch) / "damaged"
                shutil.copytree(folder, damaged)
                GROUPS[group](damaged, draw)
                code, out, err = run(damaged, chat)
                found = verdict(code, out, err, good[chat], group)
                counts[found] += 1
                if found in COLUMNS[3:]:
                    faults += 1
                    print(f"{group} {case}: {found}, exit {code}: {err.strip()[-300:]!r}", file=sys.stderr)
                    if args.keep:
                        shutil.move(damaged, args.keep / f"{group}-{case}".replace(" ", "-"))
                shutil.rmtree(damaged, ignore_errors=True)
            print(f"| {group} | " + " | ".join(str(counts[each]) for each in COLUMNS) + " |", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

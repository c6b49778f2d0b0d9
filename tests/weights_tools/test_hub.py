"""Fetching from a hub: what is taken, what is refused, and one line where there is no network.

A real child process each time, since the client reads its settings once, and what a person sees is the point.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="huggingface_hub is in the optional extra `weights`")

NOWHERE = "http://127.0.0.1:9"  # the discard port: refuses at once
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights" * 99, "tokenizer.json": b"{}"}
REVISION = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(files: Mapping[str, bytes], damaged: str | None = None) -> Iterator[str]:
    """As much of the hub as a download needs, on the loopback interface: one repository, whatever it is called.

    The content of `damaged` differs from what its digest says.
    """

    def listing() -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        for name, content in files.items():
            lfs = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
            large: dict[str, object] = {"lfs": lfs} if name.endswith((".safetensors", ".bin")) else {}
            entries.append({"rfilename": name, "size": len(content), "blobId": "b", **large})
        return entries

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "/tree/" in path:
                tree = [{"type": "file", "oid": "b", "path": e["rfilename"], "size": e["size"]} for e in listing()]
                self.answer(json.dumps(tree).encode(), "application/json")
            elif path.startswith("/api/models/"):
                body = {"id": "o/n", "modelId": "o/n", "sha": REVISION, "siblings": listing()}
                self.answer(json.dumps(body).encode(), "application/json")
            elif "/resolve/" in path and (name := path.rsplit("/", 1)[1]) in files:
                content = files[name]
                self.answer(bytes(len(content)) if name == damaged else content, "application/octet-stream")
            else:
                self.answer(b"{}", "application/json", 404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def answer(self, body: bytes, kind: str, status: int = 200) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(body)), "ETag": f'"{hash(self.path)}"'}
            for key, value in (headers | {"X-Repo-Commit": REVISION}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_request(self, code: object = None, size: object = None) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def fetch(home: Path, name: str, endpoint: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "REFSPEC_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf"),
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, "-m", "weights_tools", "fetch", name], capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | settings | more,
    )  # fmt: skip


def one_line(done: subprocess.CompletedProcess[str], home: Path) -> str:
    """The one line of a refusal, after which no model folder may exist."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("weights_tools: ")
    assert not (home / "models").exists() or list((home / "models").iterdir()) == []
    return line


def test_takes_the_files_that_refspec_reads_and_no_others(home: Path) -> None:
    extra = {
        "README.md": b"#",
        "pytorch_model.bin": b"pickle",
        "model-old/model.safetensors": b"no",
        "adapter.safetensors": b"no",
    }
    with fake_hub({**FILES, **extra}) as endpoint:
        done = fetch(home, "owner/name", endpoint)
        assert done.returncode == 0, done.stderr
        folder = home / "models" / "owner--name"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
        assert "already" in fetch(home, "owner/name", NOWHERE).stdout  # the second time asks nobody


def test_a_damaged_file_leaves_nothing(home: Path) -> None:
    with fake_hub(FILES, damaged="model.safetensors") as endpoint:
        assert "model.safetensors is damaged" in one_line(fetch(home, "gpt2", endpoint), home)


def test_pickles_are_refused_before_any_download(home: Path) -> None:
    with fake_hub({"config.json": b"{}", "pytorch_model.bin": b"pickle"}) as endpoint:
        assert "only pickled weights (pytorch_model.bin)" in one_line(fetch(home, "owner/name", endpoint), home)


@pytest.mark.parametrize("settings", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_no_network_is_one_line(home: Path, settings: dict[str, str]) -> None:
    line = one_line(fetch(home, "qwen3-0.6b", NOWHERE, **settings), home)
    assert "cannot fetch Qwen/Qwen3-0.6B from the Hugging Face hub" in line
    assert "network" in line

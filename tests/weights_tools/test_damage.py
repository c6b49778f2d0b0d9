"""What a run leaves on a disk that is full, whose bits flip, or where a model lies already."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the optional extra: pip install '.[train]'")

from refspec.errors import BadArgument, BadWeights  # noqa: E402
from weights_tools import checkpoint  # noqa: E402
from weights_tools.errors import CannotWrite, what_to_do  # noqa: E402
from weights_tools.outputs import CHECKPOINT, claim  # noqa: E402

STATE = {"settings": {"steps": 3}, "model": {"a": torch.arange(6.0), "b": torch.ones(4)}, "progress": {"best": None}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    checkpoint.save(path, STATE)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_a_bit_that_flipped_is_refused_or_changes_nothing(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(saved.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damaged)
    try:
        state = checkpoint.load(path)
    except BadWeights:
        return
    assert repr(state) == repr(checkpoint.load(saved))


def test_the_weights_themselves_are_under_a_checksum(saved: Path, tmp_path: Path) -> None:
    """The one bit that PyTorch alone reads as another number without a word."""
    damaged = saved.read_bytes().replace(torch.ones(4).numpy().tobytes(), torch.full((4,), 2.0).numpy().tobytes())
    assert damaged != saved.read_bytes()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damaged)
    assert torch.load(path)["model"]["b"].tolist() == [2.0] * 4
    with pytest.raises(BadWeights, match="is damaged"):
        checkpoint.load(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_one_line_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, STATE)
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # as a full disk: what exceeds it cannot be written
    try:
        with pytest.raises(CannotWrite, match=r"checkpoint.pt cannot be written .*File too large") as caught:
            checkpoint.save(path, {"much": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert len(str(caught.value).splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert repr(checkpoint.load(path)) == repr(STATE)


def test_a_run_writes_where_nothing_is_or_where_it_has_written(tmp_path: Path) -> None:
    out, run = tmp_path / "model", tmp_path / "model.run"
    claim(out, run)
    claim(out, run)  # killed at once
    (run / CHECKPOINT).touch()
    out.mkdir()
    (out / "config.json").touch()
    claim(out, run)  # the same run again
    (tmp_path / "empty.run").mkdir()
    with pytest.raises(BadArgument, match=r"holds config.json, and .*empty.run no checkpoint.pt .*new or empty folder"):
        claim(out, tmp_path / "empty.run")
    with pytest.raises(BadArgument, match=r"holds config.json, and .*give a new or empty folder"):
        claim(out, tmp_path / "another.run")
    assert not (tmp_path / "another.run").exists()


@pytest.mark.parametrize("reason", ["[Errno 28] No space left on device", "pip: OSError: [Errno 13] Permission denied: '/x'"])
def test_the_network_is_not_blamed_for_the_disk(reason: str) -> None:
    assert "disk" in what_to_do(reason, "check the network")
    assert what_to_do("[Errno 111] Connection refused", "check the network") == "check the network"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_fetch_that_is_killed_between_its_two_renames_is_finished_by_the_next(tmp_path: Path, home: Path) -> None:
    from weights_tools.fetch import is_present

    folder = home / "models" / "gpt2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("old")
    code = (
        "import os, pathlib, signal, sys\nfrom weights_tools.staging import staged\n"
        "rename, done = pathlib.Path.rename, []\n"
        "def once(path, to):\n"
        "    if done: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(rename(path, to))\n"
        "pathlib.Path.rename = once\n"
        "with staged(pathlib.Path(sys.argv[1])) as (model, _):\n"
        "    (model / 'config.json').write_text('new')\n"
    )
    killed: Any = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert is_present("gpt2")
    assert (folder / "config.json").read_text() == "new"
    assert [each.name for each in folder.parent.iterdir()] == ["gpt2"]

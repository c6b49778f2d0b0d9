"""A head is read once for a network, again when its files change, and let go with the network."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from safetensors.numpy import load_file, save_file
from speculators import write_speculator
from test_eagle import write_head

import refspec
from refspec.models import read_once
from refspec.models.drafts import load_draft


def write_factored(path: Path, **more: Any) -> Path:
    """An MLP speculator behind the target's own embedding and head."""
    write_speculator(path, 32, 264, tie_weights=True, factored=True, **more)
    kept = {
        name: each for name, each in load_file(path / "model.safetensors").items() if ".emb." not in name and ".head." not in name
    }
    random = np.random.default_rng(0)
    ends = {"lookup": (24, 32), "out": (32, 24)}
    more_weights = {f"speculator.{name}.weight": random.standard_normal(shape, dtype=np.float32) for name, shape in ends.items()}
    save_file(kept | more_weights, path / "model.safetensors")
    return path


TIED = LLAMA | {"tie_word_embeddings": True}
HEADS: dict[str, tuple[Any, Any]] = {
    "eagle": (write_head, LLAMA),
    "eagle, tied": (lambda path: write_head(path, TIED), TIED),
    "mlp": (lambda path: write_speculator(path, 32, 264), LLAMA),
    "mlp of frequent words": (lambda path: write_speculator(path, 32, 264, ids=[1, 5, 9]), GPT2),
    "factored": (write_factored, LLAMA),
    "factored, tied": (write_factored, TIED),
    "factored, gpt2, frequent words": (lambda path: write_factored(path, ids=[1, 5, 9]), GPT2),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_target_is_let_go_with_its_heads(kind: str, tmp_path: Path) -> None:
    write, config = HEADS[kind]
    head, folder = write(tmp_path / "head"), write_folder(tmp_path / "target", config, tokenizer=False)
    gc.collect()
    before = set(read_once._READ)
    model = refspec.load(folder)
    out = refspec.generate(model, (1, 2, 3), drafter=head, max_new_tokens=8, stop=())
    assert out.stats.drafted > 0
    assert len(read_once._READ.keys() - before) == 1
    gone = weakref.ref(model.network)
    del model, out
    gc.collect()
    assert gone() is None
    assert read_once._READ.keys() <= before


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_that_was_trained_anew_is_read_anew(kind: str, tmp_path: Path) -> None:
    """Into the same folder, in place or put there; and the old one is not kept beside it."""
    write, config = HEADS[kind]
    folder = write(tmp_path / "head")
    lm = refspec.load(write_folder(tmp_path / "target", config, tokenizer=False)).language_model()
    lm.features(())
    lm.probs(text := (1, 2, 3, 4))

    def row() -> list[float]:
        draft = load_draft(folder)(lm).propose((*text, 5), 1, refspec.Tape([0.5]))  # type: ignore[operator]
        assert draft.probs is not None
        return draft.probs[0].tolist()  # type: ignore[no-any-return]

    weights, entries = folder / "model.safetensors", len(read_once._READ)
    first, whole = row(), load_file(weights)
    assert (row(), len(read_once._READ)) == (first, entries + 1)
    found = [first]
    for scale in (0.5, 2.0):
        other = {name: each if each.ndim == 1 else each * np.float32(scale) for name, each in whole.items()}
        save_file(other, tmp_path / "new.safetensors")
        (tmp_path / "new.safetensors").replace(weights)
        found.append(row())
    assert len({tuple(each) for each in found}) == 3
    assert len(read_once._READ) == entries + 1

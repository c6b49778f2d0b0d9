"""A draft in a folder is of one target: another is refused by every kind alike, and `auto` takes what is not refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from safetensors.numpy import load_file, save_file
from speculators import write_speculator
from test_eagle import write_head

import refspec
from refspec.decoding.draft.several import Several
from refspec.decoding.draft.table import count
from refspec.errors import RefspecError
from refspec.models import home
from refspec.models.drafts import KINDS, best_for, load_draft
from refspec.models.table_file import write_table

WORDS = 264  # without a tokenizer, all rows are tokens


def write_drafts(path: Path) -> dict[str, Path]:
    """One of each kind, for a target called `target`."""
    table = count([(1, 2, 3, 1, 2, 9)], orders=2, vocab_size=WORDS, least=1)
    write_table(path / "ngram-table", table, {"target": "target"})
    write_speculator(path / "mlp_speculator", LLAMA["hidden_size"], WORDS, target="target")
    write_head(path / "eagle")
    return {kind: path / kind for kind in KINDS}


@pytest.fixture
def drafts(tmp_path: Path) -> dict[str, Path]:
    return write_drafts(tmp_path)


def target_of(path: Path, **more: Any) -> refspec.Model:
    return refspec.load(write_folder(path, LLAMA | more, tokenizer=False))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_says_whose_it_is(kind: str, drafts: dict[str, Path], tmp_path: Path) -> None:
    """By its name and by its sizes; and which file to change, or what to do."""
    folder, target = drafts[kind], target_of(tmp_path / "target")
    assert refspec.generate(target, (1, 2), drafter=folder, max_new_tokens=4, stop=()).tokens
    for other in (target_of(tmp_path / "other"), target_of(tmp_path / "a" / "target", vocab_size=300)):
        with pytest.raises(RefspecError) as caught:
            refspec.generate(other, (1, 2), drafter=folder, max_new_tokens=4)
        said = str(caught.value)
        assert said.startswith(f"{folder} is a ")
        assert any(what in said for what in ("take the key target out of", "leave it out")), said
    if kind == "ngram-table":
        with pytest.raises(RefspecError, match="is a table for 'target', and the target is 'other'"):
            refspec.generate(target_of(tmp_path / "other"), (1, 2), drafter=folder, max_new_tokens=4)
    config = json.loads((folder / "config.json").read_text())
    del config["target"]  # as the message has it, and as IBM's are
    (folder / "config.json").write_text(json.dumps(config))
    assert refspec.generate(target_of(tmp_path / "other"), (1, 2), drafter=folder, max_new_tokens=4, stop=()).tokens


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_takes_a_tensor_that_it_does_not_use(kind: str, drafts: dict[str, Path], tmp_path: Path) -> None:
    weights = drafts[kind] / "model.safetensors"
    save_file(load_file(weights) | {"more": np.zeros(1, np.float32)}, weights)
    with pytest.raises(RefspecError, match=r"has 1 tensor.* no use for, such as '?more"):
        refspec.generate(target_of(tmp_path / "target"), (1, 2), drafter=drafts[kind], max_new_tokens=4)


def test_auto_takes_what_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any target that has the name: its sizes, its family and its tokenizer decide, as they do where a folder is given."""
    drafts = write_drafts(tmp_path)
    monkeypatch.setattr(home, "EMBEDDED_DRAFTS", {"eagle": "", "ngram-table": ""})
    monkeypatch.setattr(home, "embedded", lambda name: drafts[name])
    targets: list[tuple[dict[str, Any], bool, str]] = [(LLAMA, False, "target"), (LLAMA, False, "other"), (GPT2, False, "target")]
    targets += [(LLAMA, True, "target"), (LLAMA | {"model_type": "granite"}, False, "target")]
    for key, value in (
        ("vocab_size", 300), ("hidden_size", 64), ("intermediate_size", 96), ("num_key_value_heads", 4), ("rms_norm_eps", 1e-6),
        ("rope_theta", 500.0), ("num_attention_heads", 2), ("num_hidden_layers", 1),
    ):  # fmt: skip
        targets.append((LLAMA | {key: value}, False, "target"))
    found = []
    for i, (config, tokenizer, name) in enumerate(targets):
        if config["model_type"] == "granite":
            config = config | {"embedding_multiplier": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 1.0,
                               "logits_scaling": 1.0}  # fmt: skip
        lm = refspec.load(write_folder(tmp_path / str(i) / name, config, tokenizer=tokenizer)).language_model()

        def taken(kind: str, lm: Any = lm) -> bool:
            try:
                load_draft(drafts[kind])(lm)  # type: ignore[operator]
            except RefspecError:
                return False
            return True

        made = best_for(lm)
        lookup = made.drafters[0] if isinstance(made, Several) else made
        found.append((taken("eagle"), taken("ngram-table")))
        assert (isinstance(made, Several), lookup.table is not None) == found[-1], (config, name)  # type: ignore[attr-defined]
        assert refspec.generate(lm, (1, 2), drafter="auto", max_new_tokens=4, stop=()).tokens
    assert set(found) == {(True, True), (True, False), (False, True), (False, False)}


def test_auto_looks_something_up_for_a_stranger_with_the_name_of_the_packages_own(tmp_path: Path) -> None:
    """As many rows, too: half of the sizes in smollm2-head's config.json differ."""
    target = target_of(tmp_path / "smollm2-135m", vocab_size=49152, hidden_size=8, num_attention_heads=2, intermediate_size=8)
    out = refspec.generate(target, (1, 2, 1, 2), drafter="auto", max_new_tokens=4, stop=())
    assert len(out.tokens) == 4

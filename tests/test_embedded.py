"""The pair inside the package: it loads offline, speaks one vocabulary, and a draft of the small one is worth its while."""

from pathlib import Path

import numpy as np
import pytest

import refspec
from refspec.errors import BadArgument, ModelNotFound
from refspec.files import read_json
from refspec.models import home
from refspec.models.drafts import best_for
from refspec.models.table_file import read_table

TEXT = "ROMEO:\nWhat light is this, that through the window breaks?\n"


@pytest.fixture(scope="module")
def pair() -> tuple[refspec.Model, refspec.Model]:
    return refspec.load("tiny-target"), refspec.load("tiny-draft")


def test_the_pair_has_one_vocabulary(pair: tuple[refspec.Model, refspec.Model]) -> None:
    target, draft = pair
    assert target.token_map == draft.token_map
    assert target.tokenizer is not None
    assert target.tokenizer.decode(target.tokenizer.encode(TEXT)) == TEXT
    assert target.config.context == draft.config.context == 256


def test_speculation_prints_the_greedy_text(pair: tuple[refspec.Model, refspec.Model]) -> None:
    target, draft = pair
    plain = refspec.generate(target, TEXT, temperature=0, max_new_tokens=48)
    out = refspec.generate(target, TEXT, drafter=draft, temperature=0, max_new_tokens=48)
    assert out.tokens == plain.tokens
    assert out.stats.tokens_per_target_call is not None
    assert out.stats.tokens_per_target_call > 1.5


def test_the_draft_is_accepted_as_often_as_its_overlap_says(pair: tuple[refspec.Model, refspec.Model]) -> None:
    """Both measured on one text of 200 tokens: within 0.1 of each other, about three standard deviations."""
    target, draft = pair
    out = refspec.generate(target, TEXT, drafter=draft, gamma=1, max_new_tokens=200, stop=(), seed=1, record=True)
    overlaps = [
        np.minimum(each.record.target_probs[0], each.record.draft.probs[0]).sum()
        for each in out.rounds
        if each.record is not None and each.record.draft.probs is not None
    ]
    assert out.stats.acceptance_rate is not None
    assert abs(out.stats.acceptance_rate - np.mean(overlaps)) < 0.1
    assert out.stats.acceptance_rate > 0.6


def test_the_drafts_for_smollm2_are_small_and_say_what_they_are() -> None:
    folders = [home.find(name) for name in home.EMBEDDED_DRAFTS]
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < 12e6
    for folder in folders:
        about = read_json(folder / "config.json")
        assert (about["target"], about["vocab_size"]) == ("smollm2-135m", 49152)
        assert about["texts"] > 1000
        assert about["tokens"] > 200_000


def test_the_table_for_smollm2_knows_its_words() -> None:
    table = read_table(home.find("smollm2-table"), 49152)
    guess = table.guess((2,))  # <|im_end|>, behind which its chats have a line's end
    assert guess is not None
    assert (guess.token, guess.share > 0.9) == (198, True)
    assert "smollm2" not in repr(best_for(refspec.load("tiny-target").language_model()))


def test_auto_takes_the_packages_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies where one stands."""
    monkeypatch.chdir(tmp_path)
    for name in home.EMBEDDED_DRAFTS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "eagle"}')
    target = refspec.load("tiny-target").language_model()
    assert repr(best_for(target)) == "NgramDrafter(longest=8, shortest=1)"
    with pytest.raises(ModelNotFound, match="the name of a model is empty"):
        refspec.load("")


def test_auto_is_made_for_a_cache_and_not_for_a_model() -> None:
    model = refspec.load("tiny-target")
    with pytest.raises(BadArgument, match=r"'tiny-target' is a model, .*: give model\.language_model\(\), or drafter=\"auto\""):
        best_for(model)  # type: ignore[arg-type]
    assert refspec.generate(model, "ROMEO:", drafter="auto", max_new_tokens=9).stats.drafted is not None


@pytest.mark.peers
@pytest.mark.parametrize("name", list(home.EMBEDDED))
def test_transformers_loads_the_same_folders(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is in the optional extra `peers`")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = home.find(name)
    ours = refspec.load(name)
    assert ours.tokenizer is not None
    tokens = ours.tokenizer.encode(TEXT)
    assert AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"] == list(tokens)
    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = peer(torch.tensor([tokens])).logits[0].numpy()
    assert np.abs(ours.logits(tokens) - expected).max() < 1e-4  # float32, another order of additions

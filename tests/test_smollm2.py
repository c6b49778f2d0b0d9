"""The real thing: SmolLM2-135M, fetched by the project's own tool."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refspec
from refspec.models.drafts import load_draft

pytestmark = pytest.mark.real

PROMPTS = [
    "The capital of France is",
    "Count: one, two, three, one, two, three, one, two,",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Translate to German: The weather is nice today, and the weather will be nice tomorrow.",
    "Roses are red, violets are blue,",
]


@pytest.fixture(scope="module")
def model(smollm2_folder: Path) -> refspec.Model:
    return refspec.load(smollm2_folder)


def test_the_capital_of_france(model: refspec.Model) -> None:
    out = refspec.generate(model, PROMPTS[0], temperature=0, max_new_tokens=16)
    assert out.text is not None
    assert out.text.startswith(" Paris.")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_speculation_prints_the_greedy_tokens(model: refspec.Model, prompt: str) -> None:
    """Holds here because no margin on these paths is near float32 rounding; see tests/benchmarks/greedy_identity.py."""
    plain = refspec.generate(model, prompt, temperature=0, max_new_tokens=32, stop=())
    for gamma in (1, 4, 10):
        out = refspec.generate(
            model, prompt, drafter=refspec.NgramDrafter(), gamma=gamma, temperature=0, max_new_tokens=32, stop=()
        )
        assert out.tokens == plain.tokens


@pytest.mark.parametrize("draft", ["smollm2-table", "smollm2-head", "auto"])
def test_greedy_texts_are_those_of_plain_decoding_behind_every_draft(smollm2_folder: Path, draft: str) -> None:
    """In row-invariant mode, bit for bit. And of its guesses a fifth is right, where chance has 0.00002."""
    model = refspec.load("smollm2-135m", row_invariant=True)
    assert model.tokenizer is not None
    accepted = tested = 0
    for question in ("Why is the sky blue?", "Write a short story about a dog that learns to swim.", "Name three colours."):
        messages = [{"role": "user", "content": question}]
        plain = refspec.generate(model, messages, temperature=0, max_new_tokens=48)
        for gamma in (3, "auto"):
            out = refspec.generate(model, messages, drafter=draft, gamma=gamma, temperature=0, max_new_tokens=48)
            assert out.tokens == plain.tokens
            accepted, tested = accepted + out.stats.accepted, tested + out.stats.tested
    assert accepted > 0.2 * tested > 0


def test_the_heads_cache_does_not_decay(smollm2_folder: Path) -> None:
    """Behind 500 tokens, drafted and refused, the head guesses as one that has just read the text."""
    model = refspec.load("smollm2-135m")
    assert model.tokenizer is not None
    prompt = model.tokenizer.encode("Once upon a time")
    make = load_draft("smollm2-head")
    lm = model.language_model(temperature=0)
    drafter = make(lm)  # type: ignore[operator]
    out = refspec.speculative(lm, drafter, prompt, gamma=4, max_new_tokens=500, chance=refspec.Seeded(0))
    text = prompt + out.tokens
    fresh_lm = model.language_model(temperature=0)
    fresh = make(fresh_lm)  # type: ignore[operator]
    agreed = 0
    for end in range(len(text) - 40, len(text)):
        drafts = []
        for one, target in ((drafter, lm), (fresh, fresh_lm)):
            target.features(())
            target.probs(text[: end - 1])
            drafts.append(one.propose(text[:end], 4, refspec.Seeded(0)).tokens)
        agreed += drafts[0] == drafts[1]
    assert agreed >= 38  # of 40: two near ties may fall to rounding


def test_any_history_gives_the_logits_of_a_fresh_prefill(model: refspec.Model) -> None:
    """N10 on real weights: 1e-3 in float32."""
    assert model.tokenizer is not None
    tokens = model.tokenizer.encode(PROMPTS[3])
    cache = model.network.new_cache()
    rows = []
    for start, end in ((0, 5), (5, 6), (6, 12), (12, len(tokens))):
        model.network.forward(np.array([7, 7, 7]), cache)  # rejected, and forgotten
        cache.rollback(start)
        rows.append(model.network.forward(np.array(tokens[start:end]), cache, last=end - start))
    assert np.abs(np.concatenate(rows) - model.logits(tokens)).max() < 1e-3


def test_row_invariant_rows_have_the_bits_of_plain_decoding(smollm2_folder: Path) -> None:
    """Passes of 1 to 9 rows, and a prefill, against every token in a pass of its own."""
    model = refspec.load(smollm2_folder, row_invariant=True)
    assert model.tokenizer is not None
    tokens = (2 * model.tokenizer.encode("".join(PROMPTS)))[:72]
    assert len(tokens) == 72
    cache = model.network.new_cache()
    alone = [model.network.forward(np.array([token]), cache)[0].tobytes() for token in tokens]
    assert [row.tobytes() for row in model.logits(tokens)] == alone
    for rows in range(1, 10):
        cache.rollback(40)
        logits = model.network.forward(np.array(tokens[40 : 40 + rows]), cache, last=rows)
        assert [row.tobytes() for row in logits] == alone[40 : 40 + rows]


def test_texts_in_a_batch_have_the_bits_of_each_alone(smollm2_folder: Path) -> None:
    """Prompts and drafts of other lengths, one of which joins late."""
    model = refspec.load(smollm2_folder, row_invariant=True)
    asked = {"drafter": refspec.NgramDrafter(), "gamma": 4, "temperature": 0.8, "max_new_tokens": 12, "stop": (), "record": True}
    together = refspec.generate_batch(model, PROMPTS, max_batch=4, **asked)
    for i, (prompt, out) in enumerate(zip(PROMPTS, together, strict=True)):
        alone = refspec.generate(model, prompt, seed=i, **asked)
        assert out.tokens == alone.tokens
        for ours, theirs in zip(out.rounds, alone.rounds, strict=True):
            assert ours.record is not None
            assert theirs.record is not None
            assert ours.record.target_probs.tobytes() == theirs.record.target_probs.tobytes()


def test_peak_memory_is_at_most_1_4_times_the_float32_weights(smollm2_folder: Path) -> None:
    """VmHWM of a process that loads, prefills 512 tokens and decodes; the weights are counted from the file's headers."""
    if not Path("/proc/self/status").exists():
        pytest.skip("VmHWM is read from /proc, which this system lacks")
    program = """
import math, sys
from pathlib import Path
import refspec
from refspec.transformer.weights import tensor_headers

folder = Path(sys.argv[1])
refspec.generate(refspec.load(folder), list(range(100, 612)), drafter=refspec.NgramDrafter(), max_new_tokens=16, stop=())
peak = 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(peak / (4 * sum(math.prod(header.shape) for header in tensor_headers(folder).values())))
"""
    ratio = float(
        subprocess.run([sys.executable, "-c", program, str(smollm2_folder)], check=True, capture_output=True, text=True).stdout
    )
    assert 1 < ratio < 1.4


@pytest.mark.peers
def test_logits_are_those_of_transformers(model: refspec.Model, smollm2_folder: Path) -> None:
    """float32 on both sides, each with its own order of additions: 1e-3 of logits that reach 30."""
    torch = pytest.importorskip("torch", reason="torch is in the optional extra `peers`")
    from transformers import AutoModelForCausalLM

    assert model.tokenizer is not None
    tokens = model.tokenizer.encode("".join(PROMPTS) * 2)
    peer = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = peer(torch.tensor([tokens])).logits[0].numpy()
    difference = np.abs(model.logits(tokens) - expected).max()
    print(f"largest difference from transformers over {expected.shape} logits: {difference:.2g}")
    assert difference < 1e-3

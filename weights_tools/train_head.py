"""Train a draft head on the target's own text, and keep the best by the tokens that a chain of guesses yields.

The loss is the cross-entropy between the target's law and the head's at each depth, depth s weighted by 0.8 ** s, since a guess
counts only where those before it were right. Both laws are over the head's vocabulary: the tokens that the target says most
often, and those of the text. Targets are soft, since the target's whole row is known at each position for the price of its
feature. Texts of like length share a batch. Which texts a step sees is a function of (seed, step). The first steps train the
first guess alone, which costs a third of three: the deeper ones start from what it learned.
"""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from refspec.errors import BadArgument
from refspec.files import read_json
from refspec.models.model import words
from refspec.transformer.config import LlamaConfig
from refspec.transformer.weights import OF_A_HEAD, Checkpoint
from weights_tools.checkpoint import fingerprint, replace_atomically
from weights_tools.heads import build, linear_guess
from weights_tools.mlp_head import Mlp, stored, write_factored
from weights_tools.optimiser import descend, optimisers
from weights_tools.outputs import claim
from weights_tools.run_log import Row
from weights_tools.settings import HeadSettings
from weights_tools.texts import Text, drawable, name_of, paths_of, read_text
from weights_tools.torch_llama import load_torch_llama
from weights_tools.training_loop import Task, repeat

DEEPER = 0.8  # weight of a depth beside the one before it


def read_texts(folders: Sequence[Path], target: str, vocab_size: int, width: int) -> list[Text]:
    paths = paths_of(folders, target)
    if len(paths) < 20:
        raise BadArgument(f"{', '.join(map(str, folders))}: {len(paths)} texts, and at least 20 are needed; collect more")
    return [read_text(path, vocab_size, width) for path in paths]


def identity(texts: Sequence[Text]) -> str:
    """The same for the same texts in the same order, wherever they lie. Their features follow from their tokens."""
    told = ([text.number, text.answer, int(text.temperature == 0), len(text.features), *text.tokens.tolist()] for text in texts)
    return fingerprint(np.array(each, np.int64).tobytes() for each in told)


def frequent(texts: Sequence[Text], count: int, vocab: int) -> Tensor:
    """[w] ids, ascending: those that answers hold most often, filled up with the lowest ones."""
    said: Counter[int] = Counter()
    for text in texts:
        said.update(text.tokens[text.answer :].tolist())
    ids = [token for token, _ in said.most_common(count)]
    ids += [token for token in range(vocab) if token not in said][: max(0, count - len(ids))]
    return torch.tensor(sorted(ids))


def sayable(ids: Tensor, tokens: Tensor) -> Tensor:
    """The frequent ids [w], and behind them those that texts hold beside: what `EagleDrafter` lets a head say."""
    held = torch.unique(tokens)
    return torch.cat([ids, held[~torch.isin(held, ids)]])


def first_places(said: Tensor, frequent: int, tokens: Tensor) -> Tensor:
    """[w]: where in the text each sayable token is first held, and so can be said; 0 for the frequent ones"""
    places = (tokens == said[frequent:, None]).int().argmax(-1)
    return torch.cat([torch.zeros(frequent, dtype=places.dtype), places])


def batch(texts: Sequence[Text], rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """tokens [b, n + 1] and features [b, n + 1, d], filled up with zeros, and which rows [b, n] from `rows` on have a target."""
    n = max(len(text.features) for text in texts) - 1
    tokens = torch.zeros(len(texts), n + 1, dtype=torch.long)
    features = torch.zeros(len(texts), n + 1, texts[0].features.shape[1], dtype=texts[0].features.dtype)
    counts = torch.zeros(len(texts), n, dtype=torch.bool)
    for i, text in enumerate(texts):
        m = len(text.features)
        tokens[i, :m], features[i, :m] = text.tokens[:m], text.features
        counts[i, min(rows, m - 1) : m - 1] = True
    return tokens, features, counts


def common_start(texts: Sequence[Text]) -> int:
    """How many tokens all texts begin with alike: those of the chat template."""
    first, n = texts[0].tokens, min(len(text.tokens) for text in texts)
    same = torch.stack([text.tokens[:n] == first[:n] for text in texts]).all(0)
    return n if same.all() else int((~same).nonzero()[0])


def train_head(target_folder: Path, text_folders: Sequence[Path], out: Path, run: Path, settings: HeadSettings, *,
               start: Path | None = None, checkpoint_seconds: float = 120.0) -> Row:  # fmt: skip
    """Train, or go on training, and return the best evaluation. The best weights so far are in `out`.

    start: the folder of a head that is trained further, in place of a linear guess.
    """
    claim(out, run)
    target, name = load_torch_llama(target_folder), name_of(target_folder)
    tokenizer, _ = words(target_folder, target.config.vocab_size)
    vocab_size = drawable(tokenizer, target.config.vocab_size)
    texts = read_texts(text_folders, name, vocab_size, target.config.width)
    # by its number: what was held out stays so where a head is trained further on a collection that grew
    held_out = [text for text in texts if text.temperature == 0 and text.number % settings.held_out == 0]
    learned = sorted((text for text in texts if text.number % settings.held_out), key=lambda text: len(text.tokens))
    if not held_out:
        raise BadArgument(f"of {len(texts)} texts no greedy one is held out; collect more, or lower --held-out")
    ids = frequent(learned, settings.words, vocab_size)
    computed = torch.bfloat16 if settings.bfloat16 else torch.float32
    embedding = target.model.embed_tokens.weight.to(computed)
    head = target.lm_head.weight[:vocab_size].to(computed)
    skip = max(0, common_start(texts) - 2)
    module = build(settings.kind, target.config, settings.depths)
    if start:
        go_on_from(start, name, module)
    else:
        few = learned[:: max(1, len(learned) // 1000)]
        embedded = [embedding[text.tokens[1 : len(text.features)]] for text in few]
        module.start_from(target, linear_guess(embedded, [text.features[:-1] for text in few]))
    made_of = {"texts": len(learned), "tokens": sum(len(text.tokens) for text in learned)}
    parts = optimisers(module, lr=settings.lr, weight_decay=settings.weight_decay, dtype=computed)

    def guesses(part: Sequence[Text], depths: int, first: int) -> tuple[list[Tensor], Tensor, Tensor]:
        tokens, features, counts = batch(part, first)
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(settings.bfloat16)):
            stand_ins = module.unrolled(embedding[tokens[:, 1:]], features[:, :-1].to(computed), depths)
        return stand_ins, features[:, 1:].to(computed), counts

    def learn(number: int) -> float:
        rng = np.random.default_rng([settings.seed, number])
        start = int(rng.integers(len(learned)))
        part, total = [], 0
        for i in (start + rng.permutation(24)) % len(learned):
            part.append(learned[i])
            total += len(learned[i].tokens)
            if total >= settings.batch:
                break
        depths = 1 if number < settings.shallow * settings.steps else settings.depths
        stand_ins, features, counts = guesses(part, depths, skip)
        words = head[sayable(ids, torch.cat([text.tokens for text in part]))]
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(settings.bfloat16)):
            with torch.no_grad():
                law = (features[counts] @ words.T).float().softmax(-1)
            place = torch.cumsum(counts.flatten(), 0).view(counts.shape) - 1
            loss, weight = torch.zeros(()), 0.0
            for s, x in enumerate(stand_ins):
                rows = counts.clone()
                rows[:, : skip + s] = False
                scores = (x[rows] @ words.T).float()
                each = -(law[place[rows]] * scores.log_softmax(-1)).sum(-1).mean()
                loss, weight = loss + DEEPER**s * each, weight + DEEPER**s
        descend(loss / weight, module, parts)
        return (loss / weight).item()

    @torch.no_grad()
    def evaluate() -> Row:
        return chain(held_out, guesses, head, ids, settings.depths)

    def save() -> None:
        if isinstance(module, Mlp):
            write_factored(out, module, ids, name, target.config.vocab_size)
        else:
            write_eagle(out, module, ids, name, target.config, made_of)

    if settings.depths > 1 and settings.steps - 1 < settings.shallow * settings.steps:
        print(f"all {settings.steps} steps train the first guess alone; lower --shallow, or give more --steps", flush=True)
    task = Task("step", settings.steps, module, parts, learn, evaluate, measure="tokens_a_call", sign=1, save=save, newest=0.05,
                given=start is not None, out=out, of={"target": name, "texts": identity(texts)})  # fmt: skip
    before = evaluate()
    print("before training:", {name: round(value, 4) for name, value in before.items()}, flush=True)
    return repeat(task, settings, run, start=before, checkpoint_seconds=checkpoint_seconds)


@torch.no_grad()
def go_on_from(folder: Path, target: str, module: Any) -> None:
    """Put in the weights that `save` wrote of such a module. Raises BadArgument for others, BadWeights for other sizes."""
    about, mlp = read_json(folder / "config.json"), isinstance(module, Mlp)
    if mlp:
        own = about.get("factored") is True and about.get("n_predict") == module.n_predict
    else:
        own = about.get("model_type") == "eagle"
    if not own or about.get("target") != target:
        what = f"an MLP speculator of {module.n_predict} guesses (--depths)" if mlp else "an EAGLE head"
        raise BadArgument(f"start is {folder}; with this --kind it is {what} for {target}, as train-head writes it")
    checkpoint = Checkpoint(folder, remedy=OF_A_HEAD)
    for name, tensor in (stored(module) if mlp else module.state_dict()).items():
        tensor.copy_(torch.from_numpy(checkpoint.read(name, *tensor.shape)))


def chain(texts: Sequence[Text], guesses: Any, head: Tensor, ids: Tensor, depths: int) -> Row:
    """Greedy: how often guess s is right where those before it were, from every token of the answers."""
    reached, right = torch.zeros(depths), torch.zeros(depths)
    for text in texts:
        first = max(0, text.answer - 2)
        stand_ins, features, _ = guesses([text], depths, first)
        truth = (features[0] @ head.T).argmax(-1)
        said = sayable(ids, text.tokens)
        words, since = head[said], first_places(said, len(ids), text.tokens)
        n = len(truth)
        guessed = []
        for s, x in enumerate(stand_ins):
            unread = since > torch.arange(n)[:, None] + 1 - s  # [n, w]
            guessed.append(said[(x[0].to(head.dtype) @ words.T).masked_fill(unread, float("-inf")).argmax(-1)])
        hits = torch.stack(guessed) == truth  # [s, n]
        starts = torch.arange(first, max(first, n - depths + 1))
        alive = torch.ones(len(starts), dtype=torch.bool)
        for s in range(depths):
            reached[s] += alive.sum()
            alive = alive & hits[s, starts + s]
            right[s] += alive.sum()
    shares = (right / reached.clamp(min=1)).tolist()
    names = ("acceptance", "acceptance_2", "acceptance_3", "acceptance_4", "acceptance_5", "acceptance_6")
    return dict(zip(names, shares, strict=False)) | {"tokens_a_call": 1 + float((right / reached[0].clamp(min=1)).sum())}


def write_eagle(out: Path, module: Any, ids: Tensor, target: str, config: LlamaConfig, made_of: dict[str, int]) -> None:
    """The layout that `refspec` reads. target: its name. made_of: what the head learned from."""
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in module.state_dict().items()}
    tensors["ids"] = ids.to(torch.int32)
    about = {
        "model_type": "eagle", "target": target, "vocab_size": config.vocab_size, "hidden_size": config.width,
        "intermediate_size": config.inner, "num_attention_heads": config.heads, "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width, "rms_norm_eps": config.norm_eps, "rope_theta": config.rope_theta, **made_of,
    }  # fmt: skip
    replace_atomically(out / "model.safetensors", partial(save_file, tensors))
    replace_atomically(out / "config.json", lambda path: path.write_text(json.dumps(about, indent=2) + "\n"))

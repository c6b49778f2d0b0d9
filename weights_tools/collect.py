"""The target's own text, which a head is trained on and a table is counted from: many chats at once, each at its own place.

Nothing teaches a draft better what the target will say than what it said. Where prompts run out, the target writes them too:
the user's turn of its chat template is left open behind a few opening words, the target goes on until it closes the turn, and
then answers (the idea of Magpie, arXiv 2406.08464). Half of the answers are greedy, since a greedy user's text is; the others
are sampled.

There is no prefill: a forced token is a step like any other, whose outcome is not asked. A text is one file, written when it
is complete and under its name only then, with the features that the target had on the way ([n, d], after the final norm), so
that training need not run the target again. Text `number` is a function of (seed, number) up to the rounding of a batch, so a
collection that was interrupted goes on with the numbers that are missing.
"""

import json
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from refspec.bench.prompts import read
from refspec.errors import BadArgument, BadTokenizer
from refspec.files import read_json
from refspec.models.chat import ChatText
from refspec.models.model import words
from refspec.models.tokenizer import Tokenizer
from weights_tools.checkpoint import fingerprint, replace_atomically
from weights_tools.outputs import require_collection
from weights_tools.settings import CollectSettings
from weights_tools.texts import drawable, name_of, numbered, read_text
from weights_tools.torch_llama import Caches, TorchLlama, load_torch_llama

ANSWERS = ((0.0, 4), (1.0, 3), (0.7, 1))  # temperatures of answers, and how often each of eight
HOPELESS = 1000  # answers in a row that are too short, after which there will be no others
QUESTIONS = (1.0, 0.8)  # temperatures of the questions that the target writes

OPENINGS = (
    "", "", "", "", "What", "How", "Why", "Who", "When", "Where", "Which", "Can you", "Is it", "Explain", "Describe", "Write",
    "Write a short story", "Write an email", "Write a poem", "Write a Python function", "Compose", "Draft", "Imagine", "Pretend",
    "You are", "Translate German to English: ", "Translate the following sentence into", "Summarize the following",
    "Summarize:", "Rewrite the following", "Correct", "Solve", "Calculate", "If", "A train", "A store", "There are", "John has",
    "Tom bought", "Prove that", "Find the", "List", "Name", "Give me", "Compare", "What is the difference between", "What is",
    "Who was", "Who wrote", "What year", "In what", "Where is", "How many", "How do I", "Extract", "Classify", "Evaluate",
    "Read the following", "Based on the", "Answer the question", "Given the text", "I want", "I have", "Help me", "Create",
    "Design", "Provide", "Identify", "Discuss", "The", "In", "Consider", "Suppose", "Please", "Tell me", "Should",
)  # fmt: skip


@dataclass(eq=False)
class Text:
    """A chat on its way: `forced` are tokens that are still to be read before it is the target's turn."""

    number: int
    kind: str  # "prompt": of a file; "own": written by the target
    temperature: float  # of the answer
    question_temperature: float
    forced: deque[int]
    rng: np.random.Generator
    asking: bool  # the question is still open
    tokens: list[int] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)
    written: int = 0  # tokens of the present turn that the target wrote
    answer_start: int = 0


@dataclass(frozen=True)
class Frame:
    """What stands around a user's turn in the chat template, as ids."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    ends: frozenset[int]

    @classmethod
    def of(cls, tokenizer: Tokenizer, ends: Sequence[int]) -> "Frame":
        mark = "MARK-OF-THE-USERS-TURN"
        before, found, after = tokenizer.chat([{"role": "user", "content": mark}]).partition(mark)
        if not found:
            raise BadTokenizer(
                "the chat template does not show the user's words as they are; a target's own text needs one that does"
            )
        return cls(tokenizer.encode(ChatText(before)), tokenizer.encode(ChatText(after)), frozenset(ends))


def begun(number: int, tokenizer: Tokenizer, frame: Frame, prompts: Sequence[str], seed: int) -> Text:
    """Text `number`: the first ones answer the prompts of a file, all later ones ask themselves."""
    rng = np.random.default_rng([seed, number])
    temperatures = [temperature for temperature, often in ANSWERS for _ in range(often)]
    temperature, question = float(rng.choice(temperatures)), float(rng.choice(QUESTIONS))
    own = number >= len(prompts)
    words = str(rng.choice(OPENINGS)) if own else prompts[number]
    forced = deque(frame.before + tokenizer.encode(ChatText(words), special=False) + (() if own else frame.after))
    start = 0 if own else len(forced)
    return Text(number, "own" if own else "prompt", temperature, question, forced, rng, own, answer_start=start)


def pick(logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> Tensor:
    """logits [b, v], temperatures and uniforms [b] -> tokens [b]; at temperature 0 the first of the largest"""
    hot = temperatures.clamp(min=1e-6)[:, None]
    staircase = torch.softmax(logits.float() / hot, -1).cumsum(-1)
    sampled = torch.searchsorted(staircase, uniforms[:, None] * staircase[:, -1:], right=True)[:, 0]
    return torch.where(temperatures == 0, logits.argmax(-1), sampled.clamp(max=logits.shape[-1] - 1))


class Collection:
    """The folder of a collection: a file a text, and what it was made of."""

    def __init__(self, folder: Path, made_of: dict[str, object]) -> None:
        self.folder = folder
        about = folder / "collection.json"
        if about.is_file():
            before = {"prompts_sha256": made_of["prompts_sha256"]} | read_json(about)  # which those of old do not say
            changed = [name.removesuffix("_sha256") for name, value in made_of.items() if before.get(name) != value]
            if changed:
                listed = ", ".join(dict.fromkeys(changed))
                raise BadArgument(f"{folder} was collected with another {listed}; use the same, or another folder")
        else:
            require_collection(folder)
            replace_atomically(about, lambda path: path.write_text(json.dumps(made_of, indent=2) + "\n"))
        self.done = numbered(folder)

    def add(self, text: Text) -> None:
        path = self.folder / f"{text.number:06d}.safetensors"
        about = {"kind": text.kind, "temperature": str(text.temperature), "answer_start": str(text.answer_start)}
        tensors = {"tokens": torch.tensor(text.tokens, dtype=torch.int32), "features": torch.stack(text.features)}
        replace_atomically(path, partial(save_file, tensors, metadata=about))
        self.done[text.number] = path

    def counts(self, vocab_size: int, width: int) -> Counter[tuple[str, float]]:
        """How many answer tokens there are, by kind and temperature."""
        counts: Counter[tuple[str, float]] = Counter()
        for path in self.done.values():
            text = read_text(path, vocab_size, width, with_features=False)
            counts[text.kind, text.temperature] += len(text.tokens) - text.answer
        return counts


def read_prompts(file: Path) -> list[str]:
    """The prompts of a JSONL file, each a text to be asked in a chat. Raises BadArgument, with the line."""
    given = read(str(file), None)
    for each in given:
        if not isinstance(each.prompt, str):
            raise BadArgument(f"{each.where}: the prompt is ids; to be asked in a chat, it is a text")
        try:
            each.prompt.encode()
        except UnicodeEncodeError as error:
            raise BadArgument(f"{each.where}: the prompt is no text ({error.reason} at character {error.start})") from None
    return [each.prompt for each in given if isinstance(each.prompt, str)]


def collect(target: Path, out: Path, settings: CollectSettings, prompts: Sequence[str] = ()) -> Counter[tuple[str, float]]:
    """Collect, or go on collecting, until there are so many answer tokens. Returns their counts by kind and temperature."""
    network = load_torch_llama(target)
    tokenizer, ends = words(target, network.config.vocab_size)
    if tokenizer is None:
        raise BadArgument(f"{target} has no tokenizer, so no chats can be collected")
    frame = Frame.of(tokenizer, ends)
    opening = max(len(tokenizer.encode(ChatText(each), special=False)) for each in OPENINGS)
    longest = len(frame.before) + opening + settings.question + len(frame.after) + settings.answer
    if longest > network.config.context:
        raise BadArgument(f"question and answer take up to {longest} tokens; {name_of(target)} can see {network.config.context}")
    given = prompts
    prompts = [each for each in given if len(tokenizer.encode(each)) <= settings.question]
    if given and not prompts:
        raise BadArgument(f"question is {settings.question}, and none of the {len(given)} prompts is as short; give more")
    if len(prompts) < len(given):
        print(f"{len(given) - len(prompts)} of {len(given)} prompts are left out: they have more than {settings.question} tokens "
              "(--question)", flush=True)  # fmt: skip
    made_of = {"target": name_of(target), "seed": settings.seed, "prompts": len(prompts)}
    collection = Collection(out, made_of | {"prompts_sha256": fingerprint([json.dumps(prompts)])})
    waiting = (n for n in _numbers() if n not in collection.done)
    vocab_size = drawable(tokenizer, network.config.vocab_size)
    counts = collection.counts(vocab_size, network.config.width)
    with tqdm(total=settings.tokens, initial=sum(counts.values()), unit=" tokens", smoothing=0.05) as bar:
        while sum(counts.values()) < settings.tokens:
            texts = [begun(next(waiting), tokenizer, frame, prompts, settings.seed) for _ in range(settings.texts)]
            for text in written(texts, waiting, network, tokenizer, frame, prompts, settings, longest):
                collection.add(text)
                answer = len(text.tokens) - text.answer_start
                counts[text.kind, text.temperature] += answer
                bar.update(answer)
                if sum(counts.values()) >= settings.tokens:
                    break
    return counts


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def written(
    texts: list[Text], waiting: Iterator[int], network: TorchLlama, tokenizer: Tokenizer, frame: Frame,
    prompts: Sequence[str], settings: CollectSettings, longest: int,
) -> Iterator[Text]:  # fmt: skip
    """Texts as they are completed; the next one in line takes a finished one's place."""
    vocab_size = drawable(tokenizer, network.config.vocab_size)
    caches = Caches(network.config, len(texts), longest, network.lm_head.weight.dtype)
    chosen = [-1] * len(texts)  # what each text's last step picked
    short = 0  # answers in a row that were left out
    while True:
        for i, text in enumerate(texts):
            if not text.forced and chosen[i] >= 0:
                advance(text, chosen[i], frame, settings)
            if not text.forced:  # complete
                if len(text.tokens) - text.answer_start >= settings.least:
                    short = 0
                    yield text
                elif (short := short + 1) == HOPELESS:
                    raise BadArgument(f"least is {settings.least}, and the last {short} answers had fewer tokens; give less")
                texts[i] = begun(next(waiting), tokenizer, frame, prompts, settings.seed)
                caches.lengths[i] = 0
        fed = [text.forced.popleft() for text in texts]
        features = network.step(torch.tensor(fed), caches)
        uniforms = [text.rng.random() for text in texts]
        temperatures = [text.question_temperature if text.asking else text.temperature for text in texts]
        picked = pick(network.lm_head(features)[:, :vocab_size], torch.tensor(temperatures), torch.tensor(uniforms)).tolist()
        for i, text in enumerate(texts):
            text.tokens.append(fed[i])
            text.features.append(features[i].clone())
            chosen[i] = -1 if text.forced else picked[i]


def advance(text: Text, token: int, frame: Frame, settings: CollectSettings) -> None:
    """Take the target's token: it is the next one of the turn, or it ends it. A complete text has no forced token left."""
    text.written += 1
    ended = token in frame.ends
    if text.asking:
        if ended or text.written >= settings.question:
            text.asking, text.written = False, 0
            text.forced.extend(frame.after)
            text.answer_start = len(text.tokens) + len(frame.after)
        else:
            text.forced.append(token)
    elif ended or text.written >= settings.answer:
        text.tokens.append(token)  # the last one has no features: nothing follows it
    else:
        text.forced.append(token)

"""Long prompts for `collect`, about passages of the target's own answers: to be summarised, listed, or asked a question about.

What the target writes in an open user's turn is short, and a head that learned from short texts alone guesses badly in long ones
(docs/drafts.md). Nobody else's text is needed for longer ones: a few answers in a row are a passage.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refspec.errors import BadArgument
from refspec.models.model import words
from refspec.models.tokenizer import Tokenizer
from refspec.transformer.config import read_config
from weights_tools.checkpoint import replace_atomically
from weights_tools.collect import Frame
from weights_tools.settings import PassageSettings
from weights_tools.texts import Text, drawable, name_of, paths_of, read_text

# p: the passage; q: the question that one of its answers was given to
ASKED = (
    "Summarize: {p}", "Summarize: {p}", "Summarize the following text in a few sentences.\n\n{p}",
    "{p}\n{q}", "{p}\n{q}", "{p}\n{q}",
    "Read the passage and answer the question.\n\n{p}\n\nQuestion: {q}", "{p}\n\nWhat is the main point of the text above?",
    "List the key facts of this text:\n\n{p}", "{p}\nWho is mentioned here, and why?",
)  # fmt: skip
QUESTION = range(1, 200)  # characters of a question that is put behind a passage
PASSAGES = 3  # that an answer can stand in


def write_passages(target: Path, folders: Sequence[Path], out: Path, settings: PassageSettings) -> int:
    """Write JSONL that `collect --prompts` reads; return how many prompts. Raises BadArgument where the texts give none."""
    config = read_config(target)
    tokenizer, ends = words(target, config.vocab_size)
    if tokenizer is None:
        raise BadArgument(f"{target} has no tokenizer, so no prompts can be written")
    frame = Frame.of(tokenizer, ends)
    vocab_size = drawable(tokenizer, config.vocab_size)
    paths = paths_of(folders, name_of(target))
    texts = (read_text(path, vocab_size, config.width, with_features=False) for path in paths)
    pairs = [quoted(text, tokenizer, frame, settings.least) for text in texts]
    answered = [pair for pair in pairs if pair]
    if not answered:
        raise BadArgument(
            f"{', '.join(map(str, folders))}: no answer has {settings.least} tokens; collect more, or lower --least"
        )
    rng = np.random.default_rng(settings.seed)
    rng.shuffle(answered)
    again = [tuple(pair) for _ in range(PASSAGES - 1) for pair in rng.permutation(np.array(answered, dtype=object))]
    prompts = asked_about([*answered, *again], tokenizer, rng, settings)
    if not prompts:
        raise BadArgument(
            f"{', '.join(map(str, folders))}: too little text for a passage of {settings.shortest} tokens; collect more"
        )
    lines = "".join(json.dumps({"category": "passage", "prompt": prompt}) + "\n" for prompt in prompts)
    replace_atomically(out, lambda path: path.write_text(lines, encoding="utf-8"))
    return len(prompts)


def quoted(text: Text, tokenizer: Tokenizer, frame: Frame, least: int) -> tuple[str, str] | None:
    """Question and answer of a text; None where one of them is too short to be of use, or too long."""
    start, tokens = text.answer, text.tokens.tolist()
    question = tokenizer.decode(tokens[len(frame.before) : start - len(frame.after)]).strip()
    answer = tokenizer.decode([token for token in tokens[start:] if token not in frame.ends]).strip()
    return (question, answer) if len(tokens) - start >= least and len(question) in QUESTION else None


def asked_about(
    pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer, rng: np.random.Generator, settings: PassageSettings
) -> list[str]:
    """Prompts about passages of answers in a row, of `shortest` to `longest` tokens each."""
    prompts: list[str] = []
    waiting = iter(pairs)
    while len(prompts) < settings.passages:
        length = int(rng.integers(settings.shortest, settings.longest))
        answers: list[str] = []
        questions: list[str] = []
        while len(tokenizer.encode(" ".join(answers))) < length:
            question, answer = next(waiting, (None, None))
            if question is None or answer is None:
                return prompts
            questions.append(question)
            answers.append(answer.replace("\n\n", " "))
        passage = tokenizer.decode(tokenizer.encode(" ".join(answers))[:length])
        prompts.append(str(rng.choice(ASKED)).format(p=passage, q=questions[int(rng.integers(len(questions)))]))
    return prompts

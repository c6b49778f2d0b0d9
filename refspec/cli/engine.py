"""A model and a drafter, loaded once, that answer requests."""

import argparse
import json
from dataclasses import dataclass
from typing import Any

from refspec.cli.output import as_json
from refspec.cli.requests import Request
from refspec.decoding.draft import Drafter
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import RULES
from refspec.errors import BadArgument
from refspec.generate import Output, Run, stream
from refspec.models.model import Model, load
from refspec.models.tokenizer import Tokenizer


@dataclass(frozen=True)
class Engine:
    """What the requests of one command share."""

    model: Model
    drafter: Drafter | Model | None
    profile: Profile | None
    options: argparse.Namespace

    @classmethod
    def load(cls, options: argparse.Namespace) -> "Engine":
        profile = None if options.profile is None else Profile.load(options.profile)
        model = load(options.model, row_invariant=options.row_invariant)
        if options.ngram:
            return cls(model, NgramDrafter(), profile, options)
        if options.draft is None:
            return cls(model, None, profile, options)
        return cls(model, model if options.draft == options.model else load(options.draft), profile, options)

    def stream(self, request: Request) -> Run:
        return stream(
            self.model,
            prompt_ids(self.model, request),
            drafter=self.drafter,
            stop=request.stop,
            verify=RULES[self.options.verify],
            profile=self.profile,
            **request.settings,
        )

    def answer(self, request: Request, output: Output, **more: Any) -> str:
        """The JSON of one generation: one line of ASCII, which every reader and every console takes."""
        drafter = {"draft": "ngram" if self.options.ngram else self.options.draft, "verify": self.options.verify}
        made_by = {"model": self.model.name, **drafter, **request.settings}
        return json.dumps({**request.labels, **more, **as_json(output), **made_by}, allow_nan=False)


def prompt_ids(model: Model, request: Request) -> Tokens:
    """The prompt in the model's tokens. A template spells a chat out whole, so the tokenizer puts nothing around it."""
    prompt = request.prompt
    if not prompt:
        raise BadArgument("the prompt is empty; give at least one token of text")
    if isinstance(prompt, tuple):
        return prompt
    if isinstance(prompt, str):
        if not request.chat:
            return tokenizer_of(model).encode(prompt)
        prompt = [{"role": "user", "content": prompt}]
    tokenizer = tokenizer_of(model)
    return tokenizer.encode(tokenizer.chat(prompt), special=False)


def tokenizer_of(model: Model) -> Tokenizer:
    if model.tokenizer is None:
        raise BadArgument(f'{model.name} has no tokenizer.json; give token ids, as {{"prompt": [1, 2]}} in a line of --jsonl')
    return model.tokenizer

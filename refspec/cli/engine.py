"""A model and a drafter, loaded once, that answer requests."""

import argparse
import json
from dataclasses import dataclass
from typing import Any

from refspec.cli.exits import complain
from refspec.cli.output import as_json
from refspec.cli.requests import Request
from refspec.decoding import checks
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import Tokens
from refspec.decoding.verify import RULES
from refspec.errors import BadArgument
from refspec.generate import Output, Run, stream
from refspec.given import AnyDrafter, as_drafter, is_chat, own
from refspec.models.chat import Messages
from refspec.models.drafts import load_draft
from refspec.models.model import Model, load
from refspec.models.profiles import conditions
from refspec.models.tokenizer import Tokenizer


@dataclass(frozen=True)
class Engine:
    """What the requests of one command share."""

    model: Model
    drafter: AnyDrafter
    profile: Profile | None
    options: argparse.Namespace

    @classmethod
    def load(cls, options: argparse.Namespace) -> "Engine":
        profile = None if options.profile is None else Profile.load(options.profile)
        model = load(options.model, row_invariant=options.row_invariant)
        if profile is not None and profile.about not in ("", here := conditions(model)):
            complain(f"{options.profile} was measured elsewhere: on {profile.about}; this is {here}")
        if options.ngram:
            return cls(model, NgramDrafter(), profile, options)
        if options.draft is None:
            return cls(model, None, profile, options)
        return cls(model, model if options.draft == options.model else load_draft(options.draft), profile, options)

    def require_draft(self) -> None:
        """Raises what is wrong with the draft for this model and rule: once, before the first request."""
        target, rule = self.model.language_model(), RULES[self.options.verify]
        checks.before(target, as_drafter(own(self.drafter), target, rule), rule, gamma=0, max_new_tokens=0)

    def stream(self, request: Request) -> Run:
        prompt = as_prompt(self.model, request)
        return stream(
            self.model,
            prompt,
            drafter=own(self.drafter),
            stop=request.stop,
            verify=RULES[self.options.verify],
            profile=self.profile,
            **request.settings,
            **(template_settings(self.options) if is_chat(prompt) else {}),
        )

    def answer(self, request: Request, output: Output, **more: Any) -> str:
        """The JSON of one generation: one line of ASCII, which every reader and every console takes."""
        return json.dumps({**request.labels, **more, **as_json(output), **self.made_by(request)}, allow_nan=False)

    def made_by(self, request: Request) -> dict[str, Any]:
        """The models, the rule and the settings, by the names of their options."""
        drafter = {"draft": "ngram" if self.options.ngram else self.options.draft, "verify": self.options.verify}
        return {"model": self.model.name, **drafter, **request.settings}


def as_prompt(model: Model, request: Request) -> str | Tokens | Messages:
    """The prompt as `refspec.generate` takes it: what a user says to the model is a chat of one message."""
    if isinstance(request.prompt, str) and request.prompt:
        tokenizer_of(model)  # says how a line of JSONL gives ids
        return [{"role": "user", "content": request.prompt}] if request.chat else request.prompt
    return request.prompt


def template_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the chat templates of one command go by."""
    thinking = {} if options.enable_thinking is None else {"enable_thinking": options.enable_thinking}
    return {"date": options.date, "template_vars": {**thinking, **dict(options.template_var)}}


def tokenizer_of(model: Model) -> Tokenizer:
    if model.tokenizer is None:
        raise BadArgument(
            f'{model.name} has no tokenizer.json; give token ids, as {{"prompt": [1, 2]}} in a line of `refspec generate --jsonl`'
        )
    return model.tokenizer

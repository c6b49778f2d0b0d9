"""PyTorch drives the loop: a PyTorch model as a `Model`, so that all that runs on ours runs on it."""

from pathlib import Path
from typing import Any

from refspec.models import home
from refspec.models.model import Model, words
from refspec.models.torch_network import TorchNetwork


def from_torch(
    model: Any,
    *,
    folder: str | Path | None = None,
    vocab_size: int | None = None,
    context: int | None = None,
    cache: bool = True,
) -> Model:
    """A transformers or plain PyTorch model, in evaluation mode, as what `refspec.load` returns: a target or a draft.

    model: maps ids [1, n] to logits [1, n, v], or to what has them as `logits` or first. One of transformers keeps
    a cache, which is rolled back; another, and one with cache=False, reads the whole text anew each time.
    folder: where its tokenizer.json is; without one, prompts and texts are ids. vocab_size: ids from there on only pad the
    vocabulary (a tokenizer says so itself). context: how many positions there are, where the model does not say.
    The weights stay with PyTorch, where they are. Raises BadArgument for a model that does not answer so. For instance::

        import refspec
        from transformers import AutoModelForCausalLM

        target = refspec.from_torch(AutoModelForCausalLM.from_pretrained("gpt2-medium"))
        draft = refspec.from_torch(AutoModelForCausalLM.from_pretrained("gpt2"))
        refspec.speculative(target, draft, [464, 1893], gamma=4, max_new_tokens=32, chance=refspec.Seeded(0)).tokens
    """
    found = None if folder is None else home.find(folder)
    name = type(model).__name__ if found is None else found.resolve().name
    network = TorchNetwork(model, name=name, vocab_size=vocab_size, context=context, cache=cache)
    if found is not None:
        return Model(name, network, *words(found, network.config.vocab_size))
    return Model(name, network, None, ends_of(model, network.config.vocab_size))


def ends_of(model: Any, rows: int) -> tuple[int, ...]:
    """The ids that end its text: what its configurations say as `eos_token_id`, the one for generation first.

    >>> from types import SimpleNamespace
    >>> from refspec.models.from_torch import ends_of
    >>> ends_of(SimpleNamespace(config=SimpleNamespace(eos_token_id=[2, 3])), rows=10)
    (2, 3)
    """
    for config in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        given = getattr(config, "eos_token_id", None)
        if given is not None:
            return tuple(each for each in (given if isinstance(given, list) else [given]) if 0 <= each < rows)
    return ()

"""What the modules of a transformers model gave, in a file for `refspec compare`: by forward hooks, under their own names."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refspec.brief import short
from refspec.errors import BadArgument
from refspec.models.cached_lm import check_ids

INPUT_TOO = ("attn.c_proj", "o_proj", "down_proj")  # what they are given is no module's output


def record_activations(model: Any, tokens: Sequence[int], path: str | Path) -> None:
    """One forward pass of a PyTorch model over the ids [n]; each module's first result, in the type that it has.

    A module that returns several tensors, as rotary embeddings do, has them as `name.0`, `name.1`. Dropout is left out, and so is
    what returns no tensor. Raises BadArgument without PyTorch, for a model in training mode, and for ids that are none. So::

        from refspec.models.torch_activations import record_activations

        record_activations(model, [12, 7, 30], "activations.safetensors")
    """
    try:
        import torch
        from safetensors.torch import save
    except ImportError:
        raise BadArgument("record_activations needs torch; run: pip install '.[peers]'") from None
    if not isinstance(model, torch.nn.Module):
        raise BadArgument(f"the model is {short(model)}; give a PyTorch module, on whose modules hooks can look")
    if any(each.training for each in model.modules()):
        raise BadArgument("the model is in training mode, where dropout changes what it computes; call model.eval() first")
    ids = np.asarray(tokens)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise BadArgument(f"the tokens are {short(tokens)}; give the ids of one text, such as [12, 7, 30]")
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    check_ids(tuple(ids.tolist()), size if isinstance(size, int) else sys.maxsize)
    found: dict[str, Any] = {"input_ids": torch.tensor(ids[None].astype(np.int64))}

    def keep(name: str, given: Any) -> None:
        if isinstance(given, torch.Tensor) and given.is_floating_point():
            found[name] = given.detach().cpu().contiguous().clone()

    def hook(name: str) -> Any:
        def see(module: Any, given: Any, result: Any) -> None:
            if name.endswith(INPUT_TOO):
                keep(f"{name}.input", given[0])
            if isinstance(result, tuple) and len(result) > 1 and all(isinstance(each, torch.Tensor) for each in result):
                for i, each in enumerate(result):
                    keep(f"{name}.{i}", each)
            else:
                keep(name, result[0] if isinstance(result, tuple) else result)

        return see

    # leaves, and the layers of the stack: what another module gives is what its last leaf gives
    leaves = [(name, each) for name, each in model.named_modules() if name[-1:].isdigit() or not list(each.children())]
    handles = [each.register_forward_hook(hook(name)) for name, each in leaves if not isinstance(each, torch.nn.Dropout)]
    try:
        with torch.inference_mode():
            model(found["input_ids"].to(next((each.device for each in model.parameters()), "cpu")))
    finally:
        for each in handles:
            each.remove()
    Path(path).write_bytes(save(found))

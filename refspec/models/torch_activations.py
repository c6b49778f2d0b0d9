"""What the modules of a transformers model gave, in a file for `refspec compare`: by forward hooks, under their own names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refspec.errors import BadArgument

INPUT_TOO = ("attn.c_proj", "o_proj", "down_proj")  # what they are given is no module's output


def record_activations(model: Any, tokens: Sequence[int], path: str | Path) -> None:
    """One forward pass of a PyTorch model over the ids; each module's first result, in float32 or float64.

    A module that returns several tensors, as rotary embeddings do, has them as `name.0`, `name.1`. Dropout is left out, and so is
    what returns no tensor. Raises BadArgument without PyTorch, and for a model in training mode. So::

        from refspec.models.torch_activations import record_activations

        record_activations(model, [12, 7, 30], "activations.safetensors")
    """
    try:
        import torch
        from safetensors.torch import save_file
    except ImportError:
        raise BadArgument("record_activations needs torch; run: pip install '.[peers]'") from None
    if model.training:
        raise BadArgument("the model is in training mode, where dropout changes what it computes; call model.eval() first")
    found: dict[str, Any] = {"input_ids": torch.tensor([list(tokens)])}

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
            model(found["input_ids"].to(next(model.parameters()).device))
    finally:
        for each in handles:
            each.remove()
    save_file(found, path)

"""The fixtures as OpenVINO's own files, which its engine reads in the place of weights: made once, and committed.

`python -m refspec.conformance.openvino_ir` makes them again. Needs `pip install optimum-intel openvino`. Weights stay float32.
The engine also wants a tokenizer beside each model, only to compare the two; since ids go in and come out, one that reads
nothing will do.
"""

import sys
from pathlib import Path

import numpy as np

from refspec.conformance.fixtures import FOLDER

IR = FOLDER / "openvino"
NAMES = ("target", "draft")
NO_TOKEN = 16  # the first id that is none: what the engine takes for its end token


def write(folder: Path) -> None:
    """Both models in two folders. Raises ModuleNotFoundError without optimum-intel."""
    from optimum.intel import OVModelForCausalLM

    for name in NAMES:
        model = OVModelForCausalLM.from_pretrained(FOLDER / name, export=True, compile=False, load_in_8bit=False)
        (folder / name).mkdir(parents=True, exist_ok=True)
        _save(model.model, folder / name / "openvino_model.xml")
        _save(_reads_nothing(), folder / name / "openvino_tokenizer.xml")


def _save(model: object, path: Path) -> None:
    import openvino

    openvino.save_model(model, path, compress_to_fp16=False)


def _reads_nothing() -> object:
    """A tokenizer that gives one token 0 for any text."""
    import openvino
    from openvino import opset13

    text = opset13.parameter([-1], openvino.Type.string)
    ids, mask = (opset13.result(opset13.constant(np.full((1, 1), value, np.int64))) for value in (0, 1))
    ids.output(0).set_names({"input_ids"})
    mask.output(0).set_names({"attention_mask"})
    return openvino.Model([ids, mask], [text], "tokenizer")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else IR)

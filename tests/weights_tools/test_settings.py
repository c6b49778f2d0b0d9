"""Each setting takes the whole of its range and nothing beside it."""

import argparse
import math
from dataclasses import replace
from typing import Any

import pytest

from refspec.errors import BadArgument
from weights_tools.settings import (
    MEANING,
    CollectSettings,
    DistillSettings,
    HeadSettings,
    PassageSettings,
    TableSettings,
    TrainSettings,
    add_options,
    check,
    chosen,
)

WHOLE = (1, 2, 10**6), (0, -1, math.inf, math.nan)
ALLOWED_AND_NOT: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    **dict.fromkeys("steps rounds layers width heads context sequences passes batch evaluate_every patience".split(), WHOLE),
    **dict.fromkeys("tokens question answer least passages shortest".split(), WHOLE),
    "texts": ((1, 4096), (0, 4097, math.nan)),
    "longest": ((2, 10**6), (1, math.nan)),
    "words": ((2, 10**6), (1, math.nan)),
    "orders": ((1, 8), (0, 9)),
    "kind": (("eagle", "mlp"), ("", "Eagle", "eagle2")),
    "depths": ((1, 6), (0, 7)),
    "held_out": ((2, 10**6), (1, math.nan)),
    "bfloat16": ((0, 1), (-1, 2)),
    "vocab": ((257, 258), (256, 0, math.inf, math.nan)),
    "length": ((8, 9), (7, math.inf, math.nan)),
    "draft_share": ((0.0, 0.5, 1.0), (-1e-9, 1 + 1e-9, math.nan)),
    "loss": (("tvd", "kl", "reverse-kl"), ("", "TVD", "reverse_kl", "kl ", "reverse")),
    "lr": ((1e-30, 2.0), (0.0, -1.0, math.inf, math.nan)),
    "warmup": ((0, 1), (-1, math.inf)),
    "decay": ((1e-30, 1.0), (0.0, -0.5, 1 + 1e-9, math.nan)),
    "weight_decay": ((0.0, 2.0), (-1e-9, math.inf, math.nan)),
    **dict.fromkeys(("dropout", "shallow"), ((0.0, 0.999), (1.0, -1e-9, math.nan))),
    "seed": ((0, 2**32 - 1), (-1, 2**32)),
    "threads": ((1, 1024), (0, 1025)),
    "checkpoint_seconds": ((0.0, 1e9), (-1e-9, math.inf, math.nan)),
}


@pytest.mark.parametrize("name", MEANING)
def test_a_setting_takes_the_ends_of_its_range_and_nothing_outside(name: str) -> None:
    allowed, refused = ALLOWED_AND_NOT[name]
    for value in allowed:
        check({name: value})
    for value in refused:
        with pytest.raises(BadArgument, match=rf"^{name} is .*; it is {MEANING[name][1].words}$"):
            check({name: value})


def test_a_width_is_divided_among_the_heads() -> None:
    assert TrainSettings(width=12, heads=3).heads == 3
    with pytest.raises(BadArgument, match="heads is 12, which does not divide a width of 3"):
        TrainSettings(width=3, heads=12)
    with pytest.raises(BadArgument, match="lr is 0; it is above 0"):
        replace(DistillSettings(), lr=0)


def test_a_passage_has_a_shortest_and_a_longest_length() -> None:
    assert PassageSettings(shortest=4, longest=5).longest == 5
    with pytest.raises(BadArgument, match="shortest is 5; it is below longest, which is 5"):
        PassageSettings(shortest=5, longest=5)


@pytest.mark.parametrize("kind", [CollectSettings, HeadSettings, PassageSettings, TableSettings])
def test_defaults_are_options_too(kind: Any) -> None:
    command = argparse.ArgumentParser()
    add_options(command, vars(kind()))
    assert chosen(command.parse_args([]), kind) == kind()


@pytest.mark.parametrize("kind", [TrainSettings, DistillSettings])
def test_options_give_back_the_settings_they_were_made_of(kind: Any) -> None:
    command = argparse.ArgumentParser()
    add_options(command, vars(kind()))
    assert chosen(command.parse_args([]), kind) == kind()
    words = ["--weight-decay", "0.25", "--batch", "3", "--evaluate-every", "9"]
    assert chosen(command.parse_args(words), kind) == replace(kind(), weight_decay=0.25, batch=3, evaluate_every=9)


def test_a_collection_that_would_keep_no_answer_is_refused() -> None:
    with pytest.raises(BadArgument, match="least is 9; answers have 8 tokens at most"):
        CollectSettings(answer=8, least=9)

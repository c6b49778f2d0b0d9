"""Bugs of caches: rows that are not those of the text. In a draft's cache the text stays right and acceptance decays."""

from typing import Any

import numpy as np

import refspec
from mutants.planting import patched, planted
from refspec.arrays import Array
from refspec.models.cached_lm import CachedLM
from refspec.models.sampling import Sampling
from refspec.transformer.cache import KVCache

MUTANTS, plant = planted("caches")


def patched_lm(*changes: tuple[str, str]) -> Any:
    changed = patched("refspec.models.cached_lm", *changes).CachedLM
    return lambda model: changed(model.network, Sampling())


def with_cache(make: Any) -> Any:
    """A CachedLM on another cache; `network` may stand in front of the model's."""

    def language_model(model: refspec.Model, network: Any = None) -> CachedLM:
        made, config = CachedLM(network or model.network, Sampling()), model.config
        made.cache = make(config.layers, config.kv_heads, config.head_width, model.network.dtype)
        return made

    return language_model


plant(
    "draft-cache-lacks-last-token",
    "after full acceptance the last drafted token is never fed to the draft",
    "mlxcel #994",
    draft_lm=patched_lm(("np.array(tokens[start:])", "np.array(tokens[len(tokens) - last if start else 0 :])")),
)
plant(
    "draft-cache-trimmed-one-too-many",
    "a rollback drops a row too many",
    "vllm #5765",
    draft_lm=patched_lm(("self.cache.rollback(start)", "self.cache.rollback(start - (0 < start < self.cache.length))")),
)
plant(
    "drop-the-last-0",
    "rows[:-n] where n is 0 drops all of them",
    "several",
    draft_lm=with_cache(
        patched(
            "refspec.transformer.cache",
            ("self.length = length", "self.length = len(range(self.length)[: -(self.length - length)])"),
        ).KVCache
    ),
)


class NeverRewound:
    """A network that counts positions by how much it was ever fed."""

    def __init__(self, network: Any) -> None:
        self.network, self.config, self.new_cache, self.fed = network, network.config, network.new_cache, 0

    def forward(self, tokens: Array, cache: KVCache, last: int = 1) -> Array:
        positions = np.arange(self.fed, self.fed + len(tokens))
        self.fed += len(tokens)
        return self.network.forward(tokens, cache, last, positions=positions)


plant(
    "positions-not-rewound",
    "rows are dropped and positions go on counting",
    "transformers #30042",
    target_lm=lambda model: CachedLM(NeverRewound(model.network), Sampling()),
)


class ZeroedCache(KVCache):
    """Zeroes what it should remove. places: where the rows of the text stand among all that were written."""

    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.places: list[int] = []

    def advance(self, n: int) -> None:
        self.places += range(self.length, self.length + n)
        super().advance(n)

    def rollback(self, length: int) -> None:
        for place in self.places[length:]:
            self.keys[:, :, place] = self.values[:, :, place] = 0
        self.places = self.places[:length]


class AtTheirPlaces(NeverRewound):
    """A network that gives tokens their own positions in front of a ZeroedCache."""

    def forward(self, tokens: Array, cache: ZeroedCache, last: int = 1) -> Array:
        self.fed = len(cache.places)
        return super().forward(tokens, cache, last)


plant(
    "rejected-rows-zeroed",
    "rejected rows are zeroed and not removed: they still weigh e^0",
    "mlx-vlm #2113",
    target_lm=lambda model: with_cache(ZeroedCache)(model, AtTheirPlaces(model.network)),
)

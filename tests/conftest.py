"""Fixtures that more than one file uses, and the Hypothesis profiles (HYPOTHESIS_PROFILE=dev | ci | nightly)."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from refspec.cli import prove
from refspec.proof.exact import race_law
from refspec.proof.interval import accept_counts, pick_counts

prove.CHECKOUT = Path(__file__).parents[1]  # also where refspec was installed by copying

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """SmolLM2-135M, fetched by the project's own tool where it is not there yet. A test that needs it fails without it."""
    from weights_tools.fetch import fetch

    return fetch("smollm2-135m")


@pytest.fixture(scope="session", autouse=True)
def _nothing_remembered() -> None:
    """mutmut forks a mutant after a clean run, whose remembered answers would hide what the mutant computes."""
    for remembered in (race_law, accept_counts, pick_counts):
        remembered.cache_clear()

"""A profile of costs as it is kept: what it may hold, and that it is read as it was written."""

import json
from dataclasses import astuple
from pathlib import Path

import pytest

from refspec.decoding.draft.profile import Profile
from refspec.errors import BadProfile


@pytest.mark.parametrize(
    ("verify", "draft"),
    [((1,), 0), ((1, 1e-300), 0.5), ((1, 1e300, 0.5), 1e300), ((1.0, 2), 0.0)],
)
def test_what_may_be_a_cost(verify: tuple[float, ...], draft: float, tmp_path: Path) -> None:
    profile = Profile(verify, draft, "größer, hier")
    profile.save(str(tmp_path / "kept.json"))
    assert astuple(Profile.load(str(tmp_path / "kept.json")))[:3] == (verify, draft, "größer, hier")


@pytest.mark.parametrize(
    ("verify", "draft", "said"),
    [
        ((), 0, r"verify is \[\]"),
        ((1.001, 2), 0, "verify is"),
        ((0.999, 2), 0, "verify is"),
        ((1, 0), 0, "verify is"),
        ((1, 2, -1), 0, "verify is"),
        ((1, float("inf")), 0, "verify is"),
        ((1, float("nan")), 0, "verify is"),
        ((1, 2), -1e-300, "draft is -1e-300"),
        ((1, 2), float("inf"), "draft is inf"),
        ((1, 2), float("nan"), "draft is nan"),
    ],
)
def test_what_is_no_cost(verify: tuple[float, ...], draft: float, said: str) -> None:
    with pytest.raises(BadProfile, match=said):
        Profile(verify, draft)


def test_a_file_need_not_say_where_it_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text('{"verify": [1, 2], "draft": 0.5, "measured": "by hand"}')
    assert Profile.load(path) == Profile((1.0, 2.0), 0.5, "")
    Profile((1,), 0).save(path)
    said = json.loads(path.read_text(encoding="utf-8"))
    assert (said["verify"], said["draft"], said["about"], said["far"]) == ([1], 0, "", [])
    assert path.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize(
    "text", ['{"draft": 0}', '{"verify": [1], "draft": null}', '{"verify": [1, [2]], "draft": 0}', "null", '{"verify": {"1": 1}}']
)
def test_a_file_that_holds_no_profile_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(BadProfile, match=r"bad\.json is no profile"):
        Profile.load(tmp_path / "bad.json")


def test_a_folder_is_no_profile(tmp_path: Path) -> None:
    with pytest.raises(BadProfile, match="is no regular file"):
        Profile.load(tmp_path)


def test_the_packages_own_differ_in_what_a_few_rows_cost() -> None:
    """Where a few rows cost what one costs, two tokens are nearly free; elsewhere they are half as dear again."""
    cheap, dear = Profile.embedded(few_rows_are_cheap=True), Profile.embedded(few_rows_are_cheap=False)
    assert cheap.verify[1] < 1.1 < 1.3 < dear.verify[1]
    assert cheap.about
    assert dear.about

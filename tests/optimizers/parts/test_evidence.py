"""The laws of what scores say of versions."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.optimizers.parts.evidence import Evidence

SCORES = st.floats(0, 1)


def version(name: str) -> lf.Version:
    """A version that differs from others."""
    return lf.Version(params={"answer.instruction": name})


def evidence(scores: dict[str, dict[str, float]]) -> Evidence:
    """What was seen of versions, by their names and by example."""
    seen = Evidence()
    for name, values in scores.items():
        for example, score in values.items():
            seen.add(version(name), f"{name}/{example}", example, score)
    return seen


@given(st.lists(st.lists(SCORES, min_size=5, max_size=5), min_size=1, max_size=6))
def test_on_the_same_examples_the_mean_decides(rows: list[list[float]]) -> None:
    """Versions that were scored on the same examples are ordered by their means, the start among
    them; ties go to the earlier.
    """
    seen = evidence(
        {f"v{at}": {f"e{n}": s for n, s in enumerate(row)} for at, row in enumerate(rows)}
    )
    means = [statistics.fmean(row) for row in rows]
    best = seen.best(version("v0"))
    chosen = next(at for at in range(len(rows)) if version(f"v{at}").tree == best.tree)
    assert pytest.approx(max(means), abs=1e-6) == means[chosen]
    assert chosen == 0 or means[chosen] > means[0]


def test_few_examples_promise_little() -> None:
    """A version that is better by 0.25 on many examples is expected to do better than one that is
    better by 0.5 on two.
    """
    start = {f"e{n}": float(n % 2) for n in range(40)}
    many = {f"e{n}": float(n % 2 or n % 4 == 0) for n in range(40)}
    few = {"e0": 1.0, "e1": 1.0}
    assert version("many").tree == evidence({"start": start, "many": many, "few": few}).best(
        version("start")
    ).tree  # fmt: skip


def test_easy_examples_make_no_version_better() -> None:
    """A version that did as well as the start on easy examples, and met no hard ones, is not
    preferred to one that did better on all.
    """
    start = {**{f"easy{n}": 1.0 for n in range(10)}, **{f"hard{n}": 0.0 for n in range(10)}}
    better = {**start, "hard0": 1.0, "hard1": 1.0, "hard2": 1.0}
    easy = {f"easy{n}": 1.0 for n in range(10)}
    seen = evidence({"start": start, "easy": easy, "better": better})
    assert version("better").tree == seen.best(version("start")).tree


def test_nothing_is_known_before_the_start_was_scored() -> None:
    """Without a score of the start it is the answer, and without any score."""
    start = version("start")
    assert start == evidence({}).best(start)
    assert start == evidence({"other": {"e0": 1.0}}).best(start)


def test_a_rollout_counts_once() -> None:
    """A rollout that a search needs again is no further observation."""
    seen = evidence({"start": {"e0": 0.0, "e1": 1.0}, "other": {"e0": 1.0, "e1": 0.0}})
    for _ in range(5):
        seen.add(version("other"), "other/e0", "e0", 1.0)
    assert version("start").tree == seen.best(version("start")).tree

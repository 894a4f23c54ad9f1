"""The candidates of a search and its curve, from executions alone."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lmflow.ui.candidates import candidates_of, curve_of, example_of, is_held
from lmflow.ui.plots import curve_plot


def row(at: int, version: str, label: str = "", **more: Any) -> dict[str, Any]:
    """An execution that sent two calls, the at-th that ended."""
    facts = {"trace": f"t{at}", "version": version, "program": "p", "status": "done"}
    amounts = {"sent": 2, "cost": 1_000_000_000, "ended_ns": at + 1}
    return {**facts, **amounts, "label": label or f"turn[0]/full/ex[e{at}]", **more}


def test_labels_name_examples_and_judgements() -> None:
    """The id of an example is read from a label, also of a sample; held-back judging is told."""
    assert "e1" == example_of("turn[0]/child/ex[e1]") == example_of("start/ex[e1]/n[2]")
    assert "" == example_of("start")
    assert is_held("held/after/ex[e1]")
    assert is_held("guard/before/ex[e1]")
    assert not is_held("start/ex[e1]")


def test_other_programs_and_judging_are_no_candidates() -> None:
    """Proposers spend, but are no candidates, and neither are held-back executions."""
    rows = [row(0, "a"), row(1, "x", program="proposer"), row(2, "a", "held/after/ex[e0]")]
    (only,) = candidates_of(rows, {"t0": 1.0, "t2": 0.0}, "p", ())
    assert ("a", 1, {"e0": 1.0}) == (only.version, only.executions, only.scores)


def test_a_candidate_of_few_examples_is_shown_and_not_judged() -> None:
    """One right answer of a minibatch beats no candidate that ran on all examples."""
    rows = [row(at, "a") for at in range(4)] + [row(4, "b", "turn[0]/child/ex[t1]")]
    scores = {"t0": 1.0, "t1": 0.0, "t2": 1.0, "t3": 0.0, "t4": 1.0}
    found = candidates_of(rows, scores, "p", {"e0", "e1", "e2", "e3"})
    assert [("a", True), ("b", False)] == [(each.version, each.judged) for each in found]
    assert [0.5] == [point["score"] for point in curve_of(found)]
    assert 1.0 == found[1].to_json()["score"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 1)), max_size=20))
def test_the_curve_only_rises(executions: list[tuple[str, float]]) -> None:
    """Each point is better than all before it, costs no less, and the last is the best judged."""
    rows = [row(at, version) for at, (version, _) in enumerate(executions)]
    scores = {f"t{at}": score for at, (_, score) in enumerate(executions)}
    found = candidates_of(rows, scores, "p", ())
    curve = curve_of(found)
    values = [point["score"] for point in curve]
    assert values == sorted(set(values))
    assert [point["calls"] for point in curve] == sorted(point["calls"] for point in curve)
    judged = [each.to_json()["score"] for each in found if each.judged]
    assert values[-1:] == ([max(judged)] if judged else [])
    assert bool(curve) == ("<svg" in curve_plot(curve, "calls", 2.0 * len(rows), 100.0))

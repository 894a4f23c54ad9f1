"""The laws of what may be taken from a recording."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ModelFailed, ReplayDiverged
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Failure, Outcome, failure_of
from lmflow.messages.requests import ChatRequest
from lmflow.replays.addresses import may_depend
from lmflow.replays.reuse import (
    NO_ANSWERS,
    copied_call,
    exact_answers,
    outcome_or_raise,
    resume_answers,
)
from lmflow.traces.addresses import segment
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

AT = "a[0]/call[0]"


def request(text: str = "x") -> ChatRequest:
    """A resolved request."""
    return ChatRequest((Message("user", text),), "scripted/model", "scripted")


def call(outcome: Outcome | None, attempt: int = 0, address: str = AT) -> CallAttempt:
    """One attempt."""
    return CallAttempt(address, request(), request().key, attempt, outcome)


def trace(*calls: CallAttempt) -> Trace:
    """An execution with these calls."""
    world = Record(
        adapter="chat/1", models={"": {"model": "scripted/model", "endpoint": "scripted"}}
    )
    return Trace("t", "p", "p", Version(), Record(), world, calls=calls)


DOWN = failure_of(ModelFailed("server", "down", 503))
FINE = ChatReply("fine")


def test_an_answer_counts_where_the_key_agrees() -> None:
    """The recorded call answers the same request at its address; another is an error, and so is
    another address.
    """
    reuse = exact_answers(trace(call(FINE)))
    assert call(FINE) == reuse(AT, request())
    with pytest.raises(ReplayDiverged, match="differs"):
        reuse(AT, request("y"))
    with pytest.raises(ReplayDiverged, match="nothing was recorded"):
        reuse("b[0]/call[0]", request())


def test_nothing_kept_asks_everything() -> None:
    """Where nothing was recorded everything is asked."""
    assert NO_ANSWERS(AT, request()) is None


def test_a_resumed_answer_is_exact_and_a_gap_is_asked() -> None:
    """What is there is checked, what is missing is asked as the next attempt."""
    reuse = resume_answers(trace(call(FINE), call(None, address="b[0]/call[0]")))
    assert call(FINE) == reuse(AT, request())
    assert (None, 1) == (reuse("b[0]/call[0]", request()), reuse.attempts["b[0]/call[0]"])
    with pytest.raises(ReplayDiverged):
        reuse(AT, request("y"))


def test_a_model_s_failed_attempts_are_handed_on() -> None:
    """Failed attempts of a model go to the model's own retries, without the orphans between them."""
    reuse = resume_answers(trace(call(DOWN), call(None, 1), call(DOWN, 2)))
    assert reuse(AT, request()) is None
    assert ([0, 2], 3) == ([c.attempt for c in reuse.past[AT]], reuse.attempts[AT])
    with pytest.raises(ReplayDiverged):
        reuse(AT, request("y"))


def test_other_failures_are_settled() -> None:
    """A timeout is an answer, unless failures are retried: then it is asked again and nothing is
    handed on.
    """
    late = Failure("StepTimeout", Record(step="a", seconds=1.0))
    assert call(late) == resume_answers(trace(call(late)))(AT, request())
    again = resume_answers(trace(call(late)), retry_failures=True)
    assert (None, {}, 1) == (again(AT, request()), dict(again.past), again.attempts[AT])


def test_a_success_after_failures_is_the_answer() -> None:
    """The last attempt that ended counts, also when failures are retried."""
    reuse = resume_answers(trace(call(DOWN), call(FINE, 1)), retry_failures=True)
    assert call(FINE, 1) == reuse(AT, request())


def test_a_carried_call_costs_nothing_and_names_its_source() -> None:
    """A call that is carried twice still names the trace that paid for it."""
    once = copied_call(attrs.evolve(call(FINE), cost=5), "b[0]/call[0]", "t", 7)
    assert ("b[0]/call[0]", "t", 0, 7) == (once.address, once.source, once.cost, once.started)
    assert "t" == copied_call(once, AT, "u", 8).source


def test_a_recorded_failure_is_raised() -> None:
    """A settled failure is the error that it was, a reply is itself."""
    assert outcome_or_raise(FINE) is FINE
    with pytest.raises(ModelFailed, match="down"):
        outcome_or_raise(DOWN)


def test_another_adapter_is_named() -> None:
    """A recording by another adapter says so where it parts."""
    old = attrs.evolve(trace(call(FINE)), world=Record(adapter="chat/0", models={}))
    with pytest.raises(ReplayDiverged, match="recorded with the adapter chat/0"):
        exact_answers(old)(AT, request("y"))


frames = st.sampled_from(["hop", "gather", "branch"])
paths = st.lists(st.tuples(frames, st.integers(0, 2)), min_size=1, max_size=4)


def _address(path: list[tuple[str, int]]) -> str:
    at = ""
    for name, k in path:
        at = segment(at, name, k)
    return at


@given(paths, paths)
def test_dependence_is_mutual_but_for_branches(
    a: list[tuple[str, int]], b: list[tuple[str, int]]
) -> None:
    """What may depend on what is the same from both sides; a call may depend on what is in its own
    frame.
    """
    one, two = _address(a), _address(b)
    assert may_depend(one, two) == may_depend(two, one)
    assert may_depend(segment(one, "call", 0), one)


def test_branches_beside_each_other_are_apart() -> None:
    """Two branches of one fork don't depend on each other, what joins them does."""
    left, right = "f[0]/gather[0]/branch[0]/a[0]/call[0]", "f[0]/gather[0]/branch[1]/a[0]/call[0]"
    assert (False, True) == (may_depend(left, right), may_depend("f[0]/join[0]/call[0]", left))


def test_the_public_names_are_exported() -> None:
    """What a user calls is at the top."""
    assert {"what_if", "diverge", "Plan", "Divergence"} <= set(lf.__all__)

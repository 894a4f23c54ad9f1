"""The laws of traffic: plans of many executions add up, and what is planned is what was recorded where
nothing changes.
"""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.messages.replies import ChatReply, Usage
from lmflow.replays.traffic import NO_CALLS, Traffic, recorded_cost, traffic, traffic_of
from lmflow.replays.what_if import CostEstimate, what_if

ASK = lf.predict("ask", "question -> query", "Ask.")
SIZE = lf.tool("size", "query -> n: int", lambda query: 2 * len(query), version="1")
SAY = lf.predict("say", "n: int -> answer", "Say it.")
ALL = ASK >> SIZE >> SAY
PRICE = 10


def recorded(*questions: str, price: int | None = PRICE) -> lf.Run:
    """A run of questions, each of a request of 10 tokens and a reply of 2."""
    script = lf.scripted(lambda _: ChatReply("tea", usage=Usage(10, 2)))
    prices = lambda _model, usage, _at: None if price is None else price * usage.prompt  # noqa: E731
    with lf.Sync(script, prices=prices) as ex:
        return ex.map(ALL, [{"question": question} for question in questions])


estimates = st.builds(
    CostEstimate,
    st.integers(0, 9),
    st.integers(0, 99),
    st.none() | st.integers(0, 99),
    st.integers(0, 9),
)


@given(estimates, estimates, estimates)
def test_estimates_add_up_in_any_order(a: CostEstimate, b: CostEstimate, c: CostEstimate) -> None:
    """No calls change nothing, and grouping doesn't matter."""
    assert a == a + NO_CALLS or not a.calls
    real = [estimate for estimate in (a, b, c) if estimate.calls]
    if len(real) == 3:
        assert (a + b) + c == a + (b + c)
        assert a + b == b + a


def test_what_does_not_change_costs_what_it_cost() -> None:
    """Under the recorded version all is reused, and the whole is what was recorded."""
    found = traffic_of(what_if(recorded("a", "b"), ALL))
    assert (2, 0) == (found.executions, found.changed)
    assert CostEstimate(6, 48, 4 * 10 * PRICE, 0) == found.recorded
    assert found.recorded == found.whole_least == found.whole_most == found.kept
    assert 0 == found.most.calls


def test_a_change_is_counted_from_least_to_most() -> None:
    """The changed step is certain, what follows it may change; a longer prompt costs more."""
    run = recorded("a")
    longer = lf.init(ALL).put({"ask.instruction": "Ask in the words of a librarian."})
    found = traffic_of(what_if(run, ALL, longer))
    assert (1, 1, 1, 3) == (found.executions, found.changed, found.least.calls, found.most.calls)
    assert (3, 3) == (found.recorded.calls, found.whole_most.calls)
    assert found.least.cost is not None
    assert found.least.cost > 10 * PRICE
    assert found.least.tokens > 12


def test_a_price_that_nobody_knows_stays_unknown() -> None:
    """Without prices the sums have tokens, and say how many calls have none."""
    found = traffic_of(what_if(recorded("a", price=None), ALL))
    assert (24, 2) == (found.recorded.tokens, found.recorded.unknown)
    assert 2 == found.kept.unknown


def test_plans_add_up() -> None:
    """The traffic of many plans is the sum of each."""
    plans = [what_if(recorded(name), ALL) for name in ("a", "b", "c")]
    total = Traffic()
    for plan in plans:
        total += traffic_of(plan)
    assert total == traffic(plans)
    assert 3 == traffic(plans).to_json()["executions"]


def test_reused_replies_cost_nothing_again() -> None:
    """A trace whose calls were copied from another sent none."""
    run = recorded("a")
    (again,) = [trace for _, trace in what_if(run, ALL).results]
    assert again is not None
    assert NO_CALLS == recorded_cost(again)


def test_a_reused_reply_has_a_price_once_it_is_sent() -> None:
    """What cost nothing to reuse is estimated by the price list, and is unknown if that lacks the
    model; it is never free.
    """
    longer = lf.init(ALL).put({"ask.instruction": "Ask in the words of a librarian."})
    for model, is_known in (("openai/gpt-4o-mini", True), ("openai/MODEL", False)):
        script = lf.scripted(lambda _: ChatReply("tea", usage=Usage(10, 2)), name=model)
        with lf.Sync(script) as ex:
            sent = ex.map(ALL, [{"question": "a"}])
        results = what_if(sent, ALL).results
        again = attrs.evolve(sent, items=tuple((label, trace) for label, trace in results if trace))
        assert all(call.source and not call.cost for trace in again for call in trace.calls)
        found = traffic_of(what_if(again, ALL, longer)).least
        assert (is_known, 0 if is_known else 1) == (bool(found.cost), found.unknown)

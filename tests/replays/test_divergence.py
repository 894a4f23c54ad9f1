"""The divergence report: each call of both sides, what is to blame, and the tree that says it."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.programs.program import Program
from lmflow.values.record import canonical

draft = lf.predict("draft", "text -> draft", "Draft it now.")
polish = lf.predict("polish", "draft -> final", "Polish.")
sign = lf.predict("sign", "final -> signed", "Sign.")
chain = draft >> polish >> sign
measure = lf.tool("measure", "draft -> size: int", lambda draft: len(draft), version="1")  # noqa: PLW0108 - by its name


@lf.flow("text -> final", uses=[draft, polish])
async def forked(text: str) -> Any:
    """Drafts side by side, both polished."""
    a, b = await lf.gather((draft >> polish)(text=text), (draft >> polish)(text=text + "!"))
    return a.final + b.final


def echo(request: ChatRequest) -> ChatReply:
    """The last line of the request, with a dot and a size."""
    return ChatReply(request.messages[-1].content.rpartition("\n")[2] + ".", usage=Usage(20, 5))


async def recorded(program: Program, **inputs: Any) -> lf.Trace:
    """A trace of the program."""
    async with lf.Executor(lf.scripted(echo)) as ex:
        return await ex.run(program, **inputs)


def told(found: lf.Divergence) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Kind and blame by address."""
    return {call.address: (call.kind, call.blame) for item in found.items for call in item.calls}


def put(program: Program, **changes: Any) -> lf.Version:
    """The defaults with some paths changed, ``step__slot``."""
    return lf.init(program).put({name.replace("__", "."): value for name, value in changes.items()})


async def test_a_recording_of_the_same_program_is_the_same() -> None:
    """Nothing parts where nothing changed."""
    found = lf.diverge(await recorded(forked, text="a"), forked)
    assert (True, 4) == (found.same, found.counts["same"])


async def test_each_change_shows_in_one_pass() -> None:
    """A changed request is taken to be answered as recorded, so later changes show too."""
    trace = await recorded(chain, text="a")
    found = told(
        lf.diverge(
            trace,
            chain,
            put(chain, draft__instruction="Draft.", sign__demos=[{"final": "x", "signed": "y"}]),
        )
    )
    assert {
        "draft[0]/call[0]": ("changed", ("draft.instruction",)),
        "polish[0]/call[0]": ("same", ()),
        "sign[0]/call[0]": ("changed", ("sign.demos",)),
    } == found


async def test_below_a_change_a_plan_knows_nothing() -> None:
    """Recorded calls that may change with an unknown reply are unknown, not dropped."""
    found = lf.what_if(
        await recorded(chain, text="a"), chain, version=put(chain, draft__instruction="Draft.")
    ).divergence
    assert ["changed", "unknown", "unknown"] == [kind for kind, _ in told(found).values()]


async def test_branches_are_told_apart() -> None:
    """An unknown reply in one branch says nothing of the branch beside it."""
    trace = await recorded(forked, text="a")
    cut = attrs.evolve(
        trace, calls=tuple(c for c in trace.calls if "branch[0]/draft" not in c.address)
    )
    found = told(lf.what_if(cut, forked).divergence)
    at = "forked[0]/gather[0]/branch"
    assert {
        f"{at}[0]/draft[0]/call[0]": ("new", ()),
        f"{at}[0]/polish[0]/call[0]": ("unknown", ()),
        f"{at}[1]/draft[0]/call[0]": ("same", ()),
        f"{at}[1]/polish[0]/call[0]": ("same", ()),
    } == found


async def test_a_removed_step_is_dropped() -> None:
    """A recorded call that nobody asks for any more is dropped; its parameters are no obstacle."""
    found = lf.diverge(await recorded(chain, text="a"), draft >> polish)
    assert ("dropped", ()) == told(found)["sign[0]/call[0]"]
    assert "changed" == found.items[0].result


async def test_a_frame_that_is_over_drops_its_calls() -> None:
    """What was recorded in a frame that has ended can't come any more, though a later reply isn't
    known.
    """

    def inner(*, measured: bool) -> Program:
        @lf.flow("text -> draft", uses=[draft, measure], version=str(measured))
        async def inner(text: str) -> Any:
            found = await draft(text=text)
            if measured:
                await measure(draft=found.draft)
            return found

        return inner >> polish

    trace, less = await recorded(inner(measured=True), text="a"), inner(measured=False)
    found = told(lf.what_if(trace, less, version=put(less, polish__instruction="x")).divergence)
    assert ("dropped", "changed") == (
        found["inner[0]/measure[0]/call[0]"][0],
        found["polish[0]/call[0]"][0],
    )


async def test_a_changed_tool_blames_the_code() -> None:
    """An edited function is another request, to blame on the code."""
    trace = await recorded(draft >> measure, text="a")
    edited = draft >> lf.tool("measure", "draft -> size: int", lambda **_: 0, version="2")
    assert ("changed", ("code",)) == told(lf.diverge(trace, edited))["measure[0]/call[0]"]


async def test_changed_inputs_are_to_blame() -> None:
    """Where only what flows in differs, the inputs are to blame."""
    trace = await recorded(draft, text="a")
    assert ("changed", ("inputs",)) == told(
        lf.diverge(attrs.evolve(trace, inputs=lf.Record(text="b")), draft)
    )["draft[0]/call[0]"]


async def test_another_model_is_to_blame() -> None:
    """A model that stands for something else now changes every request to it."""
    trace = await recorded(draft, text="a")
    places = {"": {"model": "other/model", "endpoint": "other"}}
    assert ("changed", ("model",)) == told(lf.diverge(trace, draft, places=places))[
        "draft[0]/call[0]"
    ]


async def test_a_named_step_blames_its_own_paths() -> None:
    """Parameters of a program under a name are found by its frames."""
    program = (draft >> polish).named("deep")
    trace = await recorded(program, text="a")
    version = lf.init(program).put({"deep.polish.instruction": "Shine."})
    assert ("deep.polish.instruction",) == told(lf.diverge(trace, program, version))[
        "deep[0]/polish[0]/call[0]"
    ][1]


async def test_the_tree_says_it_in_words() -> None:
    """The text shows frames, kinds, blame and the words that changed."""
    trace = await recorded(chain, text="a")
    text = str(lf.diverge(trace, chain, put(chain, draft__instruction="Draft it well.")))
    lines = [line.strip("│ ") for line in text.splitlines()]
    assert ["2 same, 1 changed; changed requests are taken to be answered as recorded"] == lines[:1]
    assert [
        "draft[0]",
        "call[0]  changed by draft.instruction",
        "Draft it [-now-]{+well+}.",
    ] == lines[2:5]


@pytest.mark.parametrize("make", [lf.diverge, lf.what_if])
async def test_the_report_is_json(make: Any) -> None:
    """The same as JSON values, with the counts and the words."""
    trace = await recorded(chain, text="a")
    data = json.loads(
        canonical(make(trace, chain, put(chain, sign__instruction="Sign here.")).to_json())
    )
    (call,) = [call for call in data["items"][0]["calls"] if call["kind"] == "changed"]
    assert (["sign.instruction"], "Sign{+ here+}.") == (call["blame"], call["words"])
    assert {"same": 2, "changed": 1} == {
        kind: count for kind, count in data["counts"].items() if count
    }


async def test_a_plan_counts_what_is_needed() -> None:
    """Reused, needed at least and at most, with the tokens of their recorded counterparts."""
    trace = await recorded(chain, text="a")
    plan = lf.what_if(trace, chain, version=put(chain, polish__instruction="Polish"))
    assert (1, 1, 2) == (plan.reused, plan.least.calls, plan.most.calls)
    assert 20 <= plan.least.tokens <= 25
    assert 25 == plan.most.tokens - plan.least.tokens


@pytest.mark.parametrize(("cost", "expected"), [(7, (7, 14, 0)), (None, (None, None, 1))])
async def test_a_plan_has_the_recorded_price(
    cost: int | None, expected: tuple[int | None, int | None, int]
) -> None:
    """What recorded calls cost is what they are expected to cost again; an unknown price is
    unknown, not 0.
    """
    trace = await recorded(chain, text="a")
    priced = attrs.evolve(trace, calls=tuple(attrs.evolve(call, cost=cost) for call in trace.calls))
    plan = lf.what_if(priced, chain, version=put(chain, polish__instruction="Polish"))
    assert expected == (plan.least.cost, plan.most.cost, plan.least.unknown)


async def test_a_tool_costs_nothing() -> None:
    """A tool's call is counted, at no tokens and no money."""
    trace = await recorded(draft >> measure, text="a")
    edited = draft >> lf.tool("measure", "draft -> size: int", lambda **_: 0, version="2")
    assert (1, 0, 0, 0) == attrs.astuple(lf.what_if(trace, edited).least)


async def test_a_plan_without_misses_has_the_results() -> None:
    """What needs no call is known: the executions, of the same root, from the recording, at no
    cost.
    """
    trace = await recorded(chain, text="a")
    ((_, again),) = lf.what_if(trace, chain).results
    assert again is not None
    assert (trace.root, trace.outputs) == (again.root, again.outputs)
    assert {(trace.id, 0)} == {(call.source, call.cost) for call in again.calls}


async def test_a_plan_with_misses_has_no_result() -> None:
    """An outcome that isn't known is not made up."""
    trace = await recorded(chain, text="a")
    assert (("", None),) == lf.what_if(
        trace, chain, version=put(chain, sign__instruction="x")
    ).results


async def test_rolled_back_parameters_give_the_recorded_root() -> None:
    """Forth and back again: the plan of the first version has the recorded root, offline."""
    async with lf.Executor(lf.scripted(echo)) as ex:
        run = await ex.map(chain, [{"text": str(n)} for n in range(3)])
    other = put(chain, sign__instruction="x")
    back = other.put({"sign.instruction": "Sign."})
    items = tuple(
        (label, trace) for label, trace in lf.what_if(run, chain, version=back).results if trace
    )
    assert run.root == attrs.evolve(run, items=items).root


async def test_long_reports_are_cut() -> None:
    """People see the first that differ and how many more do; the same are one line."""
    async with lf.Executor(lf.scripted(echo)) as ex:
        run = await ex.map(draft, [{"text": str(n)} for n in range(25)])
    text = str(lf.diverge(run, draft, put(draft, draft__instruction="x")))
    assert "… 5 more that differ" == text.splitlines()[-1]
    assert "25 of 25 the same throughout" == str(lf.diverge(run, draft)).splitlines()[-1]

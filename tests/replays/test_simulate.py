"""The laws of a recording that is driven again under other parameters: what stays, what moves, what
forks.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.errors import NotRecorded, ReplayDiverged
from lmflow.messages.requests import ChatRequest
from lmflow.programs.program import Program
from lmflow.replays.simulate import ReplayCase, fork, match_calls
from lmflow.values.record import Record

draft = lf.predict("draft", "text -> draft", "Draft.")
polish = lf.predict("polish", "draft -> final", "Polish.")
sign = lf.predict("sign", "final -> signed", "Sign.")
chain = draft >> polish >> sign


@lf.flow("text -> signed", uses=[draft, polish, sign])
async def forked(text: str) -> Any:
    """Two drafts side by side, each polished, the first one signed."""
    a, b = await lf.gather(draft(text=text), draft(text=text + "!"))
    one, two = await lf.gather(polish(draft=a.draft), polish(draft=b.draft))
    return (await sign(final=one.final + two.final)).signed


@lf.flow("text -> draft", uses=[draft])
async def twice(text: str) -> Any:
    """The same draft twice."""
    await draft(text=text)
    return (await draft(text=text)).draft


@lf.flow("text -> draft", uses=[draft])
async def racing(text: str) -> Any:
    """The first of two drafts."""
    return (await lf.first(draft(text=text), draft(text=text + "!"))).draft


def echo(request: ChatRequest) -> str:
    """The last line of the request, with a dot."""
    return request.messages[-1].content.rpartition("\n")[2] + "."


async def recorded(program: Program, **inputs: Any) -> lf.Trace:
    """A trace of the program."""
    async with lf.Executor(lf.scripted(echo)) as ex:
        return await ex.run(program, **inputs)


def case(trace: lf.Trace, program: Program, **changes: Any) -> ReplayCase:
    """The trace against its program with some instructions changed."""
    put = {f"{step}.instruction": text for step, text in changes.items()}
    version = lf.init(program)
    return ReplayCase(trace, program, version.put(put) if put else version)


def kept(found: ReplayCase) -> list[str]:
    """The addresses that a patch answers, in program order."""
    return [call.address for call in match_calls(found)[1].calls if call.recorded is not None]


async def test_an_unchanged_version_keeps_all() -> None:
    """With nothing changed the walk comes to the recorded end."""
    trace = await recorded(forked, text="a")
    found = case(trace, forked)
    simulation = match_calls(found)[1]
    assert ((), trace.outputs, len(trace.calls)) == (
        simulation.misses,
        simulation.outputs,
        len(simulation.calls),
    )


async def test_a_changed_last_step_misses_once() -> None:
    """Only the last step's call is to be asked where only its instruction changed."""
    trace = await recorded(chain, text="a")
    found = case(trace, chain, sign="Sign well.")
    simulation = match_calls(found)[1]
    assert ["sign[0]/call[0]"] == [call.address for call in simulation.misses]
    assert not simulation.whole


async def test_branches_go_on_beside_one_that_stops() -> None:
    """A miss ends its branch; the branches beside it go on."""
    trace = await recorded(forked, text="a")
    other = attrs.evolve(
        trace, calls=tuple(c for c in trace.calls if "gather[0]/branch[0]" not in c.address)
    )
    assert ["forked[0]/gather[0]/branch[1]/draft[0]/call[0]"] == kept(case(other, forked))


async def test_a_renamed_frame_moves_its_calls() -> None:
    """The same requests at other addresses are answered from where they stand."""
    trace = await recorded(chain, text="a")
    renamed = chain.named("whole")
    found = case(trace, renamed)
    simulation = match_calls(found)[1]
    assert ["draft[0]/call[0]", "polish[0]/call[0]", "sign[0]/call[0]"] == [
        m.recorded.address for m in simulation.calls if m.recorded
    ]
    assert trace.outputs == simulation.outputs


async def test_an_ambiguous_call_does_not_move() -> None:
    """Of two recorded calls with one key neither is taken for a third."""
    trace = await recorded(twice, text="a")
    assert [] == kept(case(trace, draft))


async def test_a_call_is_used_once() -> None:
    """One recorded call answers one of two equal requests, the first in program order."""
    trace = await recorded(draft, text="a")
    found = case(trace, twice)
    assert ["twice[0]/draft[0]/call[0]"] == kept(found)
    assert ["twice[0]/draft[1]/call[0]"] == [call.address for call in match_calls(found)[1].misses]


def _beside(other: Program, given: str) -> Program:
    """A flow that drafts beside another step."""

    @lf.flow("text -> draft", uses=[draft, other], version=str(other))
    async def beside(text: str) -> Any:
        _, found = await lf.gather(other(**{given: text}), draft(text=text))
        return found.draft

    return beside


async def test_a_call_that_stays_does_not_move() -> None:
    """A recorded call that is asked for where it stands is not given to an equal request in a
    branch before it.
    """
    trace = await recorded(_beside(sign, "final"), text="a")
    found = case(trace, _beside(draft.named("early"), "text"))
    assert ["beside[0]/gather[0]/branch[1]/draft[0]/call[0]"] == kept(found)


async def test_the_recorded_winner_stays() -> None:
    """A race is not run again: who was faster says nothing of a version."""
    trace = await recorded(racing, text="a")
    found = case(trace, racing)
    simulation = match_calls(found)[1]
    assert (trace.outputs, ()) == (simulation.outputs, simulation.misses)


async def test_a_race_without_a_winner_ends_the_walk() -> None:
    """Nobody knows who would win."""
    trace = attrs.evolve(await recorded(racing, text="a"), choices=Record())
    assert not match_calls(case(trace, racing))[1].whole


@pytest.mark.parametrize("at", ["polish[0]", "polish[0]/call[0]"])
async def test_a_fork_is_exact_before_and_open_after(at: str) -> None:
    """From the address on all is asked, before it nothing."""
    trace = await recorded(chain, text="a")
    assert ["draft[0]/call[0]"] == list(fork(case(trace, chain), at)[0].answers)


async def test_a_fork_leaves_the_branches_beside_it() -> None:
    """Sibling branches don't depend on the call: they stay, what joins them is asked."""
    trace = await recorded(forked, text="a")
    gone = set(trace.answers) - set(
        fork(case(trace, forked), "forked[0]/gather[1]/branch[0]")[0].answers
    )
    assert {"forked[0]/gather[1]/branch[0]/polish[0]/call[0]", "forked[0]/sign[0]/call[0]"} == gone


async def test_a_fork_refuses_what_differs_before_it() -> None:
    """A version that changes an earlier call can't be forked later."""
    trace = await recorded(chain, text="a")
    with pytest.raises(ReplayDiverged, match=r"draft\[0\]/call\[0\]"):
        fork(case(trace, chain, draft="Other."), "sign[0]")


async def test_a_fork_at_no_call_names_what_is_near() -> None:
    """An unknown address is told with the nearest known one."""
    trace = await recorded(chain, text="a")
    with pytest.raises(NotRecorded, match=r"Did you mean 'polish\[0\]'\?"):
        fork(case(trace, chain), "polsh[0]")

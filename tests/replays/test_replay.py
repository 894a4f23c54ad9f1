"""The laws of exact replay: the same root, or the place where it parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.errors import ModelFailed, ParseFailure, ReplayDiverged, ToolFailed
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.program import Program
from lmflow.values.record import Record


@lf.tool
def shout(text: str) -> str:
    """Say it loud; nothing can't be said."""
    if not text:
        msg = "nothing to say"
        raise ValueError(msg)
    return text.upper()


draft = lf.predict("draft", "text -> draft", "Draft.")
polish = lf.predict("polish", "draft -> final", "Polish.")
chain = draft >> polish


@lf.flow("text -> final", uses=[draft, polish, shout])
async def careful(text: str) -> Any:
    """A draft, loud where that works, polished side by side."""
    one = await draft(text=text)
    try:
        loud = (await shout(text=one.draft if text else "")).shout
    except ToolFailed as error:
        loud = error.text
    a, b = await lf.gather(polish(draft=loud), polish(draft=one.draft))
    return a.final + b.final


@lf.flow("text -> final", uses=[draft, polish])
async def racing(text: str) -> Any:
    """The first of two drafts."""
    won = await lf.first(draft(text=text), draft(text=text + "!"))
    return won.draft


def _echo(request: ChatRequest) -> str:
    return request.messages[-1].content.rpartition("\n")[2] + "."


def _fail(request: ChatRequest) -> str | ModelFailed:
    return (
        ModelFailed("server", "down", 503)
        if "[[draft]]" in request.messages[-1].content
        else _echo(request)
    )


async def _recorded(
    program: Program, script: Callable[[ChatRequest], Any] = _echo, **inputs: Any
) -> lf.Trace:
    async with lf.Executor(lf.scripted(script)) as ex:
        run = await ex.map(program, [inputs])
    return run.traces[0]


@pytest.mark.parametrize(
    "program", [chain, careful, racing, lf.parallel(draft, shout), chain.named("named")], ids=str
)
@pytest.mark.parametrize("text", ["a", ""])
@pytest.mark.parametrize("script", [_echo, _fail])
async def test_a_replay_has_the_root(
    program: Program, text: str, script: Callable[[ChatRequest], Any]
) -> None:
    """A recorded execution, failed ones too, replays to the same root, outputs and failure."""
    trace = await _recorded(program, script, text=text)
    again = lf.replay(trace)
    assert (trace.root, trace.outputs, trace.failure) == (again.root, again.outputs, again.failure)


async def test_a_run_replays_item_by_item() -> None:
    """A run replays to the same root."""
    async with lf.Executor(lf.scripted(_fail)) as ex:
        run = await ex.map(careful, [{"id": n, "text": str(n)} for n in range(3)])
    assert run.root == lf.replay(run).root


async def test_a_replay_is_a_recording() -> None:
    """What a replay gives replays again."""
    trace = await _recorded(careful, text="a")
    assert trace.root == lf.replay(lf.replay(trace)).root


async def test_a_failure_replays_as_a_failure() -> None:
    """A failure keeps its kind and its words."""
    trace = await _recorded(chain, _fail, text="a")
    assert trace.failure is not None
    assert ("ModelFailed", "down") == (trace.failure.kind, trace.failure.text)
    assert trace.failure == lf.replay(trace).failure


async def test_a_reply_that_can_not_be_read_replays() -> None:
    """A parse failure is not recorded as a call: it comes of the two replies again."""
    trace = await _recorded(lf.predict("n", "text -> n: int"), text="a")
    assert trace.failure is not None
    assert (ParseFailure.__name__, 2) == (trace.failure.kind, len(trace.calls))
    assert trace.root == lf.replay(trace).root


async def test_a_changed_instruction_diverges() -> None:
    """A changed instruction is told by address, with both sides."""
    trace = await _recorded(chain, text="a")
    other = draft >> attrs.evolve(polish, instruction="Rewrite.")
    with pytest.raises(ReplayDiverged) as caught:
        lf.replay(attrs.evolve(trace, version=lf.init(other)))
    assert "polish[0]/call[0]" == caught.value.address
    assert ["-Polish.", "+Rewrite."] == [
        line for line in str(caught.value).splitlines() if line in {"-Polish.", "+Rewrite."}
    ]


async def test_a_changed_default_is_not_seen() -> None:
    """A replay runs with the recorded version, whatever the defaults are now."""
    trace = await _recorded(chain, text="a")
    assert (
        trace.root == lf.replay(trace, draft >> attrs.evolve(polish, instruction="Rewrite.")).root
    )


async def test_a_changed_input_diverges() -> None:
    """Other inputs ask for something else."""
    trace = await _recorded(chain, text="a")
    with pytest.raises(ReplayDiverged, match=r"at draft\[0\]/call\[0\]: the request differs"):
        lf.replay(attrs.evolve(trace, inputs=Record(text="b")))


async def test_a_new_call_diverges() -> None:
    """A call that wasn't recorded is told by its address."""
    trace = await _recorded(draft, text="a")
    with pytest.raises(
        ReplayDiverged, match=r"at polish\[0\]/call\[0\]: nothing was recorded there"
    ):
        lf.replay(trace, chain)


@lf.flow("text -> final", uses=[draft, polish])
async def both(text: str) -> Any:
    """Two calls, the first one's answer."""
    one = (await draft(text=text)).draft
    await polish(draft=one)
    return one


@lf.flow("text -> final", uses=[draft, polish])
async def fewer(text: str) -> Any:
    """One call of the two."""
    return (await draft(text=text)).draft


async def test_a_dropped_call_diverges() -> None:
    """A call that was recorded and is not asked for is told by its address, though the outputs
    agree.
    """
    trace = await _recorded(both, text="a")
    with pytest.raises(
        ReplayDiverged, match=r"at both\[0\]/polish\[0\]/call\[0\]: recorded, but never asked for"
    ):
        lf.replay(trace, attrs.evolve(fewer, name="both"))


async def test_changed_outputs_diverge() -> None:
    """The same calls with another result diverge, with both results."""
    trace = await _recorded(draft, text="a")
    with pytest.raises(ReplayDiverged, match=r'-{"draft": "tampered"}\n\+{"draft": "a\."}'):
        lf.replay(attrs.evolve(trace, outputs=Record(draft="tampered")))


async def test_a_changed_reply_diverges() -> None:
    """A reply that isn't the recorded one changes the outputs."""
    trace = await _recorded(draft, text="a")
    calls = tuple(attrs.evolve(call, outcome=ChatReply("other")) for call in trace.calls)
    with pytest.raises(ReplayDiverged):
        lf.replay(attrs.evolve(trace, calls=calls, failure=None, outputs=trace.outputs))


async def test_another_tool_diverges() -> None:
    """An edited tool is another request."""
    trace = await _recorded(shout, text="a")
    edited = lf.tool("shout", "text -> shout", str.upper, version="2")
    with pytest.raises(ReplayDiverged, match=r"at shout\[0\]/call\[0\]"):
        lf.replay(trace, edited)


async def test_another_adapter_is_named() -> None:
    """A divergence of a recording by another adapter says so."""
    trace = await _recorded(draft, text="a")
    world = trace.world | {"adapter": "chat/0"}
    with pytest.raises(ReplayDiverged, match="recorded with the adapter chat/0"):
        lf.replay(attrs.evolve(trace, world=world, inputs=Record(text="b")))


async def test_a_recording_without_code_asks_for_it() -> None:
    """A trace that was read from a store is replayed with the program."""
    trace = attrs.evolve(await _recorded(draft, text="a"), code=None)
    assert trace.root == lf.replay(trace, draft).root
    with pytest.raises(TypeError, match=r"lf\.replay\(trace, program\)"):
        lf.replay(trace)


async def test_an_execution_that_never_ended_diverges() -> None:
    """What was stopped can't be replayed to its end."""
    trace = attrs.evolve(await _recorded(draft, text="a"), outputs=None)
    with pytest.raises(ReplayDiverged, match="never ended"):
        lf.replay(trace)

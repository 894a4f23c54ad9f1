"""The laws of driving: addresses, forks, failures, and what a flow may await."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest
from driving import addresses, drive

import lmflow as lf
from lmflow.errors import (
    CallError,
    ImpureAwait,
    MissingInput,
    ModelFailed,
    ReplayDiverged,
    WrongType,
)
from lmflow.interpreter.driver import drive_pure
from lmflow.messages.replies import ChatReply
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.values.record import Record

step = lf.predict("step", "x -> y", "Do.")
other = lf.predict("other", "x -> y", "Do.")
then = lf.predict("then", "y -> z", "Do.")


def _input(text: str) -> str:
    return text.rpartition("\n")[2]


def _fails(*names: str) -> Any:
    def answer(text: str) -> str | CallError:
        failing = next((name for name in names if name in text), None)
        return ModelFailed("server", failing) if failing else "ok"

    return answer


@lf.flow("x -> y", uses=[step])
async def twice(x: str) -> Any:
    """Two calls of one step."""
    await step(x=x)
    return await step(x=x)


@lf.flow("x -> y", uses=[twice, step])
async def outer(x: str) -> Any:
    """A step, a flow, a step."""
    await step(x=x)
    await twice(x=x)
    return await step(x=x)


@lf.flow("x -> ys: list[str]", uses=[step, other])
async def gathers(x: str) -> Any:
    """Three branches and two."""
    first = await lf.gather(step(x=x + "0"), other(x=x + "1"), step(x=x + "2"))
    second = await lf.gather(step(x=x + "3"), lf.gather(step(x=x + "4"), other(x=x + "5")))
    return [one.y for one in (*first, second[0], *second[1])]


@lf.flow("x -> y", uses=[step])
async def firsts(x: str) -> Any:
    """The first of two."""
    return await lf.first(step(x=x + "0"), step(x=x + "1"))


@lf.flow("x -> y", uses=[step, other])
async def tries(x: str) -> Any:
    """Another step where the first fails."""
    try:
        return await step(x=x)
    except CallError as error:
        return (await other(x=f"after {error}")).y


@lf.flow("x -> y", uses=[step])
async def again(x: str) -> Any:
    """One pending, awaited twice."""
    pending = step(x=x)
    return (await pending).y + (await pending).y


@lf.flow("x -> y", uses=[step])
async def overlaid(x: str) -> Any:
    """A step under another instruction, then as it is."""
    await step(x=x).under({"step.instruction": "Do better."})
    return await step(x=x)


@lf.flow("x -> y: int")
async def wrong_type(x: str) -> Any:
    """Text where a number is promised."""
    return x


@lf.flow("x -> y, z")
async def too_little(x: str) -> Any:
    """One of two outputs."""
    return {"y": x}


class Foreign:
    """An awaitable of another library."""

    def __await__(self) -> Generator[str, None, None]:
        """Yield what no driver knows."""
        yield "foreign"


@lf.flow("x -> y")
async def yields(x: str) -> Any:
    """A bare yield."""
    await asyncio.sleep(0)
    return x


@lf.flow("x -> y")
async def sleeps(x: str) -> Any:
    """A timer."""
    await asyncio.sleep(1)
    return x


@lf.flow("x -> y", uses=[step])
async def times_out(x: str) -> Any:
    """A timer round a program."""
    async with asyncio.timeout(1):
        return await step(x=x)


@lf.flow("x -> y", uses=[step])
async def waits(x: str) -> Any:
    """A program as a task."""
    return await asyncio.wait_for(step(x=x), 1)


@lf.flow("x -> y")
async def foreign(x: str) -> Any:
    """Another library's awaitable."""
    await Foreign()
    return x


IMPURE = [yields, sleeps, times_out, waits, foreign]


def test_an_address_is_the_way_to_a_call() -> None:
    """Frames are named by program and counted by name within their frame."""
    assert [
        "outer[0]/step[0]/call[0]", "outer[0]/twice[0]/step[0]/call[0]", "outer[0]/twice[0]/step[1]/call[0]",
        "outer[0]/step[1]/call[0]",
    ] == addresses(outer(x="a"))  # fmt: skip


def test_a_repair_is_the_next_call() -> None:
    """The second call of a step is counted in the step's frame."""
    number = lf.predict("number", "x -> n: int")
    assert ["number[0]/call[0]", "number[0]/call[1]"] == addresses(
        number(x="?"), lambda text: "1" if "read" in text else "one"
    )


def test_a_chain_opens_no_frame() -> None:
    """The steps of a chain stand in the frame of the chain."""
    assert ["step[0]/call[0]", "then[0]/call[0]"] == addresses((step >> then)(x="a"))


def test_a_name_opens_a_frame() -> None:
    """A named program opens a frame under its name."""
    assert ["second[0]/step[0]/call[0]", "second[0]/then[0]/call[0]"] == addresses(
        (step >> then).named("second")(x="a")
    )


def test_branches_are_counted() -> None:
    """Each branch of a fork has a frame, a fork in a fork stands in its branch."""
    at = "gathers[0]/gather[{}]/branch[{}]/"
    assert [
        at.format(0, 0) + "step[0]/call[0]", at.format(0, 1) + "other[0]/call[0]", at.format(0, 2) + "step[0]/call[0]",
        at.format(1, 0) + "step[0]/call[0]", at.format(1, 1) + "gather[0]/branch[0]/step[0]/call[0]",
        at.format(1, 1) + "gather[0]/branch[1]/other[0]/call[0]",
    ] == addresses(gathers(x="a"))  # fmt: skip


def test_a_gather_answers_in_order() -> None:
    """The results of a fork stand in the order of its branches."""
    expected = Record(ys=[f"a{n}" for n in range(6)])
    assert expected == drive(gathers(x="a"), _input)


def test_parallel_and_map_label_by_position() -> None:
    """Branches of combinators are counted too."""
    both = lf.parallel(step, then)
    assert [
        "parallel[0]/branch[0]/step[0]/call[0]",
        "parallel[0]/branch[1]/then[0]/call[0]",
    ] == addresses(both(x="a", y="b"))
    assert ["map[0]/branch[0]/step[0]/call[0]", "map[0]/branch[1]/step[0]/call[0]"] == addresses(
        lf.map(step, "xs")(xs=["a", "b"])
    )


def test_map_keys_label_branches() -> None:
    """Where items have keys, these label the branches, escaped so that they are one segment."""
    keyed = lf.map(lf.predict("read", "doc: dict -> y"), over="docs", key="id")
    assert [
        "map[0]/branch[a]/read[0]/call[0]",
        "map[0]/branch[b%2Fc 1]/read[0]/call[0]",
    ] == addresses(keyed(docs=[{"id": "a"}, {"id": "b/c 1"}]))


def test_rounds_are_counted() -> None:
    """The rounds of a repeat are counted by the name of what is repeated."""
    rounds = lf.repeat(lf.predict("grow", "x -> y, done: bool"), until="done", times=3)
    assert [f"grow[{k}]/call[0]" for k in range(3)] == addresses(
        rounds(x="a"), lambda _: "[[y]]\nx\n[[done]]\nno"
    )


def test_a_named_program_has_its_own_parameters() -> None:
    """The same program under a name looks its parameters up under that name."""
    program = step >> then >> (step >> lf.predict("last", "y -> w")).named("second")
    params = program.defaults | {"second.step.instruction": "Do it otherwise."}
    systems = []

    def recall(call: Call, address: str) -> ChatReply:
        systems.append((address, call.request.messages[0].content))  # type: ignore[union-attr]
        return ChatReply("ok")

    drive_pure(program(x="a"), Env(params), recall)
    assert [
        ("step[0]/call[0]", "Do."), ("then[0]/call[0]", "Do."), ("second[0]/step[0]/call[0]", "Do it otherwise."),
        ("second[0]/last[0]/call[0]", "Given y, give w."),
    ] == systems  # fmt: skip


def test_an_overlay_counts_for_one_await() -> None:
    """Parameters that are laid over a pending are seen in its frame alone."""
    seen: list[tuple[str, Call]] = []
    drive(overlaid(x="a"), seen=seen)
    assert ["Do better.", "Do."] == [call.request.messages[0].content for _, call in seen]  # type: ignore[union-attr]


def test_an_overlay_reaches_into_a_named_program() -> None:
    """An overlay's paths are those of the program that it is laid over."""
    seen: list[tuple[str, Call]] = []
    named = (step >> then).named("second")
    drive(named(x="a").under({"second.step.instruction": "Other."}), seen=seen)
    assert ["Other.", "Do."] == [call.request.messages[0].content for _, call in seen]  # type: ignore[union-attr]


def test_every_await_runs_anew() -> None:
    """One pending that is awaited twice calls twice, at two addresses."""
    assert ["again[0]/step[0]/call[0]", "again[0]/step[1]/call[0]"] == addresses(
        again(x="a"), lambda _: "b"
    )


def test_a_fork_settles_all_branches() -> None:
    """All branches of a fork run, also after one has failed."""
    seen: list[tuple[str, Call]] = []
    with pytest.raises(ModelFailed):
        drive(gathers(x="a"), _fails("a0"), seen)
    assert 3 == len(seen)


def test_the_first_failure_in_program_order_is_raised() -> None:
    """Where several branches fail, the first in program order is raised."""
    with pytest.raises(ModelFailed, match="a1"):
        drive(gathers(x="a"), _fails("a2", "a1"))


def test_a_failure_is_caught_in_a_flow() -> None:
    """A failed call is thrown into the flow, which may go on."""
    assert Record(y="ok") == drive(
        tries(x="bad"), lambda text: "ok" if "after" in text else ModelFailed("server", "down")
    )


def test_a_caught_failure_has_its_words() -> None:
    """The flow sees the failure as it is."""
    assert Record(y="after down") == drive(
        tries(x="bad"),
        lambda text: _input(text) if "after" in text else ModelFailed("server", "down"),
    )


def test_a_failure_that_nobody_catches_is_raised() -> None:
    """A failed call ends the drive where no flow catches it."""
    with pytest.raises(ModelFailed, match="down"):
        drive(twice(x="a"), lambda _: ModelFailed("server", "down"))


@pytest.mark.parametrize("flow", IMPURE, ids=str)
def test_a_foreign_await_is_refused(flow: lf.Program) -> None:
    """A flow that awaits what is no effect is refused by name, with the way out."""
    with pytest.raises(ImpureAwait, match=rf"{flow} awaits .*lf\.tool"):
        drive(flow(x="a"))


@pytest.mark.parametrize("flow", IMPURE, ids=str)
async def test_a_foreign_await_is_refused_in_a_loop(flow: lf.Program) -> None:
    """Inside a running event loop a foreign await fails the same way."""
    with pytest.raises(ImpureAwait, match=rf"{flow} awaits .*lf\.tool"):
        drive(flow(x="a"))


async def test_driving_needs_no_loop_and_minds_none() -> None:
    """A pure drive gives the same inside a running event loop."""
    assert Record(y="bb") == drive(again(x="a"), lambda _: "b")


def test_a_flow_gives_what_it_promises() -> None:
    """A flow's result is checked against its signature."""
    with pytest.raises(WrongType, match=r"the result of wrong_type\.y expects int"):
        drive(wrong_type(x="a"))
    with pytest.raises(MissingInput, match="needs the input 'z'"):
        drive(too_little(x="a"))


def test_a_first_is_won_by_the_recorded_branch() -> None:
    """Driven purely, only the branch that won is run, at its own address."""

    def recall(call: Call, address: str) -> ChatReply:
        assert "firsts[0]/first[0]/branch[1]/step[0]/call[0]" == address
        return ChatReply(_input(str(call.request)))

    env = Env(firsts.defaults)
    assert Record(y="a1") == drive_pure(firsts(x="a"), env, recall, {"firsts[0]/first[0]": 1})


def test_a_first_without_a_recorded_winner_diverges() -> None:
    """Nobody can say afterwards who would have won."""
    with pytest.raises(ReplayDiverged, match=r"firsts\[0\]/first\[0\]"):
        drive(firsts(x="a"))

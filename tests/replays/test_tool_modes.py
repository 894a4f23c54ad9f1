"""The laws of a tool's mode: which of its recorded answers count where something is run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.messages.requests import MODES, ToolMode, ToolRequest
from lmflow.replays.reuse import exact_answers
from lmflow.replays.simulate import ReplayCase, fork, match_calls

ROWS = [{"text": f"t{n}", "said": f"T{n}"} for n in range(3)]


@attrs.define
class Counter:
    """A tool that counts how often it is asked."""

    count: int = 0

    def ask(self, text: str) -> str:
        """The text with how often."""
        self.count += 1
        return f"{text}-{self.count}"


def asked(mode: ToolMode, counter: Counter, name: str = "ask") -> lf.Program:
    """The tool in a mode."""
    return lf.tool(name, "text -> said", counter.ask, mode=mode, version="1")


async def spent(mode: ToolMode, path: Path) -> int:
    """How often the tool is asked by two evaluations of three rows."""
    counter = Counter()
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted([]), store) as ex:
            for _ in range(2):
                await ex.evaluate(asked(mode, counter), ROWS, lf.exact_match("said"))
    return counter.count


@pytest.mark.parametrize(("mode", "times"), [("cached", 3), ("pure", 3), ("live", 6)])
async def test_an_evaluation_asks_live_tools_anew(
    mode: ToolMode, times: int, tmp_path: Path
) -> None:
    """Evaluated again, a live tool is asked again; the answers of others count."""
    assert times == await spent(mode, tmp_path / "s.db")


@pytest.mark.parametrize("mode", MODES)
async def test_exact_replay_takes_every_answer(mode: ToolMode) -> None:
    """An exact replay asks nothing, whatever the mode."""
    counter = Counter()
    async with lf.Executor(lf.scripted([])) as ex:
        run = await ex.map(asked(mode, counter), ROWS)
    assert run.root == lf.replay(run, asked(mode, counter)).root
    assert 3 == counter.count


async def test_a_recording_outlives_a_change_of_mode() -> None:
    """The mode is no part of a program's key, nor of a call's: what was recorded before replays
    after.
    """
    tools = [asked(mode, Counter()) for mode in MODES]
    assert 1 == len({tool.key for tool in tools})
    requests = [ToolRequest("ask", "version:1", lf.Record(text="a"), mode=mode) for mode in MODES]
    assert 1 == len({request.key for request in requests}) == len(set(requests))
    async with lf.Executor(lf.scripted([])) as ex:
        trace = await ex.run(tools[0], text="a")
    assert trace.root == lf.replay(trace, tools[2]).root


@pytest.mark.parametrize("mode", MODES)
async def test_resume_asks_nothing_twice(mode: ToolMode, tmp_path: Path) -> None:
    """A run that was stopped goes on with what it had, live answers too: they are its own."""
    counter = Counter()
    step = lf.predict("say", "said -> out", "Say.")
    program = asked(mode, counter) >> step
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(
            lf.scripted(lambda _: "fine"), store, budget=lf.Budget(calls=1)
        ) as ex:
            with pytest.raises(lf.LmflowError, match="used up"):
                await ex.map(program, ROWS[:2])
        (stopped,) = store.runs()
        before = counter.count
        async with lf.Executor(lf.scripted(lambda _: "fine"), store) as ex:
            done = await ex.resume(store.run(stopped.id), program)
    assert (2, 2, "done") == (before, counter.count, done.status)


async def test_what_if_takes_no_answer_of_a_live_tool() -> None:
    """A plan counts a live tool's call as one to be asked; a cached one's is reused."""
    expected: dict[ToolMode, int] = {"cached": 1, "pure": 1, "live": 0}
    for mode, reused in expected.items():
        program = asked(mode, Counter())
        async with lf.Executor(lf.scripted([])) as ex:
            trace = await ex.run(program, text="a")
        assert reused == lf.what_if(trace, program).reused


async def test_a_live_replay_asks_live_tools() -> None:
    """Driven again under the same version, a live tool gives what it gives now."""
    counter = Counter()
    program = asked("live", counter)
    async with lf.Executor(lf.scripted([])) as ex:
        first = await ex.run(program, text="a")
        again = await ex.replay(first, program)
    found = [trace.outputs.said for trace in (first, *again) if trace.outputs]
    assert ["a-1", "a-2"] == found


async def test_a_fork_is_exact_before_its_address() -> None:
    """Before the call where a fork begins a live tool's answer stays; from there on it is asked."""
    first, second = asked("live", Counter()), asked("live", Counter(), "again")

    @lf.flow("text -> said", uses=[first, second], version="1")
    async def both(text: str) -> Any:
        return (await second(text=(await first(text=text)).said)).said

    async with lf.Executor(lf.scripted([])) as ex:
        trace = await ex.run(both, text="a")
    simulation = fork(ReplayCase(trace, both, trace.version), "both[0]/again[0]")[1]
    assert ["both[0]/ask[0]/call[0]"] == [
        calls.address for calls in simulation.calls if calls.recorded is not None
    ]


async def test_a_divergence_compares_live_tools_too() -> None:
    """A program that asks what was recorded is the same, whatever its tools' modes."""
    program = asked("live", Counter())
    async with lf.Executor(lf.scripted([])) as ex:
        trace = await ex.run(program, text="a")
    assert lf.diverge(trace, program).same


async def test_a_pure_answer_counts_wherever_the_same_is_asked() -> None:
    """A pure tool's answer is taken at other addresses, as often as needed; a cached one's moves
    once.
    """
    expected: dict[ToolMode, int] = {"pure": 2, "cached": 1, "live": 0}
    for mode, kept in expected.items():
        tool = asked(mode, Counter())

        @lf.flow("text -> said", uses=[tool], version="1")
        async def twice(text: str) -> Any:
            one, two = await lf.gather(tool(text=text), tool(text=text))  # noqa: B023 - run within the round
            return one.said + two.said

        async with lf.Executor(lf.scripted([])) as ex:
            trace = await ex.run(tool, text="a")
        calls = match_calls(ReplayCase(trace, twice, lf.init(twice)))[1].calls
        assert kept == sum(step.recorded is not None for step in calls)


async def test_a_pure_answer_counts_for_every_sample() -> None:
    """Samples of a pure tool are one request; of others each is its own."""
    expected: dict[ToolMode, int] = {"pure": 1, "cached": 3, "live": 3}
    for mode, keys in expected.items():
        tool = asked(mode, Counter())
        async with lf.Executor(lf.scripted([])) as ex:
            run = await ex.map(tool, [{"text": "a"}], samples=3)
        assert keys == len({call.key for trace in run for call in trace.calls})


async def test_a_pure_failure_does_not_spread() -> None:
    """What failed at one address is asked anew at another: a failure may have passed."""

    @lf.tool(mode="pure")
    def broken(text: str) -> str:
        raise OSError(text)

    async with lf.Executor(lf.scripted([])) as ex:
        run = await ex.map(broken, [{"text": "a"}])
    renamed = broken.named("other")
    assert [None] == [
        calls.recorded
        for calls in match_calls(ReplayCase(run.traces[0], renamed, lf.init(renamed)))[1].calls
    ]
    assert "broken[0]/call[0]" in exact_answers(run.traces[0]).answers


def test_an_unknown_mode_is_refused() -> None:
    """A mode that there isn't names those that there are, and the near one."""
    with pytest.raises(
        ValueError, match=r"one of cached, pure, live, found mode='lives'\. Did you mean 'live'"
    ):
        lf.tool("ask", "text -> said", Counter().ask, version="1", mode="lives")  # type: ignore[call-overload]

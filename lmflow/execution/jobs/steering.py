"""Takes the acts by which people steer a running optimization, and records that it took them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lmflow.errors import LmflowError
from lmflow.execution.open_run import OpenRun
from lmflow.execution.rollout import Rollout
from lmflow.optimizers.parts.checks import checked_version
from lmflow.optimizers.plans.acts import SearchAct, need_of_act, place_of_act, taken_act
from lmflow.programs.factories import tool
from lmflow.programs.program import Program
from lmflow.progress.tracker import Tracker
from lmflow.traces.events import STEER, GivenAct, SearchSteered
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

LOOK_SECONDS = 0.25
"""Seconds between two looks for new acts while a search is paused."""

_NOBODY = Version()


@runtime_checkable
class SteeredStore(Protocol):
    """A store that hands the acts of people to the searches that they steer."""

    def acts(self, run: str, after: int = 0) -> Sequence[GivenAct]:
        """Return the acts that people gave to a run, those after a number, oldest first."""
        ...

    def acts_taken(self, run: str) -> tuple[bool, Sequence[tuple[str, Trace]]]:
        """Return whether a run ended, and the executions with their labels by which it recorded the
        acts that it took; nothing if there is no such run.
        """
        ...


class ActReader:
    """Reads the acts of one optimization at its needs.

    Each act that is taken is an execution of the run, labelled ``steer[NEED]/act[NUMBER]``: a tool
    whose reply is the act. A run that begins another one again takes that one's acts at the same
    needs, so that it comes to the same version.
    """

    def __init__(self, run: OpenRun, program: Program, start: Version, tracker: Tracker) -> None:
        recorder = run.session.recorder
        self._store = recorder if isinstance(recorder, SteeredStore) else None
        self._run, self._program, self._start, self._tracker = run, program, start, tracker
        self._last = self._taken = 0
        self._earlier: dict[int, tuple[SearchAct, ...]] = {}
        self._left: list[GivenAct] = []

    async def begin(self) -> None:
        """Take over the acts of the run that this one begins again: they hold at the same needs.

        A stop holds only if that run was killed before it could end: whoever begins a run again
        that was stopped and ended wants it to go on. What that run did not come to take is taken at
        the first need that it did not meet.
        """
        of = self._run.run.of
        if self._store is None or not of:
            return
        ended, recorded = self._store.acts_taken(of)
        items = [item for item in recorded if not (ended and _is_stop(item[1]))]
        outputs = {_inputs(trace): trace.outputs["taken"] for _, trace in items if trace.outputs}
        steer = _steer_tool(outputs)
        rollouts = [
            Rollout(steer(**trace.inputs), _NOBODY, label)
            for label, trace in items
            if _inputs(trace) in outputs
        ]
        for trace, rollout in zip(await self._run.add(rollouts), rollouts, strict=True):
            need, act = need_of_act(rollout.label), taken_act(trace)
            if need is not None and act is not None:
                self._earlier[need] = (*self._earlier.get(need, ()), act)
        self._taken = len(rollouts)
        left = _left(self._store.acts(of), [trace for _, trace in recorded])
        self._left = [each for each in left if not (ended and each.event.kind == "stop")]

    async def acts_at(self, need: int, is_new: Callable[[], bool]) -> tuple[SearchAct, ...]:
        """Return the acts that the plan takes at a need, recorded; wait while it is paused.

        ``is_new`` tells whether the need has executions that no run has recorded.
        """
        new: list[SearchAct] = []
        if self._left and is_new():
            left, self._left = self._left, []
            new += await self._recorded(need, left)
        new += await self._new_acts(need)
        while _is_paused(new):
            self._tracker.begin_phase(f"paused ({_pause(new)})")
            await asyncio.sleep(LOOK_SECONDS)
            new += await self._new_acts(need)
        return (*self._earlier.get(need, ()), *new)

    async def _new_acts(self, need: int) -> list[SearchAct]:
        if self._store is None:
            return []
        given = self._store.acts(self._run.run.id, self._last)
        if not given:
            return []
        self._last = given[-1].id
        return await self._recorded(need, given)

    async def _recorded(self, need: int, given: Sequence[GivenAct]) -> list[SearchAct]:
        """Record acts as executions of the run; return those that were not refused."""
        replies = {(each.event.run, each.id): self._reply(each.event) for each in given}
        steer = _steer_tool(replies)
        rollouts = [
            Rollout(
                steer(run=each.event.run, act=each.id),
                _NOBODY,
                place_of_act(need, self._taken + number),
            )
            for number, each in enumerate(given)
        ]
        self._taken += len(rollouts)
        traces = await self._run.add(rollouts)
        return [act for trace in traces if (act := taken_act(trace)) is not None]

    def _reply(self, event: SearchSteered) -> dict[str, Any]:
        """Return an act as the tool replies with it; ``problem`` says why it is refused."""
        values: dict[str, Any] = {"kind": event.kind, "version": None, "problem": ""}
        try:
            if event.version:
                version = self._run.session.recorder.version(event.version)
                values["version"] = version.to_dict()
                checked_version(self._program, version)
                if event.kind == "veto" and version.tree == self._start.tree:
                    values["problem"] = "the start version can't be vetoed"
        except LmflowError as error:
            values["problem"] = str(error)
        return {**values, "note": event.note, "who": event.who, "at": event.at}


def _steer_tool(replies: Mapping[tuple[str, int], dict[str, Any]]) -> Any:
    """Make the tool that replies with acts that were read before it is called.

    Its version identifies it: what it replies with is data, as a search tool's corpus is.
    """

    async def read(run: str, act: int) -> dict[str, Any]:
        return replies[run, act]

    return tool(STEER, "run, act: int -> taken: dict", read, version="1")


# Whoever begins a search again that waits wants it to go on. A merge may number acts anew, so an
# act is known by what it says.
def _left(given: Iterable[GivenAct], traces: Iterable[Trace]) -> list[GivenAct]:
    """Return the acts of a run that none of its executions took, but for pauses."""
    outputs = [trace.outputs["taken"] for trace in traces if trace.outputs]
    taken = {(act["kind"], act["who"], act["at"]) for act in outputs}
    kept = [each for each in given if each.event.kind not in {"pause", "resume"}]
    said = [(each.event.kind, each.event.who, each.event.at) for each in kept]
    return [each for each, words in zip(kept, said, strict=True) if words not in taken]


def _inputs(trace: Trace) -> tuple[str, int]:
    return trace.inputs["run"], trace.inputs["act"]


def _is_stop(trace: Trace) -> bool:
    act = taken_act(trace)
    return act is not None and act.kind == "stop"


def _pause(acts: Iterable[SearchAct]) -> SearchAct:
    """Return the last pause."""
    return [act for act in acts if act.kind == "pause"][-1]


def _is_paused(acts: Iterable[SearchAct]) -> bool:
    """Tell whether the last act that pauses or resumes a search pauses it, and none stops it."""
    kinds = [act.kind for act in acts if act.kind in {"pause", "resume", "stop"}]
    return "stop" not in kinds and kinds[-1:] == ["pause"]

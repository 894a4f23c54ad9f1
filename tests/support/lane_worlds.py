"""A program of several steps, the world in which it runs by waves, and processes that are killed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import attrs
from lane_server import LaneServer, lane_server

import lmflow as lf
from lmflow.models.base import Model
from lmflow.models.providers.anthropic import Anthropic
from lmflow.models.providers.openai import OpenAI
from lmflow.programs.program import Program
from lmflow.traces.events import Event
from lmflow.traces.trace import Run

FIELDS = {"q": "x", "x": "y", "y": "z"}
STEPS = [
    lf.predict(f"to_{output}", f"{input_} -> {output}", options={"max_tokens": 50})
    for input_, output in FIELDS.items()
]
PRICES = lf.priced({"openai/m": lf.Price(1, 2), "anthropic/m": lf.Price(1, 2)})
LIVE_COST = 10 * 1000 + 4 * 2000
"""The nano-dollars of one live call: 10 tokens read, 4 written."""


def program(steps: int) -> Program:
    """The first steps as a chain."""
    chain: Program = STEPS[0]
    for step in STEPS[1:steps]:
        chain = chain >> step
    return chain


def rows(count: int) -> list[dict[str, str]]:
    """Examples."""
    return [{"q": f"r{number}"} for number in range(count)]


def answer(text: str) -> str:
    """Answer a request: the input with the name of the output."""
    asked = re.findall(r"\[\[(\w)\]\]\n(\w+)", text)[-1]
    output = FIELDS[asked[0]]
    return f"[[{output}]]\n{asked[1]}{output}"


def model_at(server: LaneServer, provider: str = "openai") -> Model:
    """The live model of a server, with the same endpoint class whatever its port is."""
    if provider == "openai":
        return OpenAI("openai/m", "m", server.url, "lane.test")
    return Anthropic("anthropic/m", "m", server.url, "lane.test")


def waving(server: LaneServer, provider: str = "openai", **choices: Any) -> Model:
    """The model in waves, which are quick."""
    quick = {"quiet": 0.004, "poll": 0.002, "attempts": 3}
    return lf.batched(model_at(server, provider), **{**quick, **choices})


async def live_root(chain: Program, count: int, provider: str = "openai") -> str:
    """The root of the same map, live."""
    server = LaneServer(answer)
    async with lane_server(server), lf.Executor(model_at(server, provider)) as ex:
        return (await ex.map(chain, rows(count))).root


_FIRST = asyncio.FIRST_COMPLETED


class Killed(Exception):
    """The process was killed."""


@attrs.define(eq=False)
class World:
    """A store and a server that count what happens, and kill the process at a moment: nothing that
    it does from then on has an effect.
    """

    server: LaneServer
    inner: lf.MemoryStore = attrs.field(factory=lf.MemoryStore)
    kills: list[int] = attrs.field(factory=list)
    moments: int = 0
    dead: bool = False
    died: asyncio.Event = attrs.field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.server.hook = self.moment

    def moment(self) -> bool:
        """Count a moment; whether the process is dead."""
        self.moments += 1
        if self.kills and self.moments == self.kills[0]:
            self.dead = True
            self.died.set()
        return self.dead

    def append(self, *events: Event) -> Future[None]:
        """Store events, unless the process is dead before, and answer unless it is dead after."""
        if self.moment():
            return Future()
        written = self.inner.append(*events)
        return Future() if self.moment() else written

    def __getattr__(self, name: str) -> Any:
        if name == "append_groups":
            raise AttributeError(name)
        return getattr(self.inner, name)

    async def process(
        self, work: Callable[[lf.Executor], Any], model: Model, **choices: Any
    ) -> Any:
        """Do work in a process of its own; ``Killed`` if it is killed meanwhile."""
        others = asyncio.all_tasks()
        store: Any = self
        ex = lf.Executor(model, store, concurrency=100, prices=PRICES, **choices)
        task, death = asyncio.create_task(work(ex)), asyncio.create_task(self.died.wait())
        done, _ = await asyncio.wait([task, death], timeout=60, return_when=_FIRST)
        assert done, ex.runs
        if task in done and not self.dead:
            death.cancel()
            await ex.aclose()
            return task.result()
        for zombie in asyncio.all_tasks() - others:
            zombie.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - others), return_exceptions=True)
        self.kills.pop(0)
        self.dead = False
        self.died.clear()
        raise Killed

    def runs_of(self, kind: str) -> Sequence[Run]:
        """The recorded runs of a kind."""
        return [run for run in self.inner.runs(1000) if run.kind == kind]

    async def map_until_done(self, chain: Program, count: int, model: Model, **choices: Any) -> Run:
        """Map rows, and resume after each kill until the run is done."""

        async def work(ex: lf.Executor) -> Run:
            begun = self.runs_of("map")
            if not begun:
                return await ex.map(chain, rows(count))
            if begun[0].status == "done":
                return self.inner.run(begun[0].id)
            return await ex.resume(self.inner.run(begun[0].id), chain)

        while True:
            try:
                run: Run = await self.process(work, model, **choices)
            except Killed:
                continue
            return run

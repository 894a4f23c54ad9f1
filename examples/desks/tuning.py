"""The demo's second half: tune the routing of questions, judge it, roll back, replay the search."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
from desks import data, right, route
from rich.console import Console

import lmflow as lf
from lmflow.cli.text.terminal import line
from lmflow.errors import short
from lmflow.execution.jobs.optimization import Optimization
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.models.base import Model
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.values.printing import clean

STORE = Path(__file__).resolve().parent / "lmflow.db"


@attrs.frozen
class Size:
    """How much the demo tunes: the search, the calls that it may take, and the questions."""

    search: PlanOptimizer
    calls: int
    data: lf.Data


def search(candidates: int) -> PlanOptimizer:
    """Choose among demonstrations drawn from the questions to show; no call writes them."""
    return lf.random_search(candidates=candidates, max_bootstrapped=0, max_labeled=12)


def full_size() -> Size:
    """Return the size that shows a gain."""
    return Size(search(6), 500, data())


def small_size() -> Size:
    """Return a size that shows in a minute that all parts work; it may find no gain."""
    parts = data()
    return Size(search(1), 120, lf.Data(parts.train, parts.select[:12], parts.held[:24]))


Title = Callable[[str], None]
Offline = Callable[[], AbstractContextManager[None]]


async def tune(  # noqa: PLR0913, PLR0917 - each is a choice of its own
    model: str | Model,
    out: Console,
    title: Title,
    offline: Offline,
    size: Size,
    path: Path = STORE,
) -> None:
    """Tune the route on a model, and print what the held-back questions say of it."""
    title(f"6  Six desks: tuned by examples, within {size.calls} calls")
    show_task(out, size.data)
    with lf.SqliteStore(path) as store:
        lf.commit(store, "main", lf.init(route), why="the defaults of the code")
        async with lf.Executor(model, store, concurrency=4, target="desks:route") as ex:
            budget = lf.Budget(calls=size.calls)
            done = await ex.optimize(
                size.search, route, size.data, right, ref="main", budget=budget
            )
            show_scores(out, done)
            if done.version.id != done.start.id:
                title("7  What changed, and back again")
                await roll_back(out, ex, store, done, size.data)
        title("8  The whole search again, with the model stopped and the network off")
        with offline():
            replay(out, store.run(done.run.id), done, size)


def show_task(out: Console, parts: lf.Data) -> None:
    """Print the sizes of the parts, and a few questions with their desks."""
    out.print(
        f"   {len(parts.train)} questions to show, {len(parts.select)} to choose by,"
        f" {len(parts.held)} that the search never sees"
    )
    for row in parts.held[:3]:
        out.print(f"   {row['desk']:<9} {row['question']}", markup=False)


def show_scores(out: Console, done: Optimization) -> None:
    """Print the scores of both versions on the held-back questions, and whether they differ."""
    out.print(f"   {done.spent.calls} calls sent, {done.spent.tokens:,} tokens\n")
    if done.before is None:
        out.print(f"   not judged: {line(done.not_judged, 100)}", markup=False)
        return
    out.print(f"   before   {done.before.mean} right", markup=False)
    if done.after is None or done.version.id == done.start.id:
        out.print("   no gain: no candidate was better, so the start version is kept")
        return
    out.print(f"   after    {done.after.mean} right", markup=False)
    comparison = done.comparison
    if comparison is None:
        out.print(f"   not compared: {line(done.not_judged, 100)}", markup=False)
        return
    style = "bold green" if comparison.better == "b" else "bold yellow"
    out.print(
        f"   gain     {comparison.difference}, paired on {len(comparison.pairs)} questions",
        style=style,
    )
    if comparison.better != "b":
        out.print(f"   no sure gain: {line(comparison.verdict, 100)}", markup=False)


async def roll_back(
    out: Console, ex: lf.Executor, store: lf.SqliteStore, done: Optimization, parts: lf.Data
) -> None:
    """Print the difference, roll ``main`` back, show that its score is the old one, and return."""
    lines = clean(str(lf.diff(done.start, done.version))).splitlines()
    for text in lines:
        out.print(f"   {line(text, 110)}", markup=False)
    tuned = store.version("main").id
    lf.commit(store, "main", done.start, why="rolled back")
    sent = ex.spent.calls
    again = await ex.evaluate(route, parts.held, right, version="main")
    out.print(
        f"\n   main was {short(tuned)}, is {short(store.version('main').id)}, rolled back:"
        f" {again.mean} right, {ex.spent.calls - sent} calls sent",
        markup=False,
    )
    lf.commit(store, "main", done.version, why="the tuned version again")
    out.print(f"   main is {short(store.version('main').id)} again", markup=False)


def replay(out: Console, run: lf.Run, done: Optimization, size: Size) -> None:
    """Replay the recorded search and check that it comes to the same version."""
    before = time.perf_counter()
    again = replay_optimization(run, size.search, route, Traces(done.start, size.data), right)
    calls = sum(len(trace.answers) for trace in run)
    seconds = time.perf_counter() - before
    out.print(f"   {calls} calls answered from the store, 0 sent, {seconds:.2f} s")
    out.print(f"   recorded  {done.version.id}\n   replayed  {again.id}")
    if again.id != done.version.id:
        raise SystemExit("demo: the replayed search came to another version")
    out.print("   [bold green]identical[/]")

"""The demo's second half: tune the pipeline in a budget, judge the result, roll back, replay."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
from collection import questions as rows
from pipeline import holds, rag
from rich.console import Console

import lmflow as lf
from lmflow.cli.text.optimization import scored
from lmflow.cli.text.terminal import line
from lmflow.cli.text.versions import diff_text
from lmflow.errors import short
from lmflow.evaluation.rescoring import scores_from
from lmflow.execution.jobs.optimization import Optimization
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.optimizers.combinators import guard
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.values.printing import clean

STORE = Path(__file__).resolve().parent / "lmflow.db"
FULL = 20  # questions from which the search has its whole size


async def tune(
    model: str,
    count: int,
    out: Console,
    title: Callable[[str], None],
    offline: Callable[[], AbstractContextManager[None]],
) -> None:
    """Search, judge on the dev questions, show the difference, roll back, and replay the search."""
    small = count < FULL
    search = mipro(
        candidates=3 if small else 4,
        trials=2 if small else 4,
        max_bootstrapped=1,
        max_labeled=2,
        max_tokens=60,
    )
    train, size = rows("train"), 3 if small else 5
    data = lf.Data(train[:size], train[size : 2 * size], rows("dev")[:count])
    budget = lf.Budget(calls=24 if small else 120)
    judging = len(data.held)
    title(f"6  Tuned by mipro within {budget.calls} calls, guarded by the {judging} dev questions")
    done = await searched(model, search, data, budget)
    spending = f"{done.spent.calls} calls sent, {done.spent.tokens:,} tokens"
    out.print(f"   {line(done.stopped, 100) or spending}")
    with lf.SqliteStore(STORE) as store:
        run = store.run(done.run.id)
        judged(out, store, done, search, data)
    title("7  The whole search again, with the model stopped and the network off")
    before = time.perf_counter()
    with offline():
        again = replay_optimization(run, guard(search), rag, Traces(done.start, data), holds)
    calls = sum(len(trace.answers) for trace in run)
    out.print(
        f"   {calls} calls answered from the store, 0 sent, {time.perf_counter() - before:.2f} s"
    )
    out.print(f"   recorded  {done.version.id}\n   replayed  {again.id}")
    if again.id != done.version.id:
        raise SystemExit("demo: the replayed search came to another version")
    out.print("   [bold green]identical[/]")


async def searched(
    model: str, search: PlanOptimizer, data: lf.Data, budget: lf.Budget
) -> Optimization:
    """Run the search; ``main`` points at the start, then at the version that the guard accepts."""
    optimizer, start = guard(search), lf.init(rag)
    with lf.SqliteStore(STORE) as store:
        lf.commit(store, "main", start, why="the defaults of the code")
        async with lf.Executor(f"local/{model}", store, concurrency=4, target="pipeline:rag") as ex:
            return await ex.optimize(
                optimizer, rag, data, holds, version=start, ref="main", budget=budget
            )


def judged(
    out: Console, store: lf.SqliteStore, done: Optimization, search: PlanOptimizer, data: lf.Data
) -> None:
    """Print the scores before and after, the guard's verdict and the difference, and roll back."""
    run, before = store.run(done.run.id), done.before
    if before is None:
        out.print("   no dev questions, so nothing was judged")
        return
    best = replay_optimization(run, search, rag, Traces(done.start, data), holds)
    tried = tuple(item for item in run.items if item[0].startswith("guard/after/"))
    after = scores_from(attrs.evolve(run, items=tried), data.held, holds) if tried else before
    out.print(f"   before    {scored(before)}\n   after     {scored(after)}")
    if best.id == done.start.id:
        out.print("   no candidate was better on the selection questions, so the start is kept")
        return
    if not tried:
        out.print("   the budget ended before the guard judged the best one: the start is kept")
        return
    out.print(f"   paired    {lf.compare(before, after).verdict}", markup=False)
    refused = done.version.id == done.start.id
    out.print(f"   the guard {'keeps the start version' if refused else 'accepts it'}\n")
    for text in clean(diff_text(lf.diff(done.start, best), colour=False)).splitlines():
        out.print(f"   {line(text, 110)}", markup=False)
    if refused:
        lf.commit(store, "main", best, why="tried in spite of the guard")
    out.print(f"\n   main is {short(store.version('main').id)}", markup=False)
    lf.commit(store, "main", done.start, why="rolled back")
    out.print(f"   main is {short(store.version('main').id)}, rolled back", markup=False)

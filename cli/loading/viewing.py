"""The parts of a store, of programs and of the executor that the web view uses."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import click
from aiohttp import web

from lmflow.cli.commands.stores.doctor import local_checks
from lmflow.cli.loading.own import load_adapters
from lmflow.cli.loading.programs import load_program
from lmflow.cli.loading.promoting import add_example
from lmflow.cli.loading.recorded_data import recorded_datasets, recorded_evaluation
from lmflow.cli.loading.recorded_jobs import recorded_adapters, recorded_model
from lmflow.cli.loading.searches import (
    prove_search,
    search_budget,
    search_executions,
    search_scores,
)
from lmflow.cli.loading.steering import act_rows, steer
from lmflow.cli.options import user_name
from lmflow.data.conditions import Condition
from lmflow.errors import BudgetExceeded, Unservable
from lmflow.evaluation.evaluation import Evaluation
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.programs.program import Program
from lmflow.progress.update import silent
from lmflow.stores.opened import open_store, reading
from lmflow.stores.sqlite.lists.costs import Grouping, costs
from lmflow.stores.sqlite.lists.pairs import pairs
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import Event, ScoreRecorded, VersionSaved
from lmflow.traces.trace import Run
from lmflow.ui.access import Access
from lmflow.ui.pages import Searches, Sources
from lmflow.ui.programs import LoadedPrograms
from lmflow.ui.server import application
from lmflow.ui.table import ACTS, SCREENS
from lmflow.versions.version import Version

_LOOK_SECONDS = 0.1


def view_of(store: str, access: Access, targets: Iterable[str] = ()) -> web.Application:
    """Return the application of the web view over a store."""
    return application(sources_of(store, targets), access, SCREENS, ACTS)


def sources_of(store: str, targets: Iterable[str] = ()) -> Sources:
    """Return everything that the screens of a store use from outside their package."""
    programs, who = LoadedPrograms(_program), user_name()
    for target in targets:
        programs.add(target)
    return Sources(
        store=store,
        reading=functools.partial(reading, store),
        costs=_costs,
        evaluation=_evaluation,
        program=programs,
        replay=_Replays(store, programs, who),
        append=functools.partial(_append, store),
        who=who,
        checks=functools.partial(_checks, store),
        add_example=functools.partial(add_example, store),
        pairs=pairs,
        searches=Searches(
            search_executions,
            search_scores,
            search_budget,
            prove_search,
            act_rows,
            functools.partial(steer, store),
        ),
    )


def _costs(
    reader: Reader, by: Sequence[Grouping], conditions: Iterable[Condition]
) -> list[dict[str, Any]]:
    """Return the sums over calls by group as JSON values."""
    groups = costs(reader.listing, by, conditions)
    rows = []
    for group in groups:
        amounts = attrs.asdict(group, filter=lambda field, _: field.name not in {"keys", "cost"})
        rows.append({**group.keys, **amounts, "usd": group.usd})
    return rows


def _evaluation(reader: Reader, run: Run) -> Evaluation:
    """Return an evaluation as its run recorded it."""
    datasets = recorded_datasets(run, reader)
    return recorded_evaluation(run, reader, datasets[0] if datasets else None)


def _checks(store: str) -> list[dict[str, Any]]:
    """Return what `lmflow doctor` finds without sending anything, as JSON values."""
    return [attrs.asdict(check) for check in local_checks(store)]


def _append(store: str, *events: Event) -> None:
    """Store events, and wait until they are durable."""
    with open_store(store) as opened:
        opened.append(*events).result()


def _program(target: str) -> Program:
    """Import a program; the words of the command line's errors become an error of the page."""
    try:
        return load_program(target)
    except click.ClickException as error:
        fix = "Start `lmflow ui` in the folder of the program."
        raise Unservable(target or "the program", error.message.rstrip("."), fix) from error


@attrs.frozen(eq=False)
class _Replays:
    """Runs recordings again for pages, each in a task of its own."""

    store: str
    programs: LoadedPrograms
    who: str
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)

    async def __call__(
        self, run: str, version: Version, calls: int, usd: float | None, reason: str
    ) -> str:
        """Begin to run a recording under a version; return the id of the new run once it is there.

        Who wanted it and why is recorded as a score without a value, beside the run's executions.
        """
        with reading(self.store) as reader:
            recorded = reader.run(reader.place(run, "run").run)
            newest = _newest(reader)
        budget = Budget(calls=calls, usd=usd)
        task = asyncio.create_task(self._replay(recorded, version, budget, reason))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        while True:
            await asyncio.wait([task], timeout=_LOOK_SECONDS)
            if found := await asyncio.to_thread(self._begun, recorded.id, newest):
                return found
            if task.done():
                task.result()
                raise Unservable("the run", "it ended without a record", "See the terminal.")

    async def _replay(self, recorded: Run, version: Version, budget: Budget, reason: str) -> None:
        program = self.programs(recorded.target)
        with open_store(self.store) as store:
            store.append(VersionSaved(version, time.time_ns(), self.who)).result()
            async with Executor(
                recorded_model(recorded),
                store,
                target=recorded.target,
                adapters=load_adapters(recorded_adapters(recorded), recorded.target),
            ) as ex:
                try:
                    run = await ex.replay(
                        recorded, program, version=version, budget=budget, progress=silent
                    )
                except BudgetExceeded as error:  # the run stands in the store as stopped
                    logging.getLogger(__name__).warning("%s", error)
                    return
            notes = [_note(trace.id, run.id, self.who, reason) for trace in run]
            store.append(*notes).result()

    def _begun(self, recorded: str, newest: str) -> str:
        with reading(self.store) as reader:
            runs = [run for run in reader.runs(20, "") if run.id > newest and run.of == recorded]
        return runs[-1].id if runs else ""


def _newest(reader: Reader) -> str:
    return next((run.id for run in reader.runs(1, "")), "")


def _note(trace: str, run: str, who: str, reason: str) -> ScoreRecorded:
    return ScoreRecorded(trace, "reason", None, reason, who=who, at=time.time_ns(), run=run)

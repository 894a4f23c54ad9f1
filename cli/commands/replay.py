"""Commands that drive a recording again: ``replay``, exact or under another version, and
``resume``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import attrs
import click

from lmflow.cli.commands.optimize import proven, resumed
from lmflow.cli.loading.programs import load
from lmflow.cli.loading.recorded_work import adapters_of, recorded_model
from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.cli.text.terminal import line, result_line
from lmflow.errors import ReplayDiverged
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.execution.progress import bar, silent
from lmflow.programs.program import Program
from lmflow.replays.divergence import KINDS, Divergence, diverge
from lmflow.replays.exact import replay as replayed
from lmflow.replays.what_if import Plan, what_if
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.trace import Run
from lmflow.values.printing import clean

TUNING = frozenset({"optimize", "evaluate"})

_PROGRAM = click.option(
    "--program",
    "target",
    default="",
    metavar="MODULE:PROGRAM",
    help="The program, where the run doesn't name it.",
)
_MODEL = click.option(
    "--model", metavar="PROVIDER/MODEL", help="The model; by default the recorded one."
)
_CALLS = click.option("--max-calls", type=click.IntRange(0), help="Send at most so many calls.")
_CONCURRENCY = click.option(
    "--concurrency",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Calls open at once.",
)


@click.command()
@click.argument("run")
@_PROGRAM
@click.option(
    "--version", "version", default="", metavar="REF", help="What if it ran under this version?"
)
@click.option(
    "--from",
    "at",
    default="",
    metavar="ADDRESS",
    help="Exact before this call or frame, anew from it on.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Ask what the recording doesn't answer; otherwise only the plan is printed.",
)
@_MODEL
@click.option(
    "--report",
    is_flag=True,
    help="Compare call by call, as if replies stayed the same; asks nothing.",
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice([*KINDS[1:-1], "any"]),
    help="Exit with 1 if there is one.",
)
@_CALLS
@_CONCURRENCY
@store_option
@json_option
def replay(run: str, target: str, store: str, *, as_json: bool, **given: Any) -> None:
    """Drive a run again, as it was or under another version.

    Without options it proves that the run is the same, with no network and no model. --version and
    --from print what would be reused and what would be asked; with --live they do it.

    \b
    Example:
      lmflow replay RUN
    """
    with reading(store) as reader:
        recorded, root = reader.run(run), reader.root(run)
        version = reader.version(given["version"]) if given["version"] else None
        if recorded.kind in TUNING and not any(
            given[name] for name in ("version", "at", "live", "report")
        ):
            proven(reader, recorded, as_json=as_json)
            return
    program = program_of(recorded, target)
    named = target or recorded.target
    if given["report"]:
        _reported(diverge(recorded, program, version), given["fail_on"], as_json=as_json)
    elif given["live"]:
        model = given["model"] or recorded_model(recorded)
        budget = None if given["max_calls"] is None else Budget(calls=given["max_calls"])

        async def go(ex: Executor) -> Run:
            return await ex.replay(
                recorded,
                program,
                version,
                at=given["at"],
                budget=budget,
                progress=silent if as_json else bar,
            )

        with SqliteStore(store) as kept:
            ex = Executor(
                model,
                kept,
                concurrency=given["concurrency"],
                target=named,
                adapters=adapters_of(recorded),
            )
            done = asyncio.run(_with(ex, go))
        report_run(done, as_json=as_json)
    elif version or given["at"]:
        plan = what_if(
            recorded, program, version, at=given["at"], places=_places(recorded, given["model"])
        )
        _planned(recorded, plan, given["fail_on"], as_json=as_json)
    else:
        _proven(recorded, program, root, as_json=as_json)


@click.command()
@click.argument("run")
@_PROGRAM
@_MODEL
@click.option(
    "--retry-failures", is_flag=True, help="Ask again what failed; otherwise a failure is settled."
)
@_CALLS
@_CONCURRENCY
@store_option
@json_option
def resume(run: str, target: str, store: str, *, as_json: bool, **given: Any) -> None:
    """Finish a run that a crash or Ctrl-C stopped. What was answered is not asked again.

    \b
    Example:
      lmflow resume RUN
    """
    with reading(store) as reader:
        recorded = reader.run(run)
    if recorded.kind in TUNING:
        resumed(store, recorded, given["concurrency"], given["max_calls"], as_json=as_json)
        return
    program = program_of(recorded, target)
    model = given["model"] or recorded_model(recorded)
    budget = None if given["max_calls"] is None else Budget(calls=given["max_calls"])

    async def go(ex: Executor) -> Run:
        return await ex.resume(
            recorded, program, retry_failures=given["retry_failures"], budget=budget,
            progress=silent if as_json else bar,
        )  # fmt: skip

    with SqliteStore(store) as kept:
        named = recorded.target
        ex = Executor(
            model,
            kept,
            concurrency=given["concurrency"],
            target=named,
            adapters=adapters_of(recorded),
        )
        done = asyncio.run(_with(ex, go))
    report_run(done, as_json=as_json)


def program_of(recorded: Any, target: str) -> Program:
    """The program of a run or trace: what is given, else what it names."""
    if not (target or recorded.target):
        raise click.ClickException(
            "the run doesn't name its program: add --program MODULE:PROGRAM."
        )
    return load(target or recorded.target)


def report_run(done: Run, *, as_json: bool) -> None:
    """Print what came of a run; exit with 1 where something failed."""
    calls = [call for trace in done for call in trace.answers.values()]
    reused = sum(1 for call in calls if call.source)
    if as_json:
        rows = [
            {
                "label": label,
                "trace": t.id,
                "outputs": t.outputs,
                "failure": t.failure,
                "root": t.root,
            }
            for label, t in done.items
        ]
        asked = len(calls) - reused
        echo_json(
            {
                "run": done.id,
                "of": done.of,
                "root": done.root,
                "reused": reused,
                "asked": asked,
                "traces": rows,
            }
        )
    else:
        for label, trace in done.items:
            click.echo(f"{clean(label)}  {line(result_line(trace), 140)}".lstrip())
        words = f"run {done.id}: {len(done) - len(done.failures)} done, {len(done.failures)} failed"
        click.echo(f"{words}, {reused} of {len(calls)} calls reused", err=True)
    if done.failures:
        raise SystemExit(1)


async def _with(executor: Executor, work: Any) -> Run:
    async with executor as ex:
        done: Run = await work(ex)
        return done


def _places(recorded: Run, model: str | None) -> Mapping[str, Any] | None:
    """What the default model stands for where another is named; its endpoint is taken to be the
    recorded one.
    """
    if model is None:
        return None
    known = next(
        (trace.world["models"].get("") for trace in recorded if "" in trace.world["models"]),
        {"endpoint": ""},
    )
    return {"": {**known, "model": model}}


def _planned(recorded: Run, plan: Plan, fail_on: tuple[str, ...], *, as_json: bool) -> None:
    found = plan.results
    items = tuple((label, trace) for label, trace in found if trace is not None)
    root = attrs.evolve(recorded, items=items).root if len(items) == len(found) else None
    if as_json:
        echo_json(
            {"run": recorded.id, **plan.to_json(), "root": root, "same_root": root == recorded.root}
        )
    else:
        click.echo(clean(str(plan)))
        if root is None:
            click.echo("Nothing was sent. Add --live to ask what is needed.")
        else:
            click.echo(f"root {root}{', as recorded' if root == recorded.root else ''}")
    _failing(plan.divergence, fail_on)


def _reported(found: Divergence, fail_on: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        echo_json(found.to_json())
    else:
        click.echo(clean(str(found)))
    _failing(found, fail_on)


def _failing(found: Divergence, kinds: tuple[str, ...]) -> None:
    if any(found.counts.get(kind) for kind in kinds) or ("any" in kinds and not found.same):
        raise SystemExit(1)


def _proven(recorded: Run, program: Program, root: str, *, as_json: bool) -> None:
    started = time.perf_counter()
    try:
        again = replayed(recorded, program)
    except ReplayDiverged as problem:
        _parted(recorded, program, problem, as_json=as_json)
        raise
    seconds, calls = time.perf_counter() - started, sum(len(trace.answers) for trace in again)
    if root and again.root != root:
        raise ReplayDiverged(
            f"run {recorded.id}",
            f"root {root}",
            f"root {again.root}",
            "`lmflow verify RUN` names what changed.",
        )
    if as_json:
        echo_json(
            {
                "run": recorded.id,
                "root": again.root,
                "same": True,
                "calls": calls,
                "seconds": seconds,
            }
        )
        return
    click.echo(
        f"identical: {len(again)} traces, {calls} calls answered from the store, 0 sent, {seconds:.2f} s"
    )
    click.echo(f"root {again.root}")


def _parted(recorded: Run, program: Program, problem: ReplayDiverged, *, as_json: bool) -> None:
    """The whole divergence beside the first difference."""
    if not all(trace.done for trace in recorded):
        return
    found = diverge(recorded, program)
    if as_json:
        echo_json(
            {
                "run": recorded.id,
                "same": False,
                "at": problem.address,
                "divergence": found.to_json(),
            }
        )
    else:
        click.echo(clean(str(found)))

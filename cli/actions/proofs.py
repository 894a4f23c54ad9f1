"""Proves that a replay is exact, and prints where it is not."""

from __future__ import annotations

import time

import click

from lmflow.adapters.adapter import Adapter
from lmflow.cli.actions.recorded_jobs import identical_line
from lmflow.cli.options import echo_json
from lmflow.errors import ReplayDiverged
from lmflow.programs.program import Program
from lmflow.replays.divergence import diverge
from lmflow.replays.exact import replayed_items
from lmflow.traces.run_root import RunRoot
from lmflow.traces.trace import Run
from lmflow.values.printing import clean


def prove(
    recorded: Run,
    program: Program,
    root: str,
    *,
    adapters: tuple[Adapter, ...] = (),
    as_json: bool,
) -> None:
    """Replay a run exactly and compare the roots."""
    started, calls, whole = time.perf_counter(), 0, RunRoot()
    try:
        items = replayed_items(recorded, program, adapters=adapters)
        for position, (label, trace) in enumerate(items):
            whole.add(position, label, trace.root)
            calls += len(trace.answers)
    except ReplayDiverged as problem:
        _print_first_difference(recorded, program, problem, as_json=as_json)
        raise
    seconds, replayed = time.perf_counter() - started, whole.value()
    if root and replayed != root:
        raise ReplayDiverged(
            f"run {recorded.id}",
            f"root {root}",
            f"root {replayed}",
            "`lmflow verify RUN` names what changed.",
        )
    if as_json:
        facts = {"run": recorded.id, "root": replayed, "same": True}
        echo_json({**facts, "calls": calls, "seconds": seconds})
        return
    click.echo(identical_line(len(recorded), calls, seconds))
    click.echo(f"root {replayed}")


def _print_first_difference(
    recorded: Run, program: Program, problem: ReplayDiverged, *, as_json: bool
) -> None:
    """Print the whole divergence, of which the error names the first difference."""
    if not all(trace.done for trace in recorded):
        return
    divergence = diverge(recorded, program)
    if as_json:
        facts = {"run": recorded.id, "same": False, "at": problem.address}
        echo_json({**facts, "divergence": divergence.to_json()})
    else:
        click.echo(clean(str(divergence)))

"""The results of runs, as several commands print them."""

from __future__ import annotations

import click

from lmflow.cli.options import echo_json
from lmflow.cli.text.terminal import line, result_data, result_line
from lmflow.traces.trace import Run
from lmflow.values.printing import clean
from lmflow.views.lines import counted


def print_run(run: Run, *, as_json: bool) -> None:
    """Print the results of a run; exit with 1 if something failed."""
    calls = reused = failed = 0
    rows = []
    for label, trace in run.items:
        calls += len(trace.answers)
        reused += sum(1 for call in trace.answers.values() if call.source)
        failed += trace.failure is not None
        if as_json:
            rows.append({"label": label, **result_data(trace)})
        else:
            click.echo(f"{clean(label)}  {line(result_line(trace), 140)}".lstrip())
    if as_json:
        facts = {"run": run.id, "of": run.of, "root": run.root, "reused": reused}
        echo_json({**facts, "asked": calls - reused, "traces": rows})
    else:
        counts = f"{len(run) - failed} done, {failed} failed"
        words = f"{counts}, {reused} of {counted(calls, 'call')} reused"
        click.echo(f"run {run.id}: {words}", err=True)
    if failed:
        raise SystemExit(1)

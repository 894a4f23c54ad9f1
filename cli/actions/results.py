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
    calls = [call for trace in run for call in trace.answers.values()]
    reused = sum(1 for call in calls if call.source)
    if as_json:
        rows = [{"label": label, **result_data(trace)} for label, trace in run.items]
        facts = {"run": run.id, "of": run.of, "root": run.root, "reused": reused}
        echo_json({**facts, "asked": len(calls) - reused, "traces": rows})
    else:
        for label, trace in run.items:
            click.echo(f"{clean(label)}  {line(result_line(trace), 140)}".lstrip())
        failed = len(run.failures)
        counts = f"{len(run) - failed} done, {failed} failed"
        click.echo(
            f"run {run.id}: {counts}, {reused} of {counted(len(calls), 'call')} reused", err=True
        )
    if run.failures:
        raise SystemExit(1)

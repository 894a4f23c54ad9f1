"""The command ``runs merge``."""

from __future__ import annotations

import click

from lmflow.cli.actions.jobs import print_evaluation
from lmflow.cli.actions.merged_runs import (
    merged_evaluation,
    merged_run,
    record_merged,
    shards_beside,
)
from lmflow.cli.commands.completion import complete_run
from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.stores.opened import open_store
from lmflow.traces.trace import Run
from lmflow.views.lines import counted


@click.command("merge")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.option("--recorded", is_flag=True, help="Take the recorded scores; no metric is loaded.")
@store_option
@json_option
def merge(runs: tuple[str, ...], store: str, *, recorded: bool, as_json: bool) -> None:
    """Merge the runs of shards into the run of all examples.

    Its root is that of the run without shards; of an evaluation the mean and its interval are
    printed. One RUN stands for all shards of its data: the latest finished run of each. Nothing is
    sent. The executions stay those of the shards, and are paid once.

    \b
    Example:
      lmflow runs merge last --store shard1.db
    """
    with open_store(store) as opened:
        with opened.reading() as reader:
            parts = [reader.run(reader.place(name).run) for name in runs]
        whole = merged_run(shards_beside(opened, parts[0]) if len(parts) == 1 else parts)
        if whole.kind == "evaluate":
            with opened.reading() as reader:
                evaluation = merged_evaluation(whole, reader, recorded=recorded)
            record_merged(opened, whole, evaluation.root)
            print_evaluation(evaluation, as_json=as_json)
            return
        record_merged(opened, whole, "")
        _print(whole, as_json=as_json)


def _print(run: Run, *, as_json: bool) -> None:
    totals, failed = run.sums
    shards = list(run.config["shards"])
    if as_json:
        echo_json(
            {
                "run": run.id,
                "root": run.root,
                "shards": shards,
                "executions": len(run),
                "failed": failed,
                "calls": totals.calls,
                "cost": totals.cost,
            }
        )
        return
    parts = counted(len(shards), "shard")
    executions = counted(len(run), "execution")
    click.echo(f"run {run.id}: {executions} of {parts}, {failed} failed; {totals.words}")

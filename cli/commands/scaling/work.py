"""The command ``work``."""

from __future__ import annotations

import click

from lmflow.cli.actions.working import work_on
from lmflow.cli.commands.completion import complete_run
from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.stores.opened import open_store
from lmflow.views.lines import counted


@click.command()
@click.option(
    "--run",
    "job",
    default="",
    metavar="RUN",
    shell_complete=complete_run,
    help="The run; by default the latest that waits for workers.",
)
@store_option
@json_option
def work(job: str, store: str, *, as_json: bool) -> None:
    """Work on a run that processes share.

    Takes parts of the run until none waits. The program must be here, and be the one that the run
    was begun with; the rows come from the store. After Ctrl-C another worker goes on with the part,
    and pays for nothing twice.

    \b
    Example:
      lmflow work --store shared.db
    """
    with open_store(store) as opened:
        jobs = opened.leases.jobs()
        if job:
            with opened.reading() as reader:
                job = reader.place(job, "run").run
        elif jobs:
            job = jobs[0]
        settled = work_on(opened, job) if job else 0
    if as_json:
        echo_json({"run": job, "parts": settled})
    elif job:
        click.echo(f"run {job}: {counted(settled, 'part')} done by this worker")
    else:
        click.echo("no run waits for workers: lmflow map MODULE:PROGRAM INPUTS --workers N")

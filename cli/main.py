"""The command ``lmflow``."""

from __future__ import annotations

import click

from lmflow import __version__
from lmflow.cli.completion import completion
from lmflow.cli.datasets import dataset
from lmflow.cli.doctor import doctor
from lmflow.cli.explain import bisect, why
from lmflow.cli.exports import export as export_runs
from lmflow.cli.models import models
from lmflow.cli.provenance import blame, status
from lmflow.cli.refs import edit, merge, ref, reflog, rollback
from lmflow.cli.render import render
from lmflow.cli.replays import replay, resume
from lmflow.cli.runs import runs, verify
from lmflow.cli.scaffold import new
from lmflow.cli.shared import Group
from lmflow.cli.tail import search, tail
from lmflow.cli.upkeep import export, gc, import_, pin, score
from lmflow.cli.versions import diff, log, show
from lmflow.cli.work import index, run


@click.group(cls=Group)
@click.version_option(__version__, prog_name="lmflow")
def main() -> None:
    """Compound AI systems as values: run programs, look at what happened, replay it offline.

    \b
    Example:
      lmflow run app:rag --set question="How long?" --model openai/gpt-5-mini
    """


_COMMANDS = (
    *(new, run, render, runs, replay, resume, bisect, why, verify, score),
    *(log, show, diff, blame, status),
    *(ref, rollback, reflog, edit, merge, pin),
    *(export, import_, dataset, gc, index, models, doctor, completion),
)
for _command in _COMMANDS:
    main.add_command(_command)
for _command in (tail, search, export_runs):
    runs.add_command(_command)

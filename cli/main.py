"""The command ``lmflow``."""

from __future__ import annotations

import click

from lmflow import __version__
from lmflow.cli.explain import bisect, why
from lmflow.cli.models import models
from lmflow.cli.replays import replay, resume
from lmflow.cli.runs import runs, verify
from lmflow.cli.shared import Group
from lmflow.cli.work import index, run


@click.group(cls=Group)
@click.version_option(__version__, prog_name="lmflow")
def main() -> None:
    r"""Compound AI systems as values: run programs, look at what happened, replay it offline.

    \b
    Example:
      lmflow run app:rag --set question="What is a decorator?"
    """


for _command in (run, runs, replay, resume, bisect, why, verify, index, models):
    main.add_command(_command)

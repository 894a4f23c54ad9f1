"""The command ``index``."""

from __future__ import annotations

import click

from lmflow.cli.options import echo_json, json_option
from lmflow.stores.corpora.corpus import Corpus
from lmflow.values.printing import clean


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--out", default="corpus.db", show_default=True, metavar="FILE", help="The corpus to write."
)
@click.option(
    "--size",
    default=600,
    show_default=True,
    type=click.IntRange(50),
    help="The most characters of a passage.",
)
@json_option
def index(folder: str, out: str, size: int, *, as_json: bool) -> None:
    """Make a corpus of the txt, md, html and rst files of a folder.

    \b
    Example:
      lmflow index docs --out corpus.db
    """
    with Corpus.from_folder(folder, out, size=size) as corpus:
        skipped = [str(problem) for problem in corpus.skipped]
        digest, passages = corpus.digest, len(corpus)
    if as_json:
        echo_json({"path": out, "digest": digest, "passages": passages, "skipped": skipped})
        return
    for problem in skipped:
        click.echo(f"skipped: {clean(problem)}", err=True)
    click.echo(f'{passages} passages in {out}; in Python: lf.Corpus.open({out!r}).search("...")')

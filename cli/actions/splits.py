"""Splits of data sets by ``--split`` texts, and the line that says what was stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from lmflow.cli.options import echo_json
from lmflow.data.dataset import Dataset
from lmflow.data.splits import split
from lmflow.errors import NotFound, short
from lmflow.stores.opened import AnyStore
from lmflow.views.lines import counted


def split_into(
    store: AnyStore, name: str, rows: Dataset, texts: Sequence[str], seed: int
) -> Dataset | Mapping[str, Dataset]:
    """Return the rows as the store is to have them under ``name``.

    Without texts the rows stay whole. ``PART=FRACTION`` texts divide them. One ``PART`` makes them
    that split, next to the splits that the store has.
    """
    if not texts:
        return rows
    part, *others = texts
    if all("=" in text for text in texts):
        fractions = {text.partition("=")[0]: _fraction(text) for text in texts}
        return split(rows, fractions, seed=seed)
    if others:
        raise click.ClickException(
            "give one --split PART, or for each part its fraction, --split train=0.8."
        )
    try:
        splits = {other: examples for other, examples in store.splits(name).items() if other}
    except NotFound:
        splits = {}
    return {**splits, part: rows}


def _fraction(text: str) -> float:
    name, _, number = text.partition("=")
    try:
        return float(number)
    except ValueError:
        raise click.ClickException(
            f"--split {text}: {number!r} is not a fraction. Write --split {name}=0.5."
        ) from None


def print_dataset(name: str, digest: str, size: int, *, as_json: bool) -> None:
    """Print the name, digest and size of a stored data set."""
    if as_json:
        echo_json({"name": name, "digest": digest, "examples": size})
        return
    click.echo(f"{name} {short(digest)}  {counted(size, 'example')}")

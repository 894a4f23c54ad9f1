"""Money, scores and "how many of how many" in lists."""

from __future__ import annotations

import click

from lmflow.views.amounts import UNKNOWN, dollars, mean_scores

__all__ = ["UNKNOWN", "dollars", "mean_scores", "more_line"]


def more_line(shown: int, total: int, how: str) -> None:
    """Say on standard error that only a part is shown, and how to see more."""
    if shown < total:
        click.echo(f"{shown:,} of {total:,} shown; more: {how}", err=True)

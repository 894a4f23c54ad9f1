"""Prints plans and divergences of replays."""

from __future__ import annotations

import attrs
import click

from lmflow.cli.options import echo_json
from lmflow.replays.differences import Divergence
from lmflow.replays.what_if import Plan
from lmflow.traces.trace import Run
from lmflow.values.printing import clean


def print_plan(recorded: Run, plan: Plan, *, as_json: bool) -> None:
    """Print a plan; if it answers all, also the root that the run has under it."""
    items = tuple((label, trace) for label, trace in plan.results if trace is not None)
    answered = len(items) == len(plan.results)
    root = attrs.evolve(recorded, items=items).root if answered else None
    if as_json:
        facts = {"run": recorded.id, **plan.to_json(), "root": root}
        echo_json({**facts, "same_root": root == recorded.root})
        return
    click.echo(clean(str(plan)))
    if root is None:
        click.echo("Nothing was sent. Add --live to send the calls that are missing.")
    else:
        click.echo(f"root {root}{', as recorded' if root == recorded.root else ''}")


def print_divergence(divergence: Divergence, *, as_json: bool) -> None:
    """Print a divergence, call by call."""
    if as_json:
        echo_json(divergence.to_json())
    else:
        click.echo(clean(str(divergence)))


def fail_on(divergence: Divergence, kinds: tuple[str, ...]) -> None:
    """Exit with 1 if a divergence has a difference of one of the kinds."""
    differs = any(count and kind in kinds for kind, count in divergence.counts.items())
    if differs or ("any" in kinds and not divergence.same):
        raise SystemExit(1)

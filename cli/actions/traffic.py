"""Plans recorded traffic under a version, and prints what it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import click

from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import echo_json
from lmflow.cli.text.amounts import UNKNOWN, dollars
from lmflow.cli.text.tables import table
from lmflow.data.conditions import Condition
from lmflow.errors import short
from lmflow.evaluation.judging import is_judgement
from lmflow.programs.program import Program
from lmflow.replays.traffic import Traffic, traffic_of
from lmflow.replays.what_if import CostEstimate, what_if
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Trace
from lmflow.values.batches import batches
from lmflow.versions.version import Version
from lmflow.views.lines import counted

_BATCH = 64
_SHOWN = 20
_NANO = 1e9


@attrs.frozen(kw_only=True)
class TrafficRequest:
    """The traffic to plan: conditions, a run if only its executions count, the program and the
    version.
    """

    conditions: tuple[Condition, ...]
    run: str
    target: str
    version: Version | None
    name: str


@attrs.frozen
class PlannedTraffic:
    """The costs by run, and the numbers of executions that could not be planned, by reason."""

    by_run: dict[str, Traffic]
    left_out: dict[str, int]

    @property
    def total(self) -> Traffic:
        """The sum over all runs."""
        total = Traffic()
        for part in self.by_run.values():
            total += part
        return total


def plan_traffic(reader: Reader, request: TrafficRequest) -> PlannedTraffic:
    """Plan all executions that fulfil the conditions; nothing is sent.

    Judgements are left out, and executions of other programs if one is named.
    """
    run = reader.place(request.run).run if request.run else ""
    listed = reader.listing.traces(request.conditions, run=run)
    executions = [item for item in listed if not is_judgement(item.label)]
    by_run: dict[str, Traffic] = {}
    left_out: dict[str, int] = {}
    programs: dict[str, Program] = {}
    for batch in batches(executions, _BATCH):
        traces = reader.traces_at([item.row for item in batch])
        for item, trace in zip(batch, traces, strict=True):
            reason = _obstacle(trace, request)
            if reason:
                left_out[reason] = left_out.get(reason, 0) + 1
                continue
            target = request.target or trace.target
            if target not in programs:
                programs[target] = load_program(target)
            plan = what_if(trace, programs[target], request.version)
            by_run[item.run] = by_run.get(item.run, Traffic()) + traffic_of(plan)
    return PlannedTraffic(by_run, left_out)


def _obstacle(trace: Trace, request: TrafficRequest) -> str:
    """Return why an execution can't be planned; empty if it can."""
    if not trace.done:
        return "never ended"
    if request.target and trace.target and trace.target != request.target:
        return "ran another program"
    if not (request.target or trace.target):
        return "do not name their program: add --program MODULE:PROGRAM"
    return ""


def print_traffic(planned: PlannedTraffic, request: TrafficRequest, *, as_json: bool) -> None:
    """Print what the traffic cost, and what it would cost."""
    total = planned.total
    if as_json:
        runs = [{"run": run, **part.to_json()} for run, part in planned.by_run.items()]
        version = request.version.id if request.version else ""
        facts = {"version": version, **total.to_json(), "left_out": planned.left_out, "runs": runs}
        echo_json(facts)
        return
    if not total.executions:
        _print_left_out(planned)
        raise click.ClickException(
            "no execution to plan; `lmflow runs ls` lists the runs. Loosen a --where."
        )
    under = f"under {request.name}" if request.name else "with the program of now"
    if request.version is not None and request.name != short(request.version.id):
        under += f" ({short(request.version.id)})"
    click.echo(
        f"{counted(total.executions, 'execution')} of {counted(len(planned.by_run), 'run')}, "
        f"{total.changed} of them changed {under}"
    )
    rows = [
        _row("as recorded", total.recorded),
        _row("all of it, at least", total.whole_least),
        _row("all of it, with what may change", total.whole_most),
        _row("replayed: reused", total.kept),
        _row("replayed: sent at least", total.least),
        _row("replayed: sent with what may change", total.most),
    ]
    click.echo(table(rows, ("", "calls", "tokens", "cost", "unknown")))
    _print_runs(planned)
    _print_left_out(planned)
    if total.recorded.unknown or total.most.unknown:
        click.echo("unknown: calls without a recorded size or price, which no sum has.", err=True)
    click.echo("Nothing was sent. `lmflow replay RUN --version REF --live` sends a run's calls.")


def _print_runs(planned: PlannedTraffic) -> None:
    rows = [
        {
            "run": run,
            "executions": part.executions,
            "changed": part.changed,
            "recorded": _money(part.recorded),
            "least": _money(part.whole_least),
            "most": _money(part.whole_most),
        }
        for run, part in list(planned.by_run.items())[:_SHOWN]
    ]
    if len(planned.by_run) > 1:
        click.echo()
        click.echo(table(rows, ("run", "executions", "changed", "recorded", "least", "most")))
    if len(planned.by_run) > _SHOWN:
        more = len(planned.by_run) - _SHOWN
        click.echo(f"... and {counted(more, 'run')} more (--json lists all)")


def _print_left_out(planned: PlannedTraffic) -> None:
    for reason, count in planned.left_out.items():
        click.echo(f"left out: {counted(count, 'execution')} that {reason}", err=True)


def _row(name: str, estimate: CostEstimate) -> dict[str, Any]:
    return {
        "": name,
        "calls": estimate.calls,
        "tokens": estimate.tokens,
        "cost": _money(estimate),
        "unknown": estimate.unknown or "",
    }


def _money(estimate: CostEstimate) -> str:
    if estimate.unknown and not estimate.cost:  # calls of tools alone have a price, which is 0
        return UNKNOWN
    usd = None if estimate.cost is None else estimate.cost / _NANO
    return dollars(usd, estimate.unknown)


def refused_with_where(options: Sequence[tuple[str, bool]]) -> None:
    """Raise an error if an option is given that fits one run alone."""
    for name, is_given in options:
        if is_given:
            raise click.ClickException(
                f"{name} replays one run: name it, and leave out --where. `lmflow runs ls --where` "
                "lists the runs."
            )

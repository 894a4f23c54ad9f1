"""Commands that explain an answer: ``why`` it is as it is, and ``bisect``, which version broke it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import click

from lmflow.cli.commands.replay import program_of
from lmflow.cli.loading.programs import function, load
from lmflow.cli.loading.recorded_work import adapters_of, recorded_model
from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.cli.text.terminal import line
from lmflow.errors import NotFound, short
from lmflow.execution.executor import Executor
from lmflow.programs.program import Program, take
from lmflow.replays.provenance import why as provenance
from lmflow.replays.what_if import Estimate, Plan, what_if
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.trace import Trace
from lmflow.values.printing import clean
from lmflow.values.record import Record
from lmflow.versions.bisect import FirstBad, NextProbe, between, search
from lmflow.versions.version import Version


@click.command()
@click.argument("trace")
@click.option(
    "--program",
    "target",
    default="",
    metavar="MODULE:PROGRAM",
    help="The program, to tell its steps apart.",
)
@store_option
@json_option
def why(trace: str, target: str, store: str, *, as_json: bool) -> None:
    """Show where an answer comes from.

    Its calls, the versions of their parameters, demonstrations and what made them. TRACE is the id
    of a trace, or of a run with one.

    \b
    Example:
      lmflow why RUN
    """
    with reading(store) as reader:
        found = provenance(_trace(reader, trace), reader.version, load(target) if target else None)
    if as_json:
        echo_json(found.to_json())
    else:
        click.echo(clean(str(found)))


@click.command()
@click.argument("good")
@click.argument("bad")
@click.option(
    "--example",
    required=True,
    metavar="LABEL|JSON",
    help="An example of --run by its label, or an object.",
)
@click.option(
    "--metric",
    required=True,
    metavar="MODULE:FUNCTION",
    help="(example, outputs) -> number or bool.",
)
@click.option("--run", "run", default="", metavar="RUN", help="The run that the label is of.")
@click.option(
    "--program",
    "target",
    default="",
    metavar="MODULE:PROGRAM",
    help="The program; by default the run's.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Ask what no recording answers; otherwise only the price is quoted.",
)
@click.option("--model", metavar="PROVIDER/MODEL", help="The model; by default the run's.")
@store_option
@json_option
def bisect(good: str, bad: str, target: str, store: str, *, as_json: bool, **given: Any) -> None:
    """Find the version that broke an example.

    It lies between GOOD and BAD along first parents. Recorded answers are used first. It assumes
    that what broke once stayed broken. A version is good where it scores more than halfway from BAD
    to GOOD; a failure is bad.

    \b
    Example:
      lmflow bisect good bad --run RUN --example '{"question": "How long?"}' --metric app:brief
    """
    with reading(store) as reader:
        recorded = reader.run(given["run"]) if given["run"] else None
        example, found = _example(given["example"], recorded)
        if recorded is None and not target:
            raise click.ClickException("which program? Add --program MODULE:PROGRAM, or --run RUN.")
        program = load(target) if target else program_of(recorded, "")
        line_ = between(reader.version(good), reader.version(bad), reader.version)
        known = [] if found is None else [found]
        known += reader.traces_of(take(program, example).inputs)
    judged = _Judged(program, example, function(given["metric"]), tuple(t for t in known if t.done))
    scores = judged.stored(line_)
    answer = search(line_, scores)
    if isinstance(answer, NextProbe):
        click.echo(f"{_quoted(judged, line_, scores, answer)}", err=True)
    if isinstance(answer, NextProbe) and given["live"]:
        model = given["model"] or (recorded_model(recorded) if recorded else None)
        named, adapters = (recorded.target, adapters_of(recorded)) if recorded else ("", {})
        with SqliteStore(store) as kept:
            scores = asyncio.run(
                _asked(
                    judged,
                    line_,
                    scores,
                    Executor(model, kept, target=target or named, adapters=adapters),
                )
            )
        answer = search(line_, scores)
    _answered(line_, scores, answer, as_json=as_json)


@attrs.frozen(eq=False)
class _Judged:
    """An example, how it is judged, and the recordings of it that there are."""

    program: Program
    example: Mapping[str, Any]
    metric: Callable[..., Any]
    recordings: tuple[Trace, ...]

    def plans(self, version: Version) -> list[Plan]:
        """What each recording would be under a version, the cheapest first."""
        plans = [what_if(trace, self.program, version) for trace in self.recordings]
        return sorted(plans, key=lambda plan: (plan.results[0][1] is None, plan.most.calls))

    def stored(self, line_: tuple[Version, ...]) -> dict[int, float | None]:
        """The scores of the versions whose answer is known without asking, by position."""
        found = {position: self.plans(version)[:1] for position, version in enumerate(line_)}
        known = {at: plans[0].results[0][1] for at, plans in found.items() if plans}
        return {at: self.score(trace) for at, trace in known.items() if trace is not None}

    def score(self, trace: Trace) -> float | None:
        """What the metric says of an execution, ``None`` for a failed one."""
        return (
            None
            if trace.outputs is None
            else float(self.metric(Record(self.example), trace.outputs))
        )


async def _asked(
    judged: _Judged, line_: tuple[Version, ...], scores: dict[int, float | None], executor: Executor
) -> dict[int, float | None]:
    """The scores with those that the search needed, each asked for what no recording answers."""
    async with executor as ex:
        while isinstance(answer := search(line_, scores), NextProbe):
            version, plans = line_[answer.position], judged.plans(line_[answer.position])
            if plans:
                base = plans[0].divergence.items[0].trace
                trace = (await ex.replay(base, judged.program, version)).traces[0]
            else:
                trace = (await ex.map(judged.program, [judged.example], version)).traces[0]
            judged = attrs.evolve(judged, recordings=(*judged.recordings, trace))
            scores = {**scores, answer.position: judged.score(trace)}
            click.echo(
                f"{short(version.id)}  {_score(scores[answer.position])}  {clean(version.note)}",
                err=True,
            )
    return scores


def _quoted(
    judged: _Judged, line_: tuple[Version, ...], scores: Mapping[int, float | None], answer: NextProbe
) -> str:
    head = f"{len(scores)} of {len(line_)} versions are answered by recordings; at most {answer.most} more are needed"
    quotes = [
        plans[0].most
        for at, version in enumerate(line_)
        if at not in scores
        if (plans := judged.plans(version))
    ]
    dearest: Estimate | None = max(
        quotes, key=lambda quote: (quote.tokens, quote.calls), default=None
    )
    return (
        f"{head}, each at most {dearest}."
        if dearest
        else f"{head}; no recording tells their price."
    )


def _answered(
    line_: tuple[Version, ...],
    scores: Mapping[int, float | None],
    answer: FirstBad | NextProbe,
    *,
    as_json: bool,
) -> None:
    rows = [
        {
            "version": version.id,
            "note": version.note,
            "known": at in scores,
            "score": scores.get(at),
        }
        for at, version in enumerate(line_)
    ]
    if as_json:
        found = (
            {"good": answer.good.id, "bad": answer.bad.id} if isinstance(answer, FirstBad) else None
        )
        echo_json({"found": found, "versions": rows})
        return
    for row in rows:
        said = _score(row["score"]) if row["known"] else "not judged"
        click.echo(f"{short(str(row['version']))}  {said}  {clean(str(row['note']))}".rstrip())
    if isinstance(answer, FirstBad):
        click.echo(f"first bad: {short(answer.bad.id)}  {clean(answer.bad.note)}".rstrip())
        click.echo(
            f"`lmflow diff {short(answer.good.id)} {short(answer.bad.id)}` shows what it changed."
        )
    else:
        click.echo("Nothing was sent. Add --live to ask what is needed.")


def _score(score: Any) -> str:
    return "failed" if score is None else f"{score:g}"


def _example(given: str, recorded: Any) -> tuple[Mapping[str, Any], Trace | None]:
    """The example and its recording: of a label in the run, or as JSON."""
    if given.lstrip().startswith("{"):
        try:
            return json.loads(given), None
        except json.JSONDecodeError as error:
            raise click.ClickException(f"--example is no JSON object ({error.msg}).") from None
    if recorded is None:
        raise click.ClickException(
            f"which run is {given!r} of? Add --run RUN, or give the example as JSON."
        )
    labels = dict(recorded.items)
    trace = labels.get(given) or labels.get(f"ex[{given}]")
    if trace is None:
        raise click.ClickException(
            f"run {recorded.id} has no {given!r}; it has {line(', '.join(labels))}."
        )
    return trace.inputs, trace


def _trace(reader: Reader, wanted: str) -> Trace:
    try:
        return reader.trace(wanted)
    except NotFound:
        traces = reader.run(wanted).traces
    if len(traces) != 1:
        ids = ", ".join(trace.id for trace in traces[:4])
        raise click.ClickException(f"run {wanted} has {len(traces)} traces, name one: {ids}")
    return traces[0]

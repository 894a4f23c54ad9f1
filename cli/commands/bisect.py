"""The command ``bisect``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs
import click

from lmflow.adapters.registry import AnyAdapter
from lmflow.cli.commands.completion import complete_ref, complete_run
from lmflow.cli.loading.metrics import METRIC_HELP, load_function_metric, score_trace
from lmflow.cli.loading.own import load_adapters
from lmflow.cli.loading.programs import load_program
from lmflow.cli.loading.recorded_data import recorded_datasets, recorded_example
from lmflow.cli.loading.recorded_jobs import program_of, recorded_adapters, recorded_model
from lmflow.cli.options import (
    echo_json,
    json_option,
    options_value,
    program_option,
    store_option,
)
from lmflow.cli.text.terminal import line
from lmflow.errors import NotBisectable, short
from lmflow.execution.executor import Executor
from lmflow.metrics import Metric
from lmflow.programs.program import Program, pending_of
from lmflow.replays.what_if import Plan, what_if
from lmflow.stores.opened import open_store, reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run, Trace
from lmflow.values.json_text import parse
from lmflow.values.printing import clean
from lmflow.versions.bisect import FirstBad, NextProbe, between, search
from lmflow.versions.version import Version

Scores = Mapping[int, float | None]
"""Scores by position in the line of versions, ``None`` for a failed execution."""


@attrs.frozen(kw_only=True)
class BisectOptions:
    """The arguments and options of ``bisect``."""

    good: str
    bad: str
    example: str
    metric: str
    run: str
    target: str
    live: bool
    model: str | None
    store: str
    as_json: bool


@click.command()
@click.argument("good", shell_complete=complete_ref)
@click.argument("bad", shell_complete=complete_ref)
@click.option(
    "--example",
    required=True,
    metavar="LABEL|JSON",
    help="An example by its label in --run, as RUN/LABEL, or as a JSON object with the fields of "
    "the metric.",
)
@click.option(
    "--metric",
    required=True,
    metavar="METRIC",
    help=METRIC_HELP,
)
@click.option(
    "--run",
    "run",
    default="",
    metavar="RUN",
    shell_complete=complete_run,
    help="The run that has the label.",
)
@program_option("The program; by default the run's.")
@click.option(
    "--live",
    is_flag=True,
    help="Send the calls that no recording answers; without it only their price is printed.",
)
@click.option("--model", metavar="PROVIDER/MODEL", help="The model; by default the run's.")
@store_option
@json_option
@options_value(BisectOptions)
def bisect(options: BisectOptions) -> None:
    """Find the version that broke an example.

    The version lies between GOOD and BAD along first parents. Recorded answers are used first. The
    search assumes that an example stays broken once a version broke it. A version is good if it
    scores more than halfway from BAD to GOOD; a failure is bad.

    \b
    Example:
      lmflow bisect good bad --run RUN --example '{"question": "How long?"}' --metric app:brief
    """
    with reading(options.store) as reader:
        recorded, label = _run_and_label(reader, options)
        own_trace = _labelled_trace(label, recorded)
        program = _program(recorded, options.target)
        example = _example(label, own_trace, recorded, program, reader)
        versions = between(
            reader.version(options.good), reader.version(options.bad), reader.version
        )
        traces = [] if own_trace is None else [own_trace]
        traces += reader.traces_of(pending_of(program, example).inputs)
    metric = load_function_metric(options.metric)
    judge = _ExampleJudge(program, example, metric, tuple(t for t in traces if t.done))
    scores: Scores = judge.recorded_scores(versions)
    answer = search(versions, scores)
    if isinstance(answer, NextProbe):
        click.echo(_price_line(judge, versions, scores, answer), err=True)
    if isinstance(answer, NextProbe) and options.live:
        scores = _live_scores(judge, versions, scores, recorded, options)
        answer = search(versions, scores)
    _print_answer(versions, scores, answer, as_json=options.as_json)


@attrs.frozen(eq=False)
class _ExampleJudge:
    """Scores an example under versions, from its recordings if they answer it."""

    program: Program
    example: Mapping[str, Any]
    metric: Metric
    recordings: tuple[Trace, ...]

    def plans(self, version: Version) -> list[Plan]:
        """Return the plan of replaying each recording under a version, the cheapest first."""
        plans = [what_if(trace, self.program, version) for trace in self.recordings]
        return sorted(plans, key=lambda plan: (plan.results[0][1] is None, plan.most.calls))

    def recorded_scores(self, versions: tuple[Version, ...]) -> dict[int, float | None]:
        """Return the scores of the versions that recordings answer without a call, by position."""
        scores = {}
        for position, version in enumerate(versions):
            plans = self.plans(version)
            trace = plans[0].results[0][1] if plans else None
            if trace is not None:
                scores[position] = self.score(trace)
        return scores

    def score(self, trace: Trace) -> float | None:
        """Return the metric's score of an execution, ``None`` if the execution failed."""
        if trace.outputs is None:
            return None
        return score_trace(self.metric, self.example, trace).value


def _live_scores(
    judge: _ExampleJudge,
    versions: tuple[Version, ...],
    scores: Scores,
    recorded: Run | None,
    options: BisectOptions,
) -> Scores:
    """Return the scores with those that the search needs, sending the calls that are missing."""
    model, target = options.model, options.target
    adapters: Mapping[str, AnyAdapter] = {}
    if recorded:
        model = model or recorded_model(recorded)
        target = target or recorded.target
        adapters = load_adapters(recorded_adapters(recorded), target)
    with open_store(options.store) as store:
        executor = Executor(model, store, target=target, adapters=adapters)
        return asyncio.run(_search_live(judge, versions, scores, executor))


async def _search_live(
    judge: _ExampleJudge, versions: tuple[Version, ...], scores: Scores, executor: Executor
) -> Scores:
    async with executor as ex:
        while isinstance(answer := search(versions, scores), NextProbe):
            version = versions[answer.position]
            plans = judge.plans(version)
            if plans:
                base = plans[0].divergence.items[0].trace
                run = await ex.replay(base, judge.program, version=version)
            else:
                run = await ex.map(judge.program, [judge.example], version=version)
            trace = run.traces[0]
            judge = attrs.evolve(judge, recordings=(*judge.recordings, trace))
            score = judge.score(trace)
            scores = {**scores, answer.position: score}
            click.echo(_version_line(version, _score_text(score)), err=True)
    return scores


def _price_line(
    judge: _ExampleJudge, versions: tuple[Version, ...], scores: Scores, answer: NextProbe
) -> str:
    """Return the line that says how many executions are missing, and the most that one takes."""
    head = (
        f"{len(scores)} of {len(versions)} versions are answered by recordings; "
        f"at most {answer.most} more are needed"
    )
    missing = [version for position, version in enumerate(versions) if position not in scores]
    plans = [judge.plans(version)[:1] for version in missing]
    estimates = [cheapest[0].most for cheapest in plans if cheapest]
    if not estimates:
        return f"{head}; no recording tells their price."
    dearest = max(estimates, key=lambda estimate: (estimate.tokens, estimate.calls))
    return f"{head}, each at most {dearest}."


def _print_answer(
    versions: tuple[Version, ...], scores: Scores, answer: FirstBad | NextProbe, *, as_json: bool
) -> None:
    recorded = answer if isinstance(answer, FirstBad) else _first_bad_recorded(versions, scores)
    if as_json:
        rows = [
            {
                "version": version.id,
                "note": version.note,
                "known": position in scores,
                "score": scores.get(position),
            }
            for position, version in enumerate(versions)
        ]
        exact = _ids(recorded) if isinstance(answer, FirstBad) else None
        echo_json({"found": exact, "recorded": _ids(recorded), "versions": rows})
        return
    for position, version in enumerate(versions):
        text = _score_text(scores[position]) if position in scores else "not judged"
        click.echo(_version_line(version, text))
    if isinstance(answer, FirstBad):
        good, bad = short(answer.good.id), short(answer.bad.id)
        click.echo(f"first bad: {bad}  {clean(answer.bad.note)}".rstrip())
        click.echo(f"`lmflow diff {good} {bad}` shows what it changed.")
        return
    if recorded:
        good, bad = short(recorded.good.id), short(recorded.bad.id)
        click.echo(f"first bad of the recorded: {bad}; last good of the recorded: {good}")
    click.echo("Nothing was sent. Add --live to send the calls that are missing.")


def _first_bad_recorded(versions: tuple[Version, ...], scores: Scores) -> FirstBad | None:
    """Return the first bad version and the good one before it among those that have a score."""
    positions = sorted(scores)
    recorded = tuple(versions[position] for position in positions)
    if len(recorded) <= 1:
        return None
    by_place = {place: scores[position] for place, position in enumerate(positions)}
    try:
        answer = search(recorded, by_place)
    except NotBisectable:
        return None
    return answer if isinstance(answer, FirstBad) else None


def _ids(answer: FirstBad | None) -> dict[str, str] | None:
    return None if answer is None else {"good": answer.good.id, "bad": answer.bad.id}


def _version_line(version: Version, score: str) -> str:
    return f"{short(version.id)}  {score}  {clean(version.note)}".rstrip()


def _score_text(score: float | None) -> str:
    return "failed" if score is None else f"{score:g}"


def _program(recorded: Run | None, target: str) -> Program:
    if target:
        return load_program(target)
    if recorded is None:
        raise click.ClickException("which program? Add --program MODULE:PROGRAM, or --run RUN.")
    return program_of(recorded, "")


def _run_and_label(reader: Reader, options: BisectOptions) -> tuple[Run | None, str]:
    """Return the run of the example, if one is named, and the example's label or JSON."""
    text = options.example
    if options.run:
        return reader.run(reader.place(options.run).run), text
    if _is_json(text) or "/" not in text:
        return None, text
    place = reader.place(text)
    return reader.run(place.run), place.label


def _labelled_trace(text: str, recorded: Run | None) -> Trace | None:
    """Return the trace of a label in the run, ``None`` if the text is JSON."""
    if _is_json(text):
        return None
    if recorded is None:
        raise click.ClickException(
            f"which run has {text!r}? Add --run RUN, write RUN/{text}, or give the example as JSON."
        )
    traces = dict(recorded.items)
    trace = traces.get(text) or traces.get(f"ex[{text}]")
    if trace is None:
        raise click.ClickException(
            f"run {recorded.id} has no {text!r}; it has {line(', '.join(traces))}."
        )
    return trace


def _example(
    text: str, trace: Trace | None, recorded: Run | None, program: Program, reader: Reader
) -> Mapping[str, Any]:
    """Return the example: that of the trace in the run's data set, else its inputs, or the JSON."""
    if trace is None or recorded is None:
        return _json_example(text)
    label = next(label for label, other in recorded.items if other is trace)
    datasets = recorded_datasets(recorded, reader, program)
    example = recorded_example(recorded, label, trace, datasets)
    return trace.inputs if example is None else example


def _json_example(text: str) -> dict[str, Any]:
    try:
        example = parse(text)
    except ValueError as error:
        raise click.ClickException(f"--example is not a JSON object ({error}).") from None
    if not isinstance(example, dict):
        raise click.ClickException(f"--example is not a JSON object: {line(example, 60)}")
    return example


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")

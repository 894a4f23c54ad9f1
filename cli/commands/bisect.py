"""The command ``bisect``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_ref, complete_run
from lmflow.cli.commands.replay import program_of
from lmflow.cli.loading.programs import load_object, load_program
from lmflow.cli.loading.recorded_jobs import recorded_adapters, recorded_model
from lmflow.cli.options import (
    echo_json,
    json_option,
    options_value,
    program_option,
    store_option,
)
from lmflow.cli.text.terminal import line
from lmflow.errors import short
from lmflow.execution.executor import Executor
from lmflow.programs.program import Program, pending_of
from lmflow.replays.what_if import Plan, what_if
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import clean
from lmflow.values.record import Record
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
    help="An example of --run by its label, or a JSON object.",
)
@click.option(
    "--metric",
    required=True,
    metavar="MODULE:FUNCTION",
    help="(example, outputs) -> number or bool.",
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
        recorded = reader.run(options.run) if options.run else None
        example, own_trace = _example(options.example, recorded)
        program = _program(recorded, options.target)
        versions = between(
            reader.version(options.good), reader.version(options.bad), reader.version
        )
        traces = [] if own_trace is None else [own_trace]
        traces += reader.traces_of(pending_of(program, example).inputs)
    metric = load_object(options.metric, "function", callable)
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
    metric: Callable[..., Any]
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
        return float(self.metric(Record(self.example), trace.outputs))


def _live_scores(
    judge: _ExampleJudge,
    versions: tuple[Version, ...],
    scores: Scores,
    recorded: Run | None,
    options: BisectOptions,
) -> Scores:
    """Return the scores with those that the search needs, sending the calls that are missing."""
    model, target, adapters = options.model, options.target, {}
    if recorded:
        model = model or recorded_model(recorded)
        target = target or recorded.target
        adapters = recorded_adapters(recorded)
    with SqliteStore(options.store) as store:
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
                run = await ex.replay(base, judge.program, version)
            else:
                run = await ex.map(judge.program, [judge.example], version)
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
    if as_json:
        first_bad = None
        if isinstance(answer, FirstBad):
            first_bad = {"good": answer.good.id, "bad": answer.bad.id}
        rows = [
            {
                "version": version.id,
                "note": version.note,
                "known": position in scores,
                "score": scores.get(position),
            }
            for position, version in enumerate(versions)
        ]
        echo_json({"found": first_bad, "versions": rows})
        return
    for position, version in enumerate(versions):
        text = _score_text(scores[position]) if position in scores else "not judged"
        click.echo(_version_line(version, text))
    if isinstance(answer, FirstBad):
        good, bad = short(answer.good.id), short(answer.bad.id)
        click.echo(f"first bad: {bad}  {clean(answer.bad.note)}".rstrip())
        click.echo(f"`lmflow diff {good} {bad}` shows what it changed.")
    else:
        click.echo("Nothing was sent. Add --live to send the calls that are missing.")


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


def _example(text: str, recorded: Run | None) -> tuple[Mapping[str, Any], Trace | None]:
    """Return the example and its recording: by a label of the run, or as JSON."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text), None
        except json.JSONDecodeError as error:
            raise click.ClickException(f"--example is not a JSON object ({error.msg}).") from None
    if recorded is None:
        raise click.ClickException(
            f"which run has {text!r}? Add --run RUN, or give the example as JSON."
        )
    traces = dict(recorded.items)
    trace = traces.get(text) or traces.get(f"ex[{text}]")
    if trace is None:
        raise click.ClickException(
            f"run {recorded.id} has no {text!r}; it has {line(', '.join(traces))}."
        )
    return trace.inputs, trace

"""The command ``dataset from-runs``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import click

from lmflow.cli.actions.splits import print_dataset, split_into
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import json_option, options_value, program_option, store_option
from lmflow.data.conditions import Condition, condition
from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import ReplayDiverged
from lmflow.programs.program import Program
from lmflow.replays.fine_tuning import step_examples
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.stores.sqlite.trace_summaries import TraceSummary
from lmflow.values.record import Record


@attrs.frozen(kw_only=True)
class FromRunsOptions:
    """The options of ``dataset from-runs``."""

    wheres: tuple[str, ...]
    metric: str
    step: str
    name: str
    split: str
    target: str
    store: str
    as_json: bool


@click.command("from-runs")
@click.option(
    "--where",
    "wheres",
    multiple=True,
    metavar="CONDITION",
    help='A condition such as "score>0.8"; all must hold.',
)
@click.option(
    "--metric",
    "metric",
    default="",
    metavar="NAME",
    help="The name of the score that `score` reads.",
)
@click.option("--step", default="", help="Take examples of this step, not of the whole program.")
@click.option("--name", required=True, help="The name in the store.")
@click.option("--split", default="", help="Store the examples as this split; the others stay.")
@program_option("The program, if the run does not name it.")
@store_option
@json_option
@options_value(FromRunsOptions)
def from_runs(options: FromRunsOptions) -> None:
    """Make a data set of recorded executions: inputs with outputs.

    Each example knows its trace. CONDITION is a field, an operator and a literal. Fields: score,
    score.NAME, program, version, status, model, started, input.FIELD, output.FIELD. Operators: = !=
    > >= < <= and ~ (contains). Failed executions are left out, and of equal examples all but the
    first.

    \b
    Example:
      lmflow dataset from-runs --where "score>0.8" --where "model~gpt" --metric helpful --name good
    """
    conditions = [condition(where) for where in options.wheres]
    with reading(options.store) as reader:
        conditions = [_with_version_id(reader, parsed) for parsed in conditions]
        origins, rows = _gather(reader, conditions, options)
    if not rows:
        raise click.ClickException(
            "no execution matches; `lmflow runs ls` lists the runs. Loosen a --where."
        )
    name, examples = options.name, Dataset(options.name, rows.values())
    with SqliteStore(options.store) as store:
        parts = split_into(store, name, examples, (options.split,) if options.split else (), 0)
        digest = store.put_dataset(name, parts, origins=origins)
    print_dataset(name, digest, len(examples), as_json=options.as_json)


def _with_version_id(reader: Reader, criterion: Condition) -> Condition:
    """Return the condition; one on a version with the id that its ref or short id stands for."""
    if criterion.field != "version":
        return criterion
    return attrs.evolve(criterion, literal=reader.version(str(criterion.literal)).id)


def _gather(
    reader: Reader, conditions: Sequence[Condition], options: FromRunsOptions
) -> tuple[dict[str, str], dict[str, Record]]:
    """Return the traces and the examples of the matching executions, by the examples' ids."""
    origins: dict[str, str] = {}
    rows: dict[str, Record] = {}
    for fact in _matching(reader, conditions, options.metric):
        for example in _examples(reader, fact, options):
            name, row = example_id(example), example
            if name in rows and rows[name] != row:  # another example has taken the id
                row = Record({key: value for key, value in row.items() if key != "id"})
                name = example_id(row)
            if name not in rows:
                rows[name], origins[name] = row, fact.trace
    return origins, rows


def _matching(
    reader: Reader, conditions: Sequence[Condition], metric: str
) -> Iterator[TraceSummary]:
    """Yield the finished executions for which all conditions hold."""
    for fact in reader.trace_summaries():
        if fact.status == "done" and all(
            criterion.holds(_values(fact, criterion, metric)) for criterion in conditions
        ):
            yield fact


def _examples(reader: Reader, fact: TraceSummary, options: FromRunsOptions) -> list[Record]:
    if not options.step:
        return [fact.inputs | fact.outputs]
    program = load_recorded_program(fact.target, options.target)
    step = check_step(program, options.step)
    try:
        return list(step_examples(reader.trace(fact.trace), program, step))
    except ReplayDiverged as error:
        raise click.ClickException(f"trace {fact.trace}: {error}") from None


def _values(fact: TraceSummary, criterion: Condition, metric: str) -> list[Any]:
    """Return the values of a condition's field in an execution."""
    match criterion.field:
        case "score":
            metric = criterion.name or metric
            scores = [value for name, value in fact.scores if metric in {"", name}]
            return scores[-1:]
        case "model":
            return list(fact.models)
        case "input" | "output":
            record = fact.inputs if criterion.field == "input" else fact.outputs
            return [record[criterion.name]] if criterion.name in record else []
        case field:
            return [getattr(fact, field)]


def load_recorded_program(recorded: str, target: str) -> Program:
    """Load the program ``target`` if it is given, else the one that a run names."""
    if not (target or recorded):
        raise click.ClickException(
            "the run does not name its program: add --program MODULE:PROGRAM."
        )
    return load_program(target or recorded)


def check_step(program: Program, step: str) -> str:
    """Return ``step``, which must be empty or a step of the program."""
    if step and step not in program.steps:
        raise click.ClickException(
            f"{program} has no step {step!r}; it has {', '.join(program.steps)}."
        )
    return step

"""The command ``dataset from-runs``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import click

from lmflow.cli.actions.answers import (
    Draft,
    answers_from_editor,
    answers_from_file,
    write_answers,
)
from lmflow.cli.actions.splits import print_dataset, split_into
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import json_option, options_value, program_option, store_option
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition
from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import ReplayDiverged
from lmflow.programs.program import Program
from lmflow.replays.fine_tuning import step_examples
from lmflow.stores.opened import open_store, reading
from lmflow.stores.sqlite.lists.trace_summaries import TraceSummary
from lmflow.stores.sqlite.reader import Reader
from lmflow.values.record import Record


@attrs.frozen(kw_only=True)
class FromRunsOptions:
    """The options of ``dataset from-runs``."""

    conditions: tuple[Condition, ...]
    metric: str
    step: str
    name: str
    split: str
    answers: Path | None
    edit: bool
    target: str
    store: str
    as_json: bool


@click.command("from-runs")
@where_option("executions")
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
@click.option(
    "--answers",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file (.jsonl, .csv ...) with the right outputs, a row per execution, named by trace, "
    "id or all inputs. If there is no such file, it is written for you to mend.",
)
@click.option("--edit", is_flag=True, help="Mend the outputs in $EDITOR before they are stored.")
@program_option("The program, if the run does not name it.")
@store_option
@json_option
@options_value(FromRunsOptions)
def from_runs(options: FromRunsOptions) -> None:
    """Make a data set of recorded executions: inputs with outputs.

    Each example knows its trace. Conditions are those of `lmflow runs ls --help`, on executions. Of
    equal examples the first is taken. Failed executions are left out, unless a condition is on
    status or error: their examples have the inputs alone.

    The outputs of bad answers are no reference: give the right ones by --answers or --edit.

    \b
    Example:
      lmflow dataset from-runs --where "score>0.8" --where "model~gpt" --metric helpful --name good
    """
    conditions = [_named(criterion, options.metric) for criterion in options.conditions]
    with reading(options.store) as reader:
        drafts = _gather(reader, conditions, options)
    if not drafts:
        raise click.ClickException(
            "no execution matches; `lmflow runs ls` lists the runs. Loosen a --where."
        )
    if options.answers is not None and not options.answers.exists():
        write_answers(drafts, options.answers, as_json=options.as_json)
        return
    if options.answers is not None:
        drafts = answers_from_file(drafts, options.answers)
    if options.edit:
        drafts = answers_from_editor(drafts)
    rows, origins = _distinct(drafts)
    name, examples = options.name, Dataset(options.name, rows.values())
    with open_store(options.store) as store:
        parts = split_into(store, name, examples, (options.split,) if options.split else (), 0)
        digest = store.put_dataset(name, parts, origins=origins)
    print_dataset(name, digest, len(examples), as_json=options.as_json)


def _named(criterion: Condition, metric: str) -> Condition:
    """Return the condition; one on `score` alone with the name that ``--metric`` gives."""
    if criterion.field == "score" and not criterion.name:
        return attrs.evolve(criterion, name=metric)
    return criterion


def _gather(
    reader: Reader, conditions: Sequence[Condition], options: FromRunsOptions
) -> list[Draft]:
    """Return the examples of the matching executions; of equal ones the first."""
    drafts: dict[Record, Draft] = {}
    for fact in _matching(reader, conditions):
        for draft in _examples(reader, fact, options):
            drafts.setdefault(draft.example, draft)
    return list(drafts.values())


def _distinct(drafts: Sequence[Draft]) -> tuple[dict[str, Record], dict[str, str]]:
    """Return the examples and the traces that they come from, by the examples' ids."""
    rows: dict[str, Record] = {}
    origins: dict[str, str] = {}
    for draft in drafts:
        name, row = example_id(draft.example), draft.example
        if name in rows and rows[name] != row:  # another example has taken the id
            row = Record({key: value for key, value in row.items() if key != "id"})
            name = example_id(row)
        if name not in rows:
            rows[name], origins[name] = row, draft.trace
    return rows, origins


def _matching(reader: Reader, conditions: Sequence[Condition]) -> Iterator[TraceSummary]:
    """Yield the executions for which all conditions hold; failed ones only if a condition is on
    `status` or `error`.
    """
    statuses = {"done"}
    if any(criterion.field in {"status", "error"} for criterion in conditions):
        statuses.add("failed")
    for fact in reader.trace_summaries(conditions):
        if fact.status in statuses:
            yield fact


def _examples(reader: Reader, fact: TraceSummary, options: FromRunsOptions) -> list[Draft]:
    if not options.step:
        return [Draft(fact.inputs | fact.outputs, tuple(fact.outputs), fact.trace)]
    program = load_recorded_program(fact.target, options.target)
    step = check_step(program, options.step)
    leaf = program.steps[step]
    names = tuple(field.name for field in leaf.signature.outputs)
    try:
        examples = list(step_examples(reader.trace(fact.trace), program, step))
    except ReplayDiverged as error:
        raise click.ClickException(f"trace {fact.trace}: {error}") from None
    return [Draft(example, names, fact.trace) for example in examples]


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

"""Commands over data sets: ``dataset ls | show | import | from-runs | export``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.loading.programs import load
from lmflow.cli.options import Group, echo_json, json_option, store_option
from lmflow.cli.text.terminal import line, table
from lmflow.data.conditions import Condition, condition
from lmflow.data.dataset import Dataset, example_id
from lmflow.data.readers import dataset as read
from lmflow.data.splits import split as parted
from lmflow.errors import NotFound, ReplayDiverged, short
from lmflow.programs.program import Program
from lmflow.replays.fine_tuning import chats, step_examples
from lmflow.stores.sqlite.facts import Fact
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.values.media import json_with_content
from lmflow.values.record import Record, plain

_PROGRAM = click.option(
    "--program",
    "target",
    default="",
    metavar="MODULE:PROGRAM",
    help="The program, where the run doesn't name it.",
)
_OUT = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
)


@click.group(cls=Group)
def dataset() -> None:
    """Data sets in the store, kept by content. Names point at digests, and nothing kept is changed.

    \b
    Example:
      lmflow dataset ls
    """


@dataset.command("ls")
@store_option
@json_option
def ls(store: str, *, as_json: bool) -> None:
    """List data sets, with their splits.

    \b
    Example:
      lmflow dataset ls
    """
    with reading(store) as reader:
        names = reader.datasets.names()
    rows = [attrs.asdict(kept, recurse=False) for kept in names]
    if as_json:
        echo_json(rows)
        return
    shown = [
        {**row, "digest": short(row["digest"]), "splits": _sizes(row["splits"])} for row in rows
    ]
    empty = "No data sets yet. `lmflow dataset import FILE --name NAME` keeps one."
    click.echo(table(shown, ("name", "digest", "size", "splits")) if rows else empty)


@dataset.command()
@click.argument("name")
@click.option("--split", default="", help="Only this split.")
@click.option(
    "--limit", default=10, show_default=True, type=click.IntRange(1), help="How many examples."
)
@store_option
@json_option
def show(name: str, split: str, limit: int, store: str, *, as_json: bool) -> None:
    """Show a data set's digest, splits and first examples. NAME may be a digest, also a short one.

    \b
    Example:
      lmflow dataset show qa --split train
    """
    with reading(store) as reader:
        found, digest = reader.datasets.dataset(name, split), reader.datasets.digest(name)
        sizes = {part: len(rows) for part, rows in reader.datasets.splits(name).items()}
    if as_json:
        echo_json(
            {"name": name, "digest": digest, "splits": sizes, "examples": list(found[:limit])}
        )
        return
    click.echo(f"{name} {short(digest)}  {len(found)} examples  {_sizes(sizes)}".rstrip())
    for example in found[:limit]:
        click.echo(f"  {line(example, 140)}")
    if len(found) > limit:
        click.echo(f"  … {len(found) - limit} more")


@dataset.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Its name in the store; by default the file's.")
@click.option(
    "--split", "splits", multiple=True, metavar="PART[=FRACTION]",
    help="PART: the file is this split, the others stay. PART=FRACTION, repeated: part the file.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="The seed of the parting.")
@click.option(
    "--drop-repeats", is_flag=True, help="Leave out rows that are equal to an earlier one."
)
@click.option(
    "--program",
    "target",
    default="",
    metavar="MODULE:PROGRAM",
    help="Read fields as its signature says.",
)
@store_option
@json_option
def import_(
    file: Path, name: str, splits: tuple[str, ...], store: str, *, as_json: bool, **given: Any
) -> None:
    """Keep the examples of a file under a name.

    Files are .jsonl, .json, .csv, .tsv and .parquet. With --program fields are read as its
    signature says.

    \b
    Example:
      lmflow dataset import qa.jsonl --name qa --split train=0.5 --split select=0.3 --split held=0.2
    """
    program = load(given["target"]) if given["target"] else None
    rows = read(file, signature=program, drop_repeats=given["drop_repeats"])
    name = name or file.stem
    with SqliteStore(store) as kept:
        digest = kept.put_dataset(name, _parts(kept, name, rows, splits, given["seed"]))
    _said(name, digest, rows, as_json=as_json)


@dataset.command("from-runs")
@click.option(
    "--where",
    "wheres",
    multiple=True,
    metavar="CONDITION",
    help='Such as "score>0.8"; all must hold.',
)
@click.option(
    "--metric-name", "metric", default="", metavar="NAME", help="The score that `score` means."
)
@click.option("--step", default="", help="Examples of this step, not of the whole program.")
@click.option("--name", required=True, help="Its name in the store.")
@click.option("--split", default="", help="Keep it as this split, the others stay.")
@_PROGRAM
@store_option
@json_option
def from_runs(  # noqa: PLR0913 - one an option
    wheres: tuple[str, ...],
    name: str,
    split: str,
    target: str,
    store: str,
    *,
    as_json: bool,
    **given: str,
) -> None:
    """Make a data set of recorded executions: inputs with outputs.

    Each example knows its trace. CONDITION is a field, an operator and a literal. Fields: score,
    score.NAME, program, version, status, model, started, input.FIELD, output.FIELD. Operators: = !=
    > >= < <= and ~ (contains). Failed executions are left out, and of equal examples all but the
    first.

    \b
    Example:
      lmflow dataset from-runs --where "score>0.8" --where "model~gpt" --metric-name helpful --name good
    """
    conditions = [condition(where) for where in wheres]
    with reading(store) as reader:
        conditions = [_resolved(reader, found) for found in conditions]
        origins, rows = _gathered(reader, conditions, given["metric"], given["step"], target)
    if not rows:
        raise click.ClickException(
            "no execution fits; `lmflow runs ls` lists what there is. Loosen a --where."
        )
    found = Dataset(name, rows.values())
    with SqliteStore(store) as kept:
        parts = _parts(kept, name, found, (split,) if split else (), 0)
        digest = kept.put_dataset(name, parts, origins=origins)
    _said(name, digest, found, as_json=as_json)


@dataset.command()
@click.argument("name")
@click.option("--split", default="", help="Only this split.")
@click.option(
    "--format", "form", default="jsonl", show_default=True, type=click.Choice(["jsonl", "sft"]),
    help="jsonl: the examples. sft: the exact chats of each step of their traces, for fine-tuning.",
)  # fmt: skip
@click.option("--step", default="", help="Only this step (sft).")
@_PROGRAM
@_OUT
@store_option
@json_option
def export(  # noqa: PLR0913 - one an option
    name: str,
    split: str,
    form: str,
    store: str,
    *,
    step: str,
    target: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write a data set as JSON lines.

    They are its examples, or the chats to fine-tune each step on.

    \b
    Example:
      lmflow dataset export good --format sft --out good.jsonl
    """
    with reading(store) as reader:
        if form == "jsonl":
            rows: Iterator[Any] = iter(reader.datasets.dataset(name, split))
            written = written_lines(rows, out)
        else:
            written = written_lines(_chats(reader, name, split, step, target), out)
    if not written:
        raise click.ClickException(
            f"no call of {step or 'any step'} came to outputs: there is nothing to tune on."
        )
    told(written, "lines", out, as_json=as_json)


def told(written: int, what: str, out: Path | None, *, as_json: bool) -> None:
    """Say what was written to a file; the lines on a terminal are JSON themselves."""
    if out and as_json:
        echo_json({what: written, "out": str(out)})
    elif out:
        click.echo(f"{written} {what} in {out}")


def written_lines(rows: Iterator[Any], out: Path | None) -> int:
    """Write rows as JSON lines, to the terminal in ASCII; how many they were."""
    count = 0
    if out is None:
        for count, row in enumerate(rows, 1):  # noqa: B007 - how many there were
            click.echo(json.dumps(plain(row, kept=True), default=json_with_content))
        return count
    try:
        with out.open("w", encoding="utf-8") as file:
            for count, row in enumerate(rows, 1):  # noqa: B007
                file.write(
                    json.dumps(plain(row, kept=True), default=json_with_content, ensure_ascii=False) + "\n"
                )
    except OSError as error:
        raise click.ClickException(f"{out} can't be written ({error.strerror}).") from None
    return count


def _chats(
    reader: Reader, name: str, split: str, step: str, target: str
) -> Iterator[Mapping[str, Any]]:
    origins = reader.datasets.origins(name)
    wanted = {example_id(example) for example in reader.datasets.dataset(name, split)}
    traces = dict.fromkeys(trace for known, trace in origins.items() if known in wanted)
    if not traces:
        raise click.ClickException(
            f"the examples of {name!r} come from no recorded run: `lmflow dataset from-runs` makes those that do."
        )
    for trace in traces:
        found = reader.trace(trace)
        program = _program(found.target, target)
        yield from (chat.to_json() for chat in chats(found, program, _step(program, step)))


def _parts(
    kept: SqliteStore, name: str, rows: Dataset, splits: tuple[str, ...], seed: int
) -> Dataset | Mapping[str, Dataset]:
    """The rows as they are put: whole, parted by fractions, or as one split beside those that are
    there.
    """
    if not splits:
        return rows
    whole, *others = splits
    if all("=" in part for part in splits):
        return parted(rows, {part.partition("=")[0]: _fraction(part) for part in splits}, seed=seed)
    if others:
        raise click.ClickException(
            "give one --split PART, or for each part its fraction, --split train=0.8."
        )
    try:
        held = {part: found for part, found in kept.splits(name).items() if part}
    except NotFound:
        held = {}
    return {**held, whole: rows}


def _fraction(part: str) -> float:
    name, _, text = part.partition("=")
    try:
        return float(text)
    except ValueError:
        raise click.ClickException(
            f"--split {part}: {text!r} is no fraction. Write --split {name}=0.5."
        ) from None


def _resolved(reader: Reader, found: Condition) -> Condition:
    """A condition on a version by the id that its ref or short id stands for."""
    if found.field != "version":
        return found
    return attrs.evolve(found, literal=reader.version(str(found.literal)).id)


def _gathered(
    reader: Reader, conditions: list[Condition], metric: str, step: str, target: str
) -> tuple[dict[str, str], dict[str, Record]]:
    """The traces and the examples of the executions that fit, by the examples' ids."""
    origins: dict[str, str] = {}
    rows: dict[str, Record] = {}
    for fact in reader.facts():
        if fact.status != "done" or not all(
            found.holds(_values(fact, found, metric)) for found in conditions
        ):
            continue
        for example in _examples(reader, fact, step, target):
            name = example_id(example)
            if name in rows and rows[name] != example:
                example = Record({key: value for key, value in example.items() if key != "id"})  # noqa: PLW2901
                name = example_id(example)
            if name not in rows:
                rows[name], origins[name] = example, fact.trace
    return origins, rows


def _examples(reader: Reader, fact: Fact, step: str, target: str) -> list[Record]:
    if not step:
        return [fact.inputs | fact.outputs]
    program = _program(fact.target, target)
    try:
        return list(step_examples(reader.trace(fact.trace), program, _step(program, step)))
    except ReplayDiverged as error:
        raise click.ClickException(f"trace {fact.trace}: {error}") from None


def _values(fact: Fact, found: Condition, metric: str) -> list[Any]:
    """The values of a condition's field in an execution."""
    match found.field:
        case "score":
            named = [value for name, value in fact.scores if (found.name or metric) in {"", name}]
            return named[-1:]
        case "model":
            return list(fact.models)
        case "input" | "output":
            record = fact.inputs if found.field == "input" else fact.outputs
            return [record[found.name]] if found.name in record else []
        case field:
            return [getattr(fact, field)]


def _program(recorded: str, target: str) -> Program:
    if not (target or recorded):
        raise click.ClickException(
            "the run doesn't name its program: add --program MODULE:PROGRAM."
        )
    return load(target or recorded)


def _step(program: Program, step: str) -> str:
    if step and step not in program.steps:
        raise click.ClickException(
            f"{program} has no step {step!r}; it has {', '.join(program.steps)}."
        )
    return step


def _said(name: str, digest: str, rows: Dataset, *, as_json: bool) -> None:
    if as_json:
        echo_json({"name": name, "digest": digest, "examples": len(rows)})
        return
    click.echo(f"{name} {short(digest)}  {len(rows)} examples")


def _sizes(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in splits.items() if split)

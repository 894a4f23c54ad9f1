"""The commands ``dataset ls``, ``show``, ``import`` and ``export``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.actions.json_lines import print_written, write_json_lines
from lmflow.cli.actions.splits import print_dataset, split_into
from lmflow.cli.commands.dataset_from_runs import check_step, from_runs, load_recorded_program
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import (
    Group,
    allow_files_option,
    echo_json,
    json_option,
    limit_option,
    options_value,
    program_option,
    store_option,
)
from lmflow.cli.text.amounts import more_line
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.tables import table, terminal_width
from lmflow.cli.text.terminal import line
from lmflow.data.dataset import example_id
from lmflow.data.readers import dataset as read_dataset
from lmflow.errors import short
from lmflow.replays.fine_tuning import chats
from lmflow.stores.opened import open_store, reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.values.printing import clean
from lmflow.values.widths import cut
from lmflow.views.lines import counted


@click.group(cls=Group)
def dataset() -> None:
    """List, import and export data sets of the store.

    Data sets are stored by content: names point at digests, and no stored example is changed.

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
    rows = [attrs.asdict(name, recurse=False) for name in names]
    if as_json:
        echo_json(rows)
        return
    if not rows:
        click.echo("No data sets yet. `lmflow dataset import FILE --name NAME` stores one.")
        return
    shown = [
        {**row, "digest": short(row["digest"]), "splits": _sizes(row["splits"])} for row in rows
    ]
    click.echo(table(shown, ("name", "digest", "size", "splits")))


@dataset.command()
@click.argument("name")
@click.option("--split", default="", help="Show only this split.")
@limit_option(10, "examples")
@pager_option
@store_option
@json_option
def show(name: str, split: str, limit: int, store: str, *, as_json: bool) -> None:
    """Show a data set's digest, splits and first examples.

    NAME is a name, a digest or the beginning of a digest.

    \b
    Example:
      lmflow dataset show qa --split train
    """
    with reading(store) as reader:
        examples = reader.datasets.dataset(name, split)
        digest = reader.datasets.digest(name)
        sizes = {part: len(rows) for part, rows in reader.datasets.splits(name).items()}
    first = list(examples[:limit])
    if as_json:
        echo_json({"name": name, "digest": digest, "splits": sizes, "examples": first})
        return
    count = counted(len(examples), "example")
    head = f"{clean(name)} {short(digest)}  {count}  {clean(_sizes(sizes))}".rstrip()
    width = (terminal_width() or 140) - 2
    page("\n".join([head, *(f"  {cut(line(example, width), width)}" for example in first)]))
    more_line(len(first), len(examples), "--all, or --limit N")


@attrs.frozen(kw_only=True)
class ImportOptions:
    """The arguments and options of ``dataset import``."""

    file: Path
    name: str
    splits: tuple[str, ...]
    seed: int
    drop_repeats: bool
    allow_files: tuple[str, ...]
    target: str
    store: str
    as_json: bool


@dataset.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="The name in the store; by default the file's.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="PART[=FRACTION]",
    help="PART: store the file as this split, the other splits stay. "
    "PART=FRACTION, repeated: divide the file.",
)
@click.option("--seed", default=0, show_default=True, help="The seed of the division.")
@click.option(
    "--drop-repeats", is_flag=True, help="Leave out rows that are equal to an earlier one."
)
@allow_files_option
@program_option("Read the fields as this program's signature says.")
@store_option
@json_option
@options_value(ImportOptions)
def import_(options: ImportOptions) -> None:
    """Store the examples of a file under a name.

    Files are .jsonl, .json, .csv, .tsv and .parquet. With --program the fields are read as its
    signature says.

    \b
    Example:
      lmflow dataset import qa.jsonl --name qa --split train=0.5 --split select=0.3 --split held=0.2
    """
    program = load_program(options.target) if options.target else None
    rows = read_dataset(
        options.file,
        signature=program,
        drop_repeats=options.drop_repeats,
        allow_files=options.allow_files,
    )
    name = options.name or options.file.stem
    with open_store(options.store) as store:
        digest = store.put_dataset(
            name, split_into(store, name, rows, options.splits, options.seed)
        )
    print_dataset(name, digest, len(rows), as_json=options.as_json)


dataset.add_command(from_runs)


@attrs.frozen(kw_only=True)
class ExportOptions:
    """The arguments and options of ``dataset export``."""

    name: str
    split: str
    form: str
    step: str
    raw: bool
    target: str
    out: Path | None
    store: str
    as_json: bool


@dataset.command()
@click.argument("name")
@click.option("--split", default="", help="Export only this split.")
@click.option(
    "--format",
    "form",
    default="jsonl",
    show_default=True,
    type=click.Choice(["jsonl", "sft"]),
    help="jsonl: the examples. sft: the prompt and outputs of each step of their traces, as chats.",
)
@click.option("--step", default="", help="Export only this step (sft).")
@click.option("--raw", is_flag=True, help="Keep mistakes and their corrections in the chats (sft).")
@program_option("The program, if the run does not name it.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@store_option
@json_option
@options_value(ExportOptions)
def export(options: ExportOptions) -> None:
    """Write a data set as JSON lines.

    The lines are its examples, or the chats to fine-tune each step on.

    \b
    Example:
      lmflow dataset export good --format sft --out good.jsonl
    """
    with reading(options.store) as reader:
        if options.form == "sft":
            rows = _chats(reader, options)
        else:
            rows = iter(reader.datasets.dataset(options.name, options.split))
        count = write_json_lines(rows, options.out)
    if not count:
        raise click.ClickException(
            f"no call of {options.step or 'any step'} has outputs: there is nothing to tune on."
        )
    print_written(count, "lines", options.out, as_json=options.as_json)


def _chats(reader: Reader, options: ExportOptions) -> Iterator[Mapping[str, Any]]:
    """Yield the chats of the steps of the traces that the examples come from."""
    name = options.name
    origins = reader.datasets.origins(name)
    ids = {example_id(example) for example in reader.datasets.dataset(name, options.split)}
    traces = dict.fromkeys(trace for example, trace in origins.items() if example in ids)
    if not traces:
        raise click.ClickException(
            f"the examples of {name!r} come from no recorded run: "
            "`lmflow dataset from-runs` makes data sets that do."
        )
    for trace_id in traces:
        trace = reader.trace(trace_id)
        program = load_recorded_program(trace.target, options.target)
        for chat in chats(trace, program, check_step(program, options.step), raw=options.raw):
            yield chat.to_json()


def _sizes(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in splits.items() if split)

"""The right answers of recorded executions: from a file that a person filled in, or an editor."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.errors import writing
from lmflow.cli.options import echo_json
from lmflow.data.file_rows import ENDINGS
from lmflow.data.readers import read_rows
from lmflow.errors import BadData, near
from lmflow.values.json_text import parse
from lmflow.values.media import json_with_content
from lmflow.values.record import Record, plain
from lmflow.values.unicode import escape_surrogates
from lmflow.views.lines import counted

TRACE, ID = "trace", "id"
_WRITABLE = (".jsonl", ".csv", ".tsv")
_EDIT_HELP = (
    "Mend the outputs of each example, then save and leave the editor. "
    "Delete an example to leave it out."
)


@attrs.frozen
class Draft:
    """An example of an execution, whose outputs may be wrong.

    Args:
        example: The inputs with the recorded outputs.
        outputs: The names of the outputs.
        trace: The id of the execution.
    """

    example: Record
    outputs: tuple[str, ...]
    trace: str

    @property
    def inputs(self) -> Record:
        """The example without its outputs."""
        names = set(self.outputs)
        return Record({name: item for name, item in self.example.items() if name not in names})

    def answered(self, answer: Mapping[str, Any]) -> Draft:
        """Return the draft with the right outputs."""
        return attrs.evolve(self, example=Record({**self.inputs, **answer}))


def answers_from_file(drafts: Sequence[Draft], file: Path) -> list[Draft]:
    """Return the drafts with the answers of a file; those that it does not answer are left out.

    A row names its execution by ``trace``, by the example's ``id``, or by all inputs.
    """
    answered: dict[int, Draft] = {}
    for where, row in read_rows(file):
        place = _place(drafts, where, row)
        answered[place] = drafts[place].answered(_answer(drafts[place], where, row))
    missing = len(drafts) - len(answered)
    if not answered:
        raise BadData(str(file), "it answers none of the executions", "Give a row per execution.")
    if missing:
        click.echo(f"left out: {counted(missing, 'example')} that {file} does not answer", err=True)
    return [answered[place] for place in sorted(answered)]


def write_answers(drafts: Sequence[Draft], file: Path, *, as_json: bool) -> None:
    """Write a file with the recorded answers for a person to mend."""
    _write(drafts, file)
    if as_json:
        echo_json({"answers": str(file), "rows": len(drafts), "stored": False})
    else:
        rows = counted(len(drafts), "recorded answer")
        click.echo(f"{file} is written with {rows}: mend them, then run the same command again.")


def answers_from_editor(
    drafts: Sequence[Draft], edit: Callable[..., str | None] = click.edit
) -> list[Draft]:
    """Return the drafts with the answers that a person wrote in ``$EDITOR``."""
    entries = [
        {TRACE: draft.trace, "inputs": plain(draft.inputs), "outputs": plain(_outputs(draft))}
        for draft in drafts
    ]
    text = json.dumps({"help": _EDIT_HELP, "examples": entries}, indent=2, ensure_ascii=False)
    edited = edit(escape_surrogates(text), extension=".json", require_save=False)
    try:
        examples = parse(text if edited is None else edited)["examples"]
        given = [(int(_index(drafts, entry)), dict(entry["outputs"])) for entry in examples]
    except (ValueError, TypeError, KeyError, LookupError) as error:
        problem = f"the edited text can't be read ({error})"
        raise click.ClickException(f"{problem}. Nothing was stored.") from None
    changed = sum(plain(_outputs(drafts[place])) != answer for place, answer in given)
    click.echo(f"{changed} of {counted(len(given), 'answer')} changed", err=True)
    return [drafts[place].answered(answer) for place, answer in given]


def _outputs(draft: Draft) -> Mapping[str, Any]:
    return {name: draft.example[name] for name in draft.outputs}


def _index(drafts: Sequence[Draft], entry: Mapping[str, Any]) -> int:
    """Return the place of the draft that an edited entry is of."""
    inputs = entry["inputs"]
    for place, draft in enumerate(drafts):
        if draft.trace == entry[TRACE] and plain(draft.inputs) == inputs:
            return place
    msg = f"there is no example of trace {entry[TRACE]} with these inputs"
    raise ValueError(msg)


def _place(drafts: Sequence[Draft], where: str, row: Mapping[str, Any]) -> int:
    """Return the place of the draft that a row is of; ``BadData`` if it is of none or several."""
    places = [place for place, draft in enumerate(drafts) if _is_of(row, draft)]
    if len(places) == 1:
        return places[0]
    if not places:
        hint = ""
        if row.get(TRACE):
            hint = near(str(row[TRACE]), [draft.trace for draft in drafts])
        problem = "it is of none of the executions that the conditions choose"
        fix = f"Name its trace, its id or all its inputs.{hint}"
        raise BadData(where, problem, fix)
    raise BadData(where, f"it is of {len(places)} executions", "Name its trace.")


def _is_of(row: Mapping[str, Any], draft: Draft) -> bool:
    if row.get(TRACE):
        trace = str(row[TRACE])
        if trace not in {draft.trace, draft.trace[-len(trace) :]}:
            return False
        shared = [name for name in draft.inputs if name in row]
        return all(_same(row[name], draft.example[name]) for name in shared)
    if row.get(ID) is not None and ID in draft.example:
        return str(row[ID]) == str(draft.example[ID])
    inputs = [name for name in draft.inputs if name != ID]
    return all(name in row and _same(row[name], draft.example[name]) for name in inputs)


def _same(cell: Any, value: Any) -> bool:
    """Compare a cell of a file, which may be a text, with a recorded value."""
    return _plain(cell) == _plain(value) or (isinstance(cell, str) and cell == _text(value))


def _answer(draft: Draft, where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs that a row gives; the row must give each, in its recorded type."""
    inputs = {TRACE, ID, *draft.inputs}
    answer = {name: cell for name, cell in row.items() if name not in inputs}
    missing = [name for name in draft.outputs if name not in answer]
    if missing or not answer:
        names = ", ".join(missing) or "an output"
        raise BadData(where, f"it does not give {names}", "Give the right answer in that column.")
    recorded = _outputs(draft)
    return {name: _typed(where, name, cell, recorded.get(name)) for name, cell in answer.items()}


def _typed(where: str, name: str, cell: Any, recorded: Any) -> Any:
    """Return a cell in the type of the recorded value: a CSV has only texts."""
    if not isinstance(cell, str) or recorded is None or isinstance(recorded, str):
        return cell
    try:
        return parse(cell)
    except ValueError:
        kind = type(plain(recorded)).__name__
        problem = f"{name!r} is {cell!r:.60}, recorded was a {kind}"
        raise BadData(where, problem, "Write it as JSON.") from None


def _write(drafts: Sequence[Draft], file: Path) -> None:
    if file.suffix.lower() not in _WRITABLE:
        raise click.ClickException(
            f"{file} does not exist. Name a file that does ({', '.join(ENDINGS)}), "
            f"or one to write ({', '.join(_WRITABLE)})."
        )
    with writing(file):
        file.write_text("\n".join([*_lines(drafts, file), ""]), encoding="utf-8")


def _lines(drafts: Sequence[Draft], file: Path) -> Iterator[str]:
    rows = [{TRACE: draft.trace, **draft.example} for draft in drafts]
    if file.suffix.lower() == ".jsonl":
        for row in rows:
            yield escape_surrogates(
                json.dumps(_plain(row), default=json_with_content, ensure_ascii=False)
            )
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    yield _csv_line(names, delimiter)
    for row in rows:
        yield _csv_line([_text(row[name]) if name in row else "" for name in names], delimiter)


def _csv_line(cells: Iterable[str], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="").writerow(map(escape_surrogates, cells))
    return text.getvalue()


def _text(value: Any) -> str:
    """Return a value as a cell: a text as it is, any other as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(_plain(value), default=json_with_content, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return plain(value, kept=True)

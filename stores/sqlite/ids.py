"""Resolves the names of runs and executions: ids, their beginnings and ends, and labels."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from typing import Any, Literal

import attrs

from lmflow.data.conditions import label_names
from lmflow.errors import NotFound
from lmflow.values.unicode import well_formed

ID_END = 8
"""Characters at the end of an id that are indexed."""

LAST = "last"
"""The name of the newest run that isn't a wave."""

_SHORTEST = 6
"""Characters of a run's id that stand for its version; a shorter name is more likely a typo."""

_SHOWN = 4
_RECENT = 300
_COLUMN = {"run": "id", "trace": "uid"}
_LABELS = """
SELECT run_item.run, run_item.label, trace.uid FROM run_item JOIN trace ON trace.id = run_item.trace
WHERE run_item.label IN (:label, 'ex[' || :label || ']') {of_run}
ORDER BY run_item.run DESC, run_item.position
"""
_PLACE = """
SELECT run_item.run, run_item.label FROM run_item JOIN trace ON trace.id = run_item.trace
WHERE trace.uid = ? ORDER BY run_item.run LIMIT 1
"""
_RECENT_LABELS = """
SELECT label FROM run_item WHERE run IN (SELECT id FROM run ORDER BY id DESC LIMIT 20) LIMIT ?
"""
_FEWEST_DIGITS, _DIGITS = 4, 64

Kind = Literal["run", "trace"]


@attrs.frozen
class Place:
    """A run, or an execution of it. ``trace`` and ``label`` are empty for a whole run."""

    run: str
    trace: str = ""
    label: str = ""


def resolve_place(
    db: sqlite3.Connection, store: str, name: str, kinds: Sequence[Kind] = ("run", "trace")
) -> Place:
    """Return the run or execution that a name stands for.

    A name is the id of a run or trace, its beginning or end, ``last`` for the newest run, a label
    such as ``ex[e7]`` or ``e7`` that one execution has, or ``RUN/LABEL``.

    Args:
        db: The connection.
        store: The name of the store in messages.
        name: The name.
        kinds: Which ids count first if a name is part of a run's id and of a trace's.

    Raises:
        NotFound: If nothing has the name, or more than one thing.
    """
    name = well_formed(name)
    if name == LAST:
        newest = _last(db)
        if not newest:
            raise NotFound(store, "it has no runs yet", "Record one: `lmflow run`.")
        return Place(newest[0])
    for kind in kinds:
        ids = _matching_ids(db, kind, _COLUMN[kind], name)
        if name and (name in ids or len(ids) == 1):
            return _place_of(db, kind, name if name in ids else ids[0])
        if name and ids:
            raise _not_found(db, store, kind, name, f"{kind} {name!r} is ambiguous: {_list(ids)}")
    if not name:
        raise _not_found(db, store, "run", name, "")
    return _labelled_place(db, store, name)


def _labelled_place(db: sqlite3.Connection, store: str, name: str) -> Place:
    run, slash, label = name.partition("/")
    parameters = {"label": name, "run": ""}
    query = _LABELS.format(of_run="")
    if slash and len(runs := _runs_named(db, run)) == 1:
        parameters = {"label": label, "run": runs[0]}
        query = _LABELS.format(of_run="AND run_item.run = :run")
    rows = db.execute(query, parameters).fetchall()
    if len(rows) == 1:
        return Place(rows[0]["run"], rows[0]["uid"], rows[0]["label"])
    if rows:
        places = [f"{row['run']}/{row['label']}" for row in rows]
        problem = f"label {name!r} is ambiguous: {len(rows)} executions have it, {_list(places)}"
        raise NotFound(store, problem, "Name one of them, RUN/LABEL.")
    if parameters["run"]:
        labels = _labels_of(db, parameters["run"])
        inner = [other for other in labels if label in label_names(other)]
        if len(inner) == 1:
            return _labelled_place(db, store, f"{parameters['run']}/{inner[0]}")
        if inner:
            places = [f"{run}/{other}" for other in inner]
            problem = f"{label!r} is ambiguous: {len(inner)} executions of the run have it"
            raise NotFound(store, f"{problem}, {_list(places)}", "Name one of them.")
        has = f"it has {_list(labels)}" if any(labels) else "its executions have no labels"
        problem = f"run {parameters['run']} has no execution {label!r}; {has}"
        raise NotFound(store, problem, _near_fix(label, _with_inner(labels)))
    raise _not_found(db, store, "run", name, "")


def is_accidental(name: str, place: Place) -> bool:
    """Say whether a name is so short that it may be the end of anybody's id, such as ``v2``."""
    return len(name) < _SHORTEST and name != LAST and name not in label_names(place.label)


def _runs_named(db: sqlite3.Connection, part: str) -> list[str]:
    if part == LAST:
        return _last(db)
    ids = _matching_ids(db, "run", "id", part) if part else []
    return [part] if part in ids else ids


def _last(db: sqlite3.Connection) -> list[str]:
    """Return the newest run, if there is one; the waves that a run sent are younger than it."""
    query = "SELECT id FROM run WHERE kind <> 'wave' ORDER BY id DESC LIMIT 1"
    return [str(row[0]) for row in db.execute(query)]


def _place_of(db: sqlite3.Connection, kind: Kind, id_: str) -> Place:
    if kind == "run":
        return Place(id_)
    row = db.execute(_PLACE, (id_,)).fetchone()
    return Place(row["run"], id_, row["label"]) if row else Place("", id_)


def resolve_id(db: sqlite3.Connection, store: str, kind: str, column: str, part: str) -> str:
    """Return the one id that begins or ends with ``part``.

    Beginnings are looked up in an index, ends from ``ID_END`` characters on.

    Args:
        db: The connection.
        store: The name of the store in messages.
        kind: The table, ``run`` or ``trace``.
        column: The column of its ids.
        part: The id, its beginning or its end.

    Raises:
        NotFound: If there is no such id, or more than one.
    """
    part = well_formed(part)
    ids = _matching_ids(db, kind, column, part)
    if part in ids:
        return part
    if part and len(ids) == 1:
        return ids[0]
    problem = f"{kind} {part!r} is ambiguous: {_list(ids)}" if ids else ""
    raise _not_found(db, store, kind, part, problem)


def _matching_ids(db: sqlite3.Connection, kind: str, column: str, part: str) -> list[str]:
    """Return the ids that begin or end with ``part``, newest first, at most five."""
    end = ""
    if len(part) >= ID_END:
        end = f"substr({column}, -{ID_END}) = substr(:id, -{ID_END}) AND "
    begins = f"{column} >= :id AND {column} < :id || char(1114111)"
    rows = db.execute(
        f"SELECT {column} FROM {kind} WHERE {begins}"  # noqa: S608 - our own names
        f" UNION SELECT {column} FROM {kind} WHERE {end}substr({column}, -length(:id)) = :id"
        f" ORDER BY 1 DESC LIMIT {_SHOWN + 1}",
        {"id": part},
    )
    return [str(row[0]) for row in rows]


def _list(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _not_found(db: sqlite3.Connection, store: str, kind: str, part: str, problem: str) -> NotFound:
    """Return the error for an id; it says so if garbage collection removed it."""
    row = None
    if part:
        row = db.execute(
            "SELECT kind, name, date(at_ns / 1000000000, 'unixepoch') AS day FROM tombstone"
            " WHERE kind IN ('run', 'trace') AND name >= :id AND name < :id || char(1114111)",
            {"id": part},
        ).fetchone()
    if row is not None:
        problem = f"{row['kind']} {row['name']} was pruned on {row['day']}"
        return NotFound(store, problem, "`lmflow gc` removed it; a backup may have it.")
    if problem:
        return NotFound(store, problem, "Give more of it; `lmflow runs ls` lists what there is.")
    if version := _version_named(db, part):
        problem = f"{part!r} is a {version}, not a run"
        fix = f"`lmflow runs ls --where version={part}` lists its runs."
        return NotFound(store, problem, fix)
    others = ", and no trace or label" if kind == "run" else ""
    return NotFound(store, f"no {kind} {part!r}{others}", _near_fix(part, _recent_names(db, part)))


def _near_fix(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=3, cutoff=0.7)
    near = f"Near: {', '.join(matches)}. " if matches else ""
    return f"{near}`lmflow runs ls` lists what there is."


def _recent_names(db: sqlite3.Connection, part: str) -> list[str]:
    """Return the newest ids and labels; of ids the ends, if the name is as short as one."""
    names: list[str] = []
    for query in (
        "SELECT id FROM run ORDER BY id DESC LIMIT ?",
        "SELECT uid FROM trace ORDER BY id DESC LIMIT ?",
    ):
        ids = [str(row[0]) for row in db.execute(query, (_RECENT,))]
        names += ids if len(part) > ID_END + 2 else [id_[-ID_END:] for id_ in ids]
    labels = [str(row[0]) for row in db.execute(_RECENT_LABELS, (_RECENT,))]
    return names + _with_inner(labels)


def _with_inner(labels: Sequence[str]) -> list[str]:
    """Return labels and the names in their brackets."""
    return [name for label in labels for name in label_names(label)]


def _labels_of(db: sqlite3.Connection, run: str) -> list[str]:
    query = "SELECT label FROM run_item WHERE run = ? ORDER BY position"
    return [str(row[0]) for row in db.execute(query, (run,))]


def _version_named(db: sqlite3.Connection, name: str) -> str:
    """Return "ref" or "version" if the name is one, else an empty text."""
    if db.execute("SELECT 1 FROM ref WHERE name = ?", (name,)).fetchone():
        return "ref"
    digits = name.removeprefix("v1:b2:").lower()
    if not _FEWEST_DIGITS <= len(digits) <= _DIGITS or set(digits) - set("0123456789abcdef"):
        return ""
    bounds: list[Any] = [bytes.fromhex(digits.ljust(_DIGITS, fill)) for fill in "0f"]
    query = "SELECT 1 FROM version WHERE hash BETWEEN ? AND ?"
    return "version" if db.execute(query, bounds).fetchone() else ""

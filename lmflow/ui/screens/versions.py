"""The screens of versions: the log as a graph, a version with its changes, blame, a ref's moves."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import UnknownVersion, short
from lmflow.traces.events import RefMoved
from lmflow.traces.store import StoredVersion
from lmflow.ui.graph import Lanes, graph_rows
from lmflow.ui.pages import FIRST, Act, Asked, BadQuery, Screen, Shown, Sources, command_line, link
from lmflow.ui.screens.blame import load_blame
from lmflow.ui.screens.changes import changes_data
from lmflow.values.record import plain
from lmflow.versions.diff import diff
from lmflow.versions.version import Version

_ROLLBACK_MOVES = 200  # moves of a ref among which a page offers places to go back to


def load_versions(asked: Asked) -> Shown:
    """Read a part of the log: of the whole store, or of a version and its ancestors."""
    limit, name = asked.number("limit", FIRST), asked.text("q")
    start, before = asked.number("start", 0, most=10**6), asked.text("before")
    if name:
        log = itertools.islice(asked.reader.versions.log(name, start), limit + 1)
    else:
        log = asked.reader.versions.latest(limit + 1, before)
    entries = list(log)
    part = entries[:limit]
    lanes = Lanes(tuple(asked.text("lanes").split(",")) if asked.text("lanes") else ())
    rows, below = _rows(part, lanes)
    data = {
        "q": name,
        "rows": rows,
        "refs": _refs(asked),
        "limit": limit,
        "start": start,
        "before": before,
        "shown": start + len(part),
        "total": asked.reader.versions.count(),
        "more": len(entries) > limit,
        "last": part[-1].version.id if part else "",
        "lanes": ",".join(below.awaited),
    }
    return Shown("Versions", command_line("log", name, limit=limit), data)


VERSIONS = Screen("/versions", "versions.html", load_versions, "Versions")


def load_version(asked: Asked) -> Shown:
    """Read a version: what is known about it, and its changes from its parent or another one."""
    name = asked.path["version"]
    saved = asked.reader.versions.saved(asked.reader.version(name).id)
    version: Version = saved.version
    against = asked.text("against")
    base = asked.reader.version(against) if against else _parent(asked, version)
    changes = diff(base, version)
    data = {
        "version": _facts(saved),
        "against": against,
        "base": base.id if against or base.params else "",
        "base_note": base.note,
        "changes": [changes_data(change) for change in changes],
        "params": [
            {"path": path, "value": plain(value)} for path, value in sorted(version.params.items())
        ],
        "origin": plain(version.origin),
        "refs": sorted(asked.reader.refs()),
    }
    command = command_line("diff", against, name) if against else command_line("show", name)
    return Shown(f"Version {short(version.id)}", command, data)


VERSION = Screen("/versions/{version}", "version.html", load_version)
BLAME = Screen("/versions/{version}/blame", "blame.html", load_blame)


def load_ref(asked: Asked) -> Shown:
    """Read the moves of a ref, and what going back to one of its places would change."""
    ref = asked.path["ref"]
    moves = asked.reader.versions.reflog(ref, _ROLLBACK_MOVES + 1)
    refs = asked.reader.refs()
    if not moves and ref not in refs:
        raise UnknownVersion(ref, tuple(refs))
    now, part = refs.get(ref, ""), moves[:_ROLLBACK_MOVES]
    target = asked.text("to") or next((move.before or "" for move in part), "")
    places = dict.fromkeys(id_ for move in part for id_ in (move.version, move.before or "") if id_)
    places.pop(now, None)
    can_go_back = bool(now and target and target != now)
    data = {
        "ref": ref,
        "now": now,
        "to": target if can_go_back else "",
        "places": [_title(asked, id_) for id_ in places],
        "changes": _changes_to(asked, now, target) if can_go_back else [],
        "moves": [_move(move) for move in part],
        "more": len(moves) > _ROLLBACK_MOVES,
    }
    return Shown(f"Ref {ref}", command_line("reflog", ref), data)


REF = Screen("/refs/{ref:.+}", "ref.html", load_ref)


async def roll_back(sources: Sources, form: Mapping[str, str]) -> str:
    """Move a ref back to a version, if the ref still is where the page showed it."""
    reason, ref = form.get("reason", "").strip(), form.get("ref", "")
    if not reason:
        raise BadQuery("reason", "", "the reason, which the reflog shows")
    moved = await asyncio.to_thread(_rollback, sources, form, reason)
    await asyncio.to_thread(sources.append, moved)
    return link("refs", ref)


ROLL_BACK = Act("/rollback", roll_back)


def _rollback(sources: Sources, form: Mapping[str, str], reason: str) -> RefMoved:
    ref, before = form.get("ref", ""), form.get("now", "")
    with sources.reading() as reader:
        refs = reader.refs()
        if ref not in refs:
            raise UnknownVersion(ref, tuple(refs))
        target = reader.version(form.get("to", ""))
    why = f"rollback: {reason}"
    return RefMoved(ref, target.id, why, time.time_ns(), sources.who, before)


def _rows(entries: Sequence[StoredVersion], lanes: Lanes) -> tuple[list[dict[str, Any]], Lanes]:
    pairs = [
        (short(saved.version.id), [short(parent) for parent in saved.version.parents])
        for saved in entries
    ]
    drawn = list(graph_rows(pairs, lanes))
    rows = [{**_facts(saved), "graph": row} for saved, (row, _) in zip(entries, drawn, strict=True)]
    return rows, drawn[-1][1] if drawn else lanes


def _facts(saved: StoredVersion) -> dict[str, Any]:
    return {
        "id": saved.version.id,
        "refs": list(saved.refs),
        "note": saved.version.note,
        "parents": list(saved.version.parents),
        "absent": list(saved.absent),
        "at": saved.at,
        "author": saved.author,
        "scores": {name: {"mean": mean, "n": n} for name, (mean, n) in saved.scores.items()},
    }


def _refs(asked: Asked) -> list[dict[str, Any]]:
    """Return each ref with its last move."""
    return [
        {"ref": name, "version": id_, "move": _last_move(asked, name)}
        for name, id_ in asked.reader.refs().items()
    ]


def _last_move(asked: Asked, ref: str) -> dict[str, Any] | None:
    moves: Iterable[RefMoved] = asked.reader.versions.reflog(ref, 1)
    return next(map(_move, moves), None)


def _move(move: RefMoved) -> dict[str, Any]:
    return attrs.asdict(move)


def _title(asked: Asked, id_: str) -> dict[str, str]:
    try:
        note = asked.reader.version(id_).note
    except UnknownVersion:
        note = "not in this store"
    return {"id": id_, "note": note}


def _changes_to(asked: Asked, now: str, target: str) -> list[dict[str, Any]]:
    changes = diff(asked.reader.version(now), asked.reader.version(target))
    return [changes_data(change) for change in changes]


def _parent(asked: Asked, version: Version) -> Version:
    """Return the first parent; a version without parameters if there is none, or not here."""
    if not version.parents:
        return Version()
    try:
        parent: Version = asked.reader.version(version.parents[0])
    except UnknownVersion:
        return Version()
    return parent

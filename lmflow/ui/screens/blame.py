"""The screen Blame: each part of a parameter, the version and the proposal that made it, and the
examples that the proposal was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.ui.pages import Asked, Shown, command_line
from lmflow.values.record import plain
from lmflow.versions.blame import Attribution, blame
from lmflow.versions.pickaxe import paths_named
from lmflow.versions.version import Version

_MOST_PARTS = 400
_MOST_SEEN = 40  # executions that a proposal learned from, of which a page shows links


def load_blame(asked: Asked) -> Shown:
    """Attribute each part of a parameter, by default of the first that is not empty."""
    name = asked.path["version"]
    version: Version = asked.reader.version(name)
    filled = sorted(path for path, value in version.params.items() if value not in ("", (), {}))
    path = asked.text("path") or _first(filled)
    parts: list[Attribution] = []
    if path:
        for each in paths_named(version, [path]):
            parts += blame(version, each, asked.reader.version)
    known: dict[str, Mapping[str, Any]] = {}
    rows = [_row(asked, part, known) for part in parts[:_MOST_PARTS]]
    data = {
        "version": version.id,
        "note": version.note,
        "path": path,
        "paths": filled,
        "rows": rows,
        "total": len(parts),
    }
    title = f"Blame of {path or 'no parameter'}"
    return Shown(title, command_line("blame", name, path), data)


def _first(paths: list[str]) -> str:
    """Return the path to show first: an instruction if there is one."""
    return next(
        (path for path in paths if path.endswith(".instruction")), paths[0] if paths else ""
    )


def _row(asked: Asked, part: Attribution, known: dict[str, Mapping[str, Any]]) -> dict[str, Any]:
    id_ = part.version.id
    if id_ not in known:
        saved = asked.reader.versions.saved(id_)
        known[id_] = {"author": saved.author, "at": saved.at}
    origin = plain(part.origin)
    return {
        "part": part.part,
        "version": id_,
        "note": part.version.note,
        **known[id_],
        "origin": origin,
        "proposal": _proposal(asked, origin),
        "whole": part.whole,
        "by_hand": origin is None and bool(part.version.parents),
    }


def _proposal(asked: Asked, origin: Any) -> dict[str, Any] | None:
    """Return the recorded call that proposed a text, with what it was told."""
    key = origin.get("key", "") if isinstance(origin, Mapping) else ""
    calls = asked.reader.calls_of_key(key, 1) if key else []
    if not calls:
        return None
    trace, address, reply = calls[0]
    inputs = plain(asked.reader.trace(trace).inputs)
    seen = _seen(asked, trace)
    return {"trace": trace, "address": address, "reply": reply, "inputs": inputs, "seen": seen}


def _seen(asked: Asked, proposal: str) -> list[dict[str, Any]]:
    """Return the executions of the proposal's turn that ended before it began: what it learned
    from.
    """
    outline = asked.outlines.trace(proposal)
    turn, slash, _ = outline.label.partition("/")
    if not (outline.run and slash):
        return []
    branch = asked.outlines.branch(outline.run, f"{turn}/", _MOST_SEEN)
    return [
        {"label": row["label"], "trace": row["trace"], "status": row["status"]}
        for row in branch
        if row["trace"] != proposal and 0 < row["ended_ns"] <= outline.started
    ]

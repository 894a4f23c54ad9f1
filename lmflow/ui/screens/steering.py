"""What people do to a search that runs: the acts that it took, and the form that gives it more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.traces.events import SearchSteered
from lmflow.ui.pages import Act, Asked, BadQuery, Sources, link


def steering(asked: Asked, run: str) -> dict[str, Any]:
    """Return the acts of a search, and what holds by those that it took: whether it is paused, and
    the versions that are vetoed and pinned.
    """
    acts = asked.sources.searches.acts(asked.reader, run)
    taken = [act for act in acts if act["need"] is not None and not act["problem"]]
    marks = {act["version"]: act["kind"] for act in taken if act["version"]}
    return {
        "acts": list(acts),
        "paused": _paused(taken),
        "marks": {version: kind for version, kind in marks.items() if kind != "release"},
    }


async def steer(sources: Sources, form: Mapping[str, str]) -> str:
    """Store an act for a search, and show the search."""
    run, reason = form.get("run", ""), form.get("reason", "").strip()
    if not reason:
        raise BadQuery("reason", "", "the reason, or the words of the note")
    kind, _, version = form.get("act", "").partition(" ")
    act = SearchSteered(run, kind, version, reason, sources.who)
    stored = await asyncio.to_thread(sources.searches.steer, act)
    return link("optimizations", stored.run)


STEER = Act("/steer", steer)


def _paused(taken: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the last act that pauses, resumes or stops the search pauses it."""
    kinds = [act["kind"] for act in taken if act["kind"] in {"pause", "resume", "stop"}]
    return bool(kinds) and kinds[-1] == "pause"

"""Refs from Python: versions kept and a name pointed at the last of them, in one step."""

from __future__ import annotations

import time

from lmflow.traces.events import RefMoved, VersionSaved
from lmflow.traces.store import Recorder
from lmflow.versions.version import Version, check_ref


def commit(
    store: Recorder,
    ref: str,
    *versions: Version,
    why: str = "",
    who: str = "",
    before: str | None = None,
) -> Version:
    """Keep the versions, oldest first, and point ``ref`` at the last; all or nothing, and the
    reflog says ``why``.

    Give the ancestors that aren't kept yet too, ``commit(store, "prod", first, tuned)``, so that
    the line is whole. ``before`` is the id that the ref must have until then, empty where it must
    not exist (``RefChanged`` otherwise).
    """
    if not versions:
        msg = f"no version to point {ref!r} at: commit(store, {ref!r}, version)"
        raise ValueError(msg)
    now, last = time.time_ns(), versions[-1]
    moved = RefMoved(check_ref(ref), last.id, why or last.note, now, who, before)
    store.append(*(VersionSaved(version, now, who) for version in versions), moved).result()
    return last

"""Commits from Python: versions are stored and a ref is moved to the last of them, atomically."""

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
    """Store versions and move a ref to the last of them; all of it is stored, or nothing.

    Pass ancestors that the store does not have yet too, ``commit(store, "prod", first, tuned)``,
    so that the history is complete.

    Args:
        store: The store to write to.
        ref: The name of the ref.
        *versions: The versions, oldest first; at least one.
        why: The reason that the reflog shows; empty for the last version's note.
        who: The author that the reflog shows.
        before: The version id that the ref must point at until now; empty if the ref must not
            exist yet; ``None`` to move it from anywhere.

    Returns:
        The last version.

    Raises:
        ValueError: If no version is given.
        BadRef: If ``ref`` can't be the name of a ref.
        RefChanged: If the ref does not point at ``before``.
        StoreError: If the store can't write.

    Example:
        >>> import lmflow as lf
        >>> store = lf.MemoryStore()
        >>> version = lf.Version(params={"answer.instruction": "Be brief."})
        >>> lf.commit(store, "prod", version) == store.version("prod")
        True
    """
    if not versions:
        msg = f"no version to point {ref!r} at: commit(store, {ref!r}, version)"
        raise ValueError(msg)
    now, last = time.time_ns(), versions[-1]
    moved = RefMoved(check_ref(ref), last.id, why or last.note, now, who, before)
    store.append(*(VersionSaved(version, now, who) for version in versions), moved).result()
    return last

"""The latest versions of a store: as text what ``lmflow log`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from lmflow.errors import short
from lmflow.traces.store import StoredVersion
from lmflow.views.amounts import mean_scores
from lmflow.views.lines import when
from lmflow.views.page import Page, Table


@attrs.frozen
class VersionList:
    """Stored versions, newest first.

    Args:
        versions: The versions.
        total: The number of versions that there are.
    """

    versions: Sequence[StoredVersion]
    total: int

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return the list as text, two lines a version, at any width."""
        del width
        lines = "\n".join(saved.log_text for saved in self.versions)
        return lines or "No versions yet: a run stores the version that it runs."

    def page(self) -> Page:
        """Return the list as a notebook shows it."""
        table = Table(list(map(_cells, self.versions)), total=self.total, noun="version")
        return Page(("The latest versions of the store",), (table,))


def _cells(saved: StoredVersion) -> dict[str, Any]:
    return {
        "version": short(saved.version.id),
        "refs": ", ".join(saved.refs),
        "note": saved.version.note,
        "stored": when(saved.at),
        "author": saved.author,
        "scores": mean_scores({name: mean for name, (mean, _) in saved.scores.items()}),
        "parents": ", ".join(map(short, saved.version.parents)),
    }

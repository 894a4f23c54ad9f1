"""Traces that were imported: what other systems recorded, kept beside lmflow's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.errors import NotReplayable
from lmflow.traces.trace import Trace
from lmflow.values.printing import printable

FOREIGN = "foreign"
"""In the world of a trace that was imported: its source, its id there, the hash of its spans, and
the steps that were bound.
"""


def foreign_facts(trace: Trace) -> Mapping[str, Any] | None:
    """Return what is known of the source of an imported trace, ``None`` for one of lmflow's own."""
    facts = trace.world.get(FOREIGN)
    return facts if isinstance(facts, Mapping) else None


def check_replayable(trace: Trace) -> None:
    """Raise ``NotReplayable`` if a trace was imported."""
    facts = foreign_facts(trace)
    if facts is None:
        return
    source = printable(facts.get("source", ""))
    problem = f"trace {trace.id} is not replayable: it was imported from {source}, no program ran"
    raise NotReplayable(problem, "`lmflow runs show` shows it; its bound steps can be harvested.")

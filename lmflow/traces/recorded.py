"""The check that a value is a recording."""

from __future__ import annotations

from lmflow.errors import clipped, safe_repr
from lmflow.traces.trace import Run, Trace


def check_recorded(recorded: object) -> None:
    """Raise ``TypeError`` unless a value is a trace or run, with the lines that read one."""
    if not isinstance(recorded, (Trace, Run)):
        found = f"{type(recorded).__name__} {clipped(safe_repr(recorded), 60)}"
        msg = f"expected a trace or run, found {found}. Read it: store.run(ID), store.trace(ID)."
        raise TypeError(msg)

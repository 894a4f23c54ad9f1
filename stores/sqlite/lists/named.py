"""Runs and executions by what people call them: part of an id, a label, ``last``."""

from __future__ import annotations

import attrs

from lmflow.errors import NotFound
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.reused import as_reused
from lmflow.traces.trace import Run, Trace

_SHOWN = 4
_ID_END = 8


def run_at(reader: Reader, name: str) -> Run:
    """Return the run that a name stands for, as ``Reader.place`` reads it; of an execution, its run
    with that execution alone.

    Raises:
        NotFound: If nothing has the name, or more than one thing.
    """
    place = reader.place(name)
    if not place.trace:
        return reader.run(place.run)
    if not place.run:
        raise NotFound(reader.store, f"trace {place.trace} is in no run", "Name a run.")
    trace = reader.trace(place.trace)
    if reader.long_runs.refers(place.run, place.trace):
        trace = as_reused(trace)
    return attrs.evolve(reader.run_alone(place.run), items=((place.label, trace),))


def trace_at(reader: Reader, name: str) -> Trace:
    """Return the execution that a name stands for, as ``Reader.place`` reads it; of a run, the only
    one.

    Raises:
        NotFound: If nothing has the name, or more than one thing.
    """
    place = reader.place(name, "trace", "run")
    if place.trace:
        return reader.trace(place.trace)
    labels = reader.labels(place.run)
    if len(labels) == 1:
        return reader.trace(labels[0][1])
    names = [f"{place.run[-_ID_END:]}/{label}" if label else trace for label, trace in labels]
    more = ", …" if len(names) > _SHOWN else ""
    fix = f"Name one: {', '.join(names[:_SHOWN])}{more}" if names else ""
    raise NotFound(reader.store, f"run {place.run} has {len(labels)} executions", fix)

"""Acts by which people steer an optimization that runs: checked, appended, listed."""

from __future__ import annotations

import time
from typing import Any, get_args

import attrs

from lmflow.errors import NotSteerable, UnknownVersion, listed
from lmflow.optimizers.plans.acts import need_of_act
from lmflow.stores.opened import open_store, reading
from lmflow.stores.sqlite.acts import given_acts, taken_acts
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import OF_VERSIONS, ActKind, SearchSteered
from lmflow.traces.trace import Run


def steer(store: str, act: SearchSteered) -> SearchSteered:
    """Append an act for an optimization that runs; it takes the act at its next need.

    Args:
        store: The store's file.
        act: The act; its run and version may be given by any name.

    Returns:
        The act as it is stored, with whole ids and the time.

    Raises:
        NotSteerable: The run is no optimization or has ended, or the act is not one that a search
            can take.
        NotFound: There is no such run.
        UnknownVersion: There is no such version.
    """
    if act.kind not in get_args(ActKind):
        raise NotSteerable(repr(act.kind), "is no act", f"Name one of {listed(get_args(ActKind))}.")
    if act.kind == "note" and not act.note.strip():
        raise NotSteerable("a note", "has no words", "Write them: lmflow steer RUN note TEXT.")
    with reading(store) as reader:
        search = _running(reader, act.run)
        version = _version_of(reader, search, act.kind, act.version)
    whole = attrs.evolve(act, run=search.id, version=version, at=time.time_ns())
    with open_store(store) as opened:
        opened.append(whole).result()
    return whole


def act_rows(reader: Reader, run: str) -> list[dict[str, Any]]:
    """Return the acts of a run, by its whole id: those that it took, then those that wait.

    Each has ``kind``, ``version``, ``note``, ``who``, ``at``, the ``need`` of the plan at which it
    was taken (``None`` if it waits), ``problem`` if it was refused, and ``of``, the earlier run
    that it was given to, if this one begins that one again.
    """
    rows: list[dict[str, Any]] = []
    taken = set()
    for label, trace in taken_acts(reader, run)[1]:
        if trace.outputs is None:
            continue
        act, of = trace.outputs["taken"], trace.inputs["run"]
        taken.add((of, act["kind"], act["who"], act["at"]))
        version = act["version"]
        row = {name: act[name] for name in ("kind", "note", "who", "at", "problem")}
        row["version"] = version["id"] if version else ""
        rows.append({**row, "need": need_of_act(label), "of": "" if of == run else of})
    for given in given_acts(reader, run):
        event = given.event
        # Numbers are a store's own; a merge may give an act another one.
        if (run, event.kind, event.who, event.at) not in taken:
            row = {"kind": event.kind, "note": event.note, "who": event.who, "at": event.at}
            waits = {"version": event.version, "need": None, "problem": "", "of": ""}
            rows.append({**row, **waits})
    return rows


def _running(reader: Reader, name: str) -> Run:
    run = reader.run_alone(reader.place(name, "run").run)
    if run.kind != "optimize":
        fix = "`lmflow runs ls --where kind=optimize` lists those that can."
        raise NotSteerable(f"run {run.id}", f"is of kind {run.kind}, not an optimization", fix)
    if run.status != "open":
        fix = f"Go on with it: lmflow resume {run.id}."
        raise NotSteerable(f"run {run.id}", f"has ended: it is {run.status}", fix)
    return run


def _version_of(reader: Reader, run: Run, kind: str, name: str) -> str:
    """Return the id of the version that an act names; empty if it names none."""
    if kind not in OF_VERSIONS:
        if name:
            raise NotSteerable(kind, f"names no version, found {name}", "Give the reason by --why.")
        return ""
    if not name:
        raise NotSteerable(kind, "names no version", f"Write lmflow steer {run.id} {kind} VERSION.")
    version = reader.version(name)
    start = _start(reader, run)
    if kind == "veto" and version.tree == start:
        fix = "It is kept if nothing is better. To end the search: lmflow steer RUN stop."
        raise NotSteerable("the start version", "can't be vetoed", fix)
    return version.id


def _start(reader: Reader, run: Run) -> str:
    try:
        return reader.version(str(run.config.get("version", ""))).tree
    except UnknownVersion:
        return ""

"""The screen Divergence: a recording beside what its program asks under a version, call by call."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.replays.differences import CallDiff, Divergence, TraceDiff
from lmflow.replays.divergence import diverge
from lmflow.traces.trace import Run
from lmflow.ui.pages import Asked, Screen, Shown, command_line, link
from lmflow.ui.programs import NotLoaded

MOST = 100
"""The executions that one page compares."""


def load_divergence(asked: Asked) -> Shown:
    """Compare a run with its program of now, under the recorded version or another one."""
    run, name = recorded_run(asked), asked.text("version")
    version = asked.reader.version(name) if name else None
    title = f"Divergence of {run.kind} {run.name}"
    command = command_line("replay", run.id, "--report", version=name)
    data: dict[str, Any] = {"run": run_facts(run), "version": name, "refs": refs_of(asked)}
    try:
        program = asked.sources.program(run.target)
    except NotLoaded as problem:
        here = link("runs", run.id, "divergence", version=name)
        return Shown(title, command, {**data, "load": load_form(problem, here), "executions": None})
    part = attrs.evolve(run, items=tuple(run.items[:MOST]))
    return Shown(title, command, {**data, "load": None, **_data(diverge(part, program, version))})


DIVERGENCE = Screen("/runs/{run}/divergence", "divergence.html", load_divergence)


def recorded_run(asked: Asked) -> Run:
    """Return the run of a path; of an execution, its run."""
    run: Run = asked.reader.run(asked.reader.place(asked.path["run"], "run").run)
    return run


def run_facts(run: Run) -> dict[str, Any]:
    """Return what a page says of a run."""
    return {"id": run.id, "kind": run.kind, "target": run.target, "total": len(run)}


def refs_of(asked: Asked) -> list[str]:
    """Return the names that the page offers as versions."""
    return sorted(asked.reader.refs())


def load_form(problem: NotLoaded, here: str) -> dict[str, str]:
    """Return what a page shows instead, if its program is not loaded."""
    return {"target": problem.target, "problem": str(problem), "here": here}


def items_data(divergence: Divergence) -> list[dict[str, Any]]:
    """Return the executions that differ, with their calls."""
    return [_item(item) for item in divergence.items if not item.same]


def _data(divergence: Divergence) -> dict[str, Any]:
    items = items_data(divergence)
    return {
        "counts": dict(divergence.counts),
        "compared": len(divergence.items),
        "same": len(divergence.items) - len(items),
        "executions": items,
    }


def _item(item: TraceDiff) -> dict[str, Any]:
    return {
        "label": item.label,
        "trace": item.trace.id,
        "result": item.result,
        "calls": [_call(call) for call in item.calls],
    }


def _call(call: CallDiff) -> dict[str, Any]:
    changed = call.kind == "changed" and call.recorded is not None
    return {
        "address": call.address,
        "kind": call.kind,
        "blame": list(call.blame),
        "from": call.recorded.address if call.recorded and call.kind == "moved" else "",
        "before": str(call.recorded.request) if changed and call.recorded else "",
        "after": str(call.request) if changed else "",
    }

"""The screen Run: what a run is, what it cost and came to, and the tree of its executions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.data.conditions import condition
from lmflow.errors import LmflowError, short
from lmflow.ui.pages import Asked, Screen, Shown, command_line
from lmflow.ui.screens.runs import intervals
from lmflow.ui.screens.trees import with_frames
from lmflow.values.record import plain

PART = 100
"""The executions that one request gets."""


def load_run(asked: Asked) -> Shown:
    """Read a run: its summary, its costs, and a part of its executions."""
    run_id = asked.reader.place(asked.path["run"], "run", "trace").run
    run = asked.reader.run_alone(run_id)
    (row,) = asked.reader.summaries(1, "", [condition(f"run={run_id}")])
    failed = asked.text("only") == "failed"
    after = asked.number("after", 0, most=10**9)
    executions = asked.outlines.executions(run_id, PART + 1, after - 1, failed=failed)
    part = executions[:PART]
    # Summing looks at many calls: the page comes first, and asks for the sums by itself.
    is_summed = asked.text("fragment") == "costs" or asked.text("format") == "json"
    failures = asked.outlines.failures(run_id)
    version = asked.outlines.version(run_id)
    data = {
        "run": {**row, "name": run.name, "result": run.result, "root": asked.reader.root(run_id)},
        "config": plain(run.config),
        "version": version,
        "refs": [name for name, id_ in asked.reader.refs().items() if id_ == version],
        "intervals": intervals(asked.outlines.scores(run_id)) if row["scores"] else [],
        "failures": failures,
        "only": "failed" if failed else "",
        "costs": _costs(asked, run_id) if is_summed else None,
        "rows": list(with_frames(part, str_of_label)),
        "after": after,
        "shown": len(part),
        "total": failures if failed else row["traces"],
        "next": part[-1]["position"] + 1 if len(executions) > PART else None,
        "identical": _is_identical(asked, run, row),
    }
    live = run_id if run.status == "open" else ""
    return Shown(f"{run.kind} of {run.name}", command_line("runs", "show", run_id), data, live)


def load_verification(asked: Asked) -> Shown:
    """Derive every hash of a run again."""
    run_id = asked.reader.place(asked.path["run"], "run").run
    data: dict[str, Any] = {"run": run_id, "sound": True, "root": "", "problem": ""}
    try:
        data["root"] = asked.reader.verify(run_id).root
    except LmflowError as error:
        data |= {"sound": False, "problem": str(error)}
    return Shown(f"Hashes of run {run_id}", command_line("verify", run_id), data)


RUN = Screen("/runs/{run}", "run.html", load_run)
VERIFY = Screen("/runs/{run}/verify", "verify.html", load_verification)


def str_of_label(row: Mapping[str, Any]) -> str:
    """Return the label of an execution, by which it stands in the tree."""
    return str(row["label"])


def _costs(asked: Asked, run: str) -> Sequence[Mapping[str, Any]]:
    """Sum what the calls of a run cost, by step and model."""
    return asked.sources.costs(asked.reader, ("step", "model"), [condition(f"run={run}")])


def _is_identical(asked: Asked, run: Any, row: Mapping[str, Any]) -> bool:
    return bool(run.of) and bool(row["root"]) and short(asked.outlines.root(run.of)) == row["root"]

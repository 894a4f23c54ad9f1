"""The screen Optimization: the curve, the candidates, the proposals, the spending, the proof."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.data.conditions import condition
from lmflow.errors import UnknownVersion
from lmflow.evaluation.stats import mean
from lmflow.execution.jobs.optimization_text import phase_of
from lmflow.optimizers.plans.acts import need_of_act
from lmflow.traces.trace import Run
from lmflow.ui.candidates import Candidate, candidates_of, curve_of, example_of, is_held
from lmflow.ui.graph import Lanes, graph_rows
from lmflow.ui.pages import Asked, BadQuery, Screen, Shown, command_line, link
from lmflow.ui.programs import NotLoaded
from lmflow.ui.screens.divergence import load_form
from lmflow.ui.screens.steering import steering
from lmflow.values.record import plain

MOST = 20_000
"""The executions of a search that a page reads."""

_OFFERED = 50
_PROPOSALS = 100


def load_optimizations(asked: Asked) -> Shown:
    """List the latest optimizations."""
    rows = asked.reader.summaries(_OFFERED + 1, "", [condition("kind=optimize")])
    shown = [{**row, "result": asked.reader.run_alone(row["id"]).result} for row in rows[:_OFFERED]]
    data = {"rows": shown, "more": len(rows) > _OFFERED}
    command = command_line("runs", "ls", where="kind=optimize", limit=_OFFERED)
    return Shown("Optimizations", command, data, live="*")


OPTIMIZATIONS = Screen("/optimizations", "optimizations.html", load_optimizations, "Optimizations")


def load_optimization(asked: Asked) -> Shown:
    """Read an optimization, also while it runs."""
    run = _optimization(asked)
    rows = asked.sources.searches.rows(asked.reader, run.id, MOST + 1)
    part, own = rows[:MOST], _program(run, rows)
    scoring = asked.sources.searches.scores(
        asked.reader, run, [row for row in part if row["program"] == own]
    )
    found = candidates_of(part, scoring["scores"], own, set(scoring["select"]))
    steered = steering(asked, run.id)
    budget = asked.sources.searches.budget(run)
    totals = _totals(part)
    data = {
        "run": {"id": run.id, "name": run.name, "status": run.status, "result": run.result},
        "optimizer": plain(run.config.get("optimizer", {})),
        "metric": scoring["metric"],
        "problem": scoring["problem"],
        "start": str(run.config.get("version", "")),
        "curve": curve_of(found),
        "candidates": _candidates(asked, run, found, steered["marks"]),
        "steering": steered,
        "proposals": _proposals(asked, part, own),
        "spending": _spending([row for row in part if not _is_act(row)]),
        "totals": totals,
        "budget": budget,
        "left": _left(run, totals, budget),
        "held": _held(asked, run, part),
        "executions": len(part),
        "cut": len(rows) > MOST,
        "refs": [name for name, id_ in asked.reader.refs().items() if id_ == run.result],
    }
    live = run.id if run.status == "open" else ""
    return Shown(f"Optimization {run.name}", command_line("runs", "show", run.id), data, live)


OPTIMIZATION = Screen("/optimizations/{run}", "optimization.html", load_optimization)


def load_proof(asked: Asked) -> Shown:
    """Replay an optimization offline, to the version that it came to."""
    run = _optimization(asked)
    data: dict[str, Any] = {"run": run.id, "load": None, "proof": None}
    title, command = f"Replay of {run.name}", command_line("replay", run.id)
    try:
        asked.sources.program(run.target)
    except NotLoaded as problem:
        form = load_form(problem, link("optimizations", run.id, "replayed"))
        return Shown(title, command, {**data, "load": form})
    proof = asked.sources.searches.prove(asked.reader, asked.reader.run(run.id))
    return Shown(title, command, {**data, "proof": proof})


REPLAYED = Screen("/optimizations/{run}/replayed", "replayed.html", load_proof)


def _optimization(asked: Asked) -> Run:
    run: Run = asked.reader.run_alone(asked.reader.place(asked.path["run"], "run").run)
    if run.kind != "optimize":
        raise BadQuery("run", run.id, f"an optimization: that run is of kind {run.kind}")
    return run


def _program(run: Run, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the key of the program that is optimized: the first that ran, unless it is named."""
    named = run.config.get("python", {}).get("program", {}).get("key", "")
    programs = (row["program"] for row in rows if not _is_act(row))
    return str(named or next(programs, ""))


def _is_act(row: Mapping[str, Any]) -> bool:
    return need_of_act(row["label"]) is not None


def _candidates(
    asked: Asked, run: Run, found: Sequence[Candidate], marks: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the candidates, the newest first, in a graph of their parents."""
    ids = {each.version for each in found}
    known = {each.version: asked.reader.version(each.version) for each in found}
    pairs = [
        (each.version, [id_ for id_ in known[each.version].parents if id_ in ids])
        for each in reversed(found)
    ]
    eligible = [each for each in found if each.judged and marks.get(each.version) != "veto"]
    best = max((each.to_json()["score"] for each in eligible), default=None)
    result = _params(asked, run.result)
    rows = []
    for each, (row, _) in zip(reversed(found), graph_rows(pairs, Lanes()), strict=True):
        version, facts = known[each.version], each.to_json()
        is_best = each in eligible and facts["score"] == best
        chosen = result is not None and version.params == result
        rows.append(
            {
                **facts,
                "note": version.note,
                "graph": row,
                "best": is_best,
                "result": chosen,
                "acts": _possible(marks.get(version.id, ""), version.id, run),
            }
        )
    return rows


def _possible(mark: str, version: str, run: Run) -> list[str]:
    """Return the acts about a version that change something; the start can't be vetoed."""
    if run.status != "open":
        return []
    is_start = version == run.config.get("version")
    kinds = ("pin",) if is_start else ("veto", "pin")
    return [kind for kind in kinds if kind != mark] + (["release"] if mark else [])


def _params(asked: Asked, version: str) -> Any:
    try:
        return asked.reader.version(version).params if version else None
    except UnknownVersion:
        return None


def _proposals(asked: Asked, rows: Sequence[Mapping[str, Any]], own: str) -> dict[str, Any]:
    """Return the latest executions of proposers with what they wrote."""
    proposed = [row for row in rows if row["program"] != own and not _is_act(row)]
    shown = []
    for row in reversed(proposed[-_PROPOSALS:]):
        _, outputs, failure = asked.outlines.values(row["row"])
        place = row["label"].partition("ex[")[0].rstrip("/")
        facts = {"label": place, "trace": row["trace"], "name": row["name"]}
        values = {"status": row["status"], "outputs": plain(outputs), "failure": plain(failure)}
        shown.append({**facts, **values})
    return {"rows": shown, "total": len(proposed)}


def _spending(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    phases: dict[str, dict[str, Any]] = {}
    for row in rows:
        phase = phases.setdefault(
            phase_of(row["label"]),
            {"executions": 0, "sent": 0, "reused": 0, "tokens": 0, "cost": 0, "unpriced": 0},
        )
        phase["executions"] += 1
        for name in ("sent", "reused", "tokens", "cost", "unpriced"):
            phase[name] += row[name]
    return [{"phase": name, **amounts} for name, amounts in phases.items()]


def _totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = ("sent", "reused", "tokens", "cost", "unpriced")
    return {name: sum(row[name] for row in rows) for name in names}


def _left(run: Run, totals: Mapping[str, Any], budget: Mapping[str, Any]) -> float | None:
    """Return the seconds until the budget is used at the pace so far; ``None`` if unknown."""
    if run.status != "open":
        return None
    parts = [
        used / limit
        for used, limit in (
            (totals["sent"], budget["calls"]),
            (totals["cost"] / 1e9, budget["usd"]),
        )
        if limit
    ]
    share, elapsed = max(parts, default=0.0), (time.time_ns() - run.started) / 1e9
    return elapsed * (1 - share) / share if 0 < share <= 1 else None


def _held(asked: Asked, run: Run, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return how the new version did against the start on the held-back examples."""
    held = [row for row in rows if is_held(row["label"])]
    if not held:
        return None
    scores = asked.sources.searches.scores(asked.reader, run, held)["scores"]
    sides: dict[str, dict[str, float]] = {"before": {}, "after": {}}
    for row in held:
        side = "after" if "/after/" in row["label"] else "before"
        if row["trace"] in scores:
            sides[side][example_of(row["label"])] = scores[row["trace"]]
    pairs = [
        (sides["before"][id_], after)
        for id_, after in sides["after"].items()
        if id_ in sides["before"]
    ]
    return {
        "guard": any(row["label"].startswith("guard/") for row in held),
        "before": _estimate(list(sides["before"].values())),
        "after": _estimate(list(sides["after"].values())),
        "difference": _estimate([after - before for before, after in pairs]),
    }


def _estimate(values: list[float]) -> dict[str, Any] | None:
    if not values:
        return None
    estimate = mean(values)
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}

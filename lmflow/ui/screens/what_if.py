"""The screen What-if: what a run would reuse and cost under another version, and running it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.programs.parameters import complete_params
from lmflow.replays.what_if import CostEstimate, Plan, what_if
from lmflow.traces.trace import Run
from lmflow.ui.pages import Act, Asked, BadQuery, Screen, Shown, Sources, command_line, link
from lmflow.ui.programs import NotLoaded
from lmflow.ui.screens.divergence import (
    MOST,
    items_data,
    load_form,
    recorded_run,
    refs_of,
    run_facts,
)
from lmflow.values.json_text import parse
from lmflow.values.record import Record, plain, pretty
from lmflow.versions.version import Version


def load_what_if(asked: Asked) -> Shown:
    """Plan a run under a version, with one parameter changed if the query says so."""
    run, name = recorded_run(asked), asked.text("version")
    title = f"What if: {run.kind} {run.name}"
    command = command_line("replay", run.id, version=name or "REF")
    path, value = asked.text("path"), "".join(asked.query.get("value", ())[-1:])
    data: dict[str, Any] = {
        "run": run_facts(run), "version": name, "path": path, "value": value,
        "refs": refs_of(asked), "planned": min(len(run), MOST), "load": None, "plan": None,
        "paths": [],
    }  # fmt: skip
    try:
        program = asked.sources.program(run.target)
    except NotLoaded as problem:
        here = link("runs", run.id, "what-if", version=name, path=path, value=value)
        return Shown(title, command, {**data, "load": load_form(problem, here)})
    base = asked.reader.version(name) if name else _recorded_version(run)
    data["paths"] = _paths(program, base)
    if name or path:
        version = changed_version(base, program, path, value)
        part = attrs.evolve(run, items=tuple(run.items[:MOST]))
        data["plan"] = _plan(what_if(part, program, version))
    return Shown(title, command, data)


WHAT_IF = Screen("/runs/{run}/what-if", "what_if.html", load_what_if)


async def run_what_if(sources: Sources, form: Mapping[str, str]) -> str:
    """Run what was planned, within the budget that the form names, and show the new run."""
    reason = form.get("reason", "").strip()
    if not reason:
        raise BadQuery("reason", "", "the reason, which is recorded with the run")
    budget = Ceiling.of(form)
    version = await asyncio.to_thread(_version_of_form, sources, form, reason)
    run = await sources.replay(form.get("run", ""), version, budget.calls, budget.usd, reason)
    return link("runs", run)


RUN_WHAT_IF = Act("/what-if", run_what_if)


@attrs.frozen
class Ceiling:
    """The budget that a person typed: calls, and dollars if there is a limit."""

    calls: int
    usd: float | None

    @classmethod
    def of(cls, form: Mapping[str, str]) -> Ceiling:
        """Read the budget; ``BadQuery`` if calls are missing or a number is none."""
        calls, usd = form.get("calls", "").strip(), form.get("usd", "").strip()
        if not (calls.isascii() and calls.isdigit() and len(calls) <= 9):  # noqa: PLR2004 - a billion
            raise BadQuery("calls", calls, "the number of calls that may be sent")
        return cls(int(calls), _dollars(usd) if usd else None)


def changed_version(base: Version, program: Any, path: str, value: str) -> Version:
    """Return a version with the value of one parameter changed; the version itself without a path.

    A text is taken as it is, any other value as JSON.
    """
    if not path:
        return base
    params = complete_params(program, base)
    if path not in params:
        raise BadQuery("path", path, f"a parameter of the program: {', '.join(params)}")
    return Version(
        params=params | {path: _read(path, params[path], value)},
        parents=(base.id,),
        note=f"what if: {path}",
    )


def _read(path: str, before: Any, text: str) -> Any:
    if isinstance(before, str):
        return text.replace("\r\n", "\n")
    try:
        return parse(text)
    except ValueError as error:
        raise BadQuery("value", text, f"JSON for {path} ({error})") from None


def _version_of_form(sources: Sources, form: Mapping[str, str], reason: str) -> Version:
    with sources.reading() as reader:
        asked = Asked(sources, reader, {"run": form.get("run", "")})
        run, name = recorded_run(asked), form.get("version", "")
        base = reader.version(name) if name else _recorded_version(run)
        program = sources.program(run.target)
        path = form.get("path", "")
        version = changed_version(base, program, path, form.get("value", ""))
    return attrs.evolve(version, note=reason, origin=Record()) if path else version


def _recorded_version(run: Run) -> Version:
    return next((trace.version for trace in run), Version())


def _paths(program: Any, base: Version) -> list[dict[str, Any]]:
    params = complete_params(program, base)
    return [
        {"path": path, "value": value if isinstance(value, str) else pretty(value)}
        for path, value in sorted(params.items())
    ]


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "reused": plan.reused,
        "kept": _estimate(plan.kept),
        "least": _estimate(plan.least),
        "most": _estimate(plan.most),
        "counts": dict(plan.divergence.counts),
        "version": plan.divergence.version.id,
        "answered": [
            {"label": label, "outputs": plain(trace.outputs)}
            for label, trace in plan.results
            if trace is not None
        ],
        "executions": items_data(plan.divergence),
    }


def _estimate(estimate: CostEstimate) -> dict[str, Any]:
    return attrs.asdict(estimate)


def _dollars(text: str) -> float:
    try:
        usd = float(text)
    except ValueError:
        usd = math.nan
    if not math.isfinite(usd) or usd < 0:
        raise BadQuery("usd", text, "an amount of dollars")
    return usd

"""Evaluations and optimizations that Python began, found again by what their runs keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import click

from lmflow.adapters.registry import choices_in
from lmflow.cli.loading.programs import load
from lmflow.cli.loading.work import METRICS, PARTS, Job, JobSpec, load_job, metric_of, spec_of
from lmflow.data.dataset import Dataset
from lmflow.errors import LmflowError
from lmflow.evaluation.judges import Judge, key_of
from lmflow.execution.budget import Budget
from lmflow.metrics import Metric
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.optimizers.registry import made_again
from lmflow.programs.program import Program
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run


def work_of(run: Run, reader: Reader) -> Job:
    """What an optimization or an evaluation is of, as a command or Python asked for it.

    Where Python did, an error says what can't be found again, and the call that does it there.
    """
    held: Any = run.config.get("python")
    prior = tuple(map(reader.trace, run.config.get("prior", ())))
    if "command" in run.config or held is None:
        return attrs.evolve(load_job(spec_of(run), reader), prior=prior)
    try:
        program, metric = _program(held["program"]), _metric(held["metric"], run.config["metric"])
        parts = {part: _part(reader, digest, held["fields"]) for part, digest in _digests(run)}
        start, optimizer = reader.version(run.config["version"]), _optimizer(run)
    except (LmflowError, click.ClickException) as problem:
        words = problem.message if isinstance(problem, click.ClickException) else str(problem)
        again = (
            "ex.evaluate"
            if run.kind == "evaluate"
            else "ex.optimize, or lmflow.optimizing.replayed offline"
        )
        raise click.ClickException(
            f"run {run.id} was begun in Python; do it there again: {again}. {words}"
        ) from None
    asked = JobSpec(
        held["program"]["name"], held["metric"]["name"], (), optimizer.name if optimizer else "",
        guarded=optimizer is not None and optimizer.name == "guard", version=start.id,
        model=recorded_model(run) or "", ref=held["ref"], samples=run.config.get("samples", 1),
    )  # fmt: skip
    budget = Budget(**held["budget"]) if held["budget"] else None
    return Job(asked, program, metric, start, parts, prior, optimizer, budget, adapters_of(run))


def adapters_of(recorded: Run) -> dict[str, str]:
    """The adapters by models that a run was begun with."""
    return next((choices_in(trace.world).given for trace in recorded), {})


def recorded_model(recorded: Run) -> str | None:
    """The name of the model that a run went to by default, ``None`` where none did."""
    places = [trace.world["models"].get("") for trace in recorded]
    return next((place["model"] for place in places if place), None)


def _program(held: Mapping[str, Any]) -> Program:
    if not held["name"]:
        raise click.ClickException("No module holds its program by a name.")
    found = load(held["name"])
    if found.key != held["key"]:
        raise click.ClickException(f"{held['name']} was edited since.")
    return found


def _metric(held: Mapping[str, Any], key: str) -> Metric | Judge:
    name = held["name"]
    found = METRICS[name](**held["options"]) if name in METRICS else metric_of(name)
    if key_of(found) != key:
        raise click.ClickException(f"The metric {name} was edited since.")
    return found


def _digests(run: Run) -> list[tuple[str, str]]:
    """The data of a run: each part with the hash of its examples."""
    held = run.config["data"]
    return [("data", held)] if run.kind == "evaluate" else [(part, held[part]) for part in PARTS]


def _optimizer(run: Run) -> PlanOptimizer | None:
    """The optimizer of a run, ``None`` of an evaluation."""
    held = run.config.get("optimizer")
    return made_again(held["name"], held["options"]) if held else None


def _part(reader: Reader, digest: str, fields: Sequence[str]) -> Dataset:
    """The examples of that digest, each with its fields in their order. ``NotFound``."""
    none = Dataset("examples", ())
    if digest == none.digest:
        return none
    kept = reader.dataset(digest)
    return Dataset(
        kept.name, [example.only(*(name for name in fields if name in example)) for example in kept]
    )

"""Evaluations and optimizations loaded again from what their runs store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import click

from lmflow.adapters.registry import recorded_adapter_rules
from lmflow.cli.loading.jobs import PARTS, Job, JobSpec, load_job, python_call, spec_of
from lmflow.cli.loading.metrics import METRICS, load_metric
from lmflow.cli.loading.own import adapters_beside
from lmflow.cli.loading.programs import load_program
from lmflow.cli.loading.scripts import check_scripts
from lmflow.data.dataset import Dataset
from lmflow.errors import LmflowError, ProgramError
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.execution.budget import Budget
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.metrics import Metric, name_of
from lmflow.models.registry import IN_BATCHES
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.optimizers.registry import optimizer_from_options
from lmflow.programs.program import Program
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version


def load_recorded_job(run: Run, reader: Reader, allowed: Collection[str] = ()) -> Job:
    """Load the job of a recorded evaluation or optimization, started by a command or in Python.

    If a part of a job that Python started can't be loaded, the error says which, and names the
    Python call that runs the job again. A script that started the run is imported only if it is
    among the ``allowed`` modules.
    """
    check_scripts(run, allowed)
    prior = tuple(map(reader.trace, run.config.get("prior", ())))
    if "command" in run.config or "python" not in run.config:
        job = load_job(spec_of(run), reader)
        return attrs.evolve(job, prior=prior, fixed_optimizer=_optimizer_if_known(run))
    try:
        return attrs.evolve(_python_job(run, reader), prior=prior)
    except (LmflowError, click.ClickException) as problem:
        words = problem.message if isinstance(problem, click.ClickException) else str(problem)
        raise click.ClickException(
            f"run {run.id} was started in Python; do it there again: {python_call(run)}. {words}"
        ) from None


def replayed_version(run: Run, job: Job) -> Version:
    """Replay a recorded optimization offline and return the version that it comes to."""
    return replay_optimization(
        run,
        job.optimizer,
        job.program,
        Traces(job.start, job.data, job.prior),
        job.metric,
        adapters=adapters_beside(job.spec.target),
    )


def _python_job(run: Run, reader: Reader) -> Job:
    stored: Any = run.config["python"]
    program = _program(stored["program"])
    metrics = _metrics(stored, run.config)
    datasets = {part: _part(reader, digest, stored["fields"]) for part, digest in _digests(run)}
    start, optimizer = reader.version(run.config["version"]), _optimizer(run)
    spec = JobSpec(
        stored["program"]["name"],
        stored["metric"]["name"],
        (),
        optimizer.name if optimizer else "",
        guarded=optimizer is not None and optimizer.name == "guard",
        version=start.id,
        model=resumed_model(run) or "",
        ref=stored["ref"],
        samples=run.config.get("samples", 1),
        judge_rows=stored.get("judge_rows"),
    )
    budget = Budget(**stored["budget"]) if stored["budget"] else None
    adapters = recorded_adapters(run)
    metric = next(iter(metrics.values()))
    job = Job(spec, program, metric, start, datasets, (), optimizer, budget, adapters)
    return attrs.evolve(job, named_metrics=metrics)


def recorded_adapters(run: Run) -> dict[str, str]:
    """Return the adapters by models that a run was started with."""
    return next((recorded_adapter_rules(trace.world).as_mapping for trace in run), {})


def recorded_model(run: Run) -> str | None:
    """Return the name of the run's default model, ``None`` if the run had none."""
    places = (trace.world["models"].get("") for trace in run)
    return next((place["model"] for place in places if place), None)


def resumed_model(run: Run) -> str | None:
    """Return the name of the model that goes on with a run: requests that waited for a wave are
    taken up by the model in waves, since live they would be paid again.
    """
    model = recorded_model(run)
    return f"{IN_BATCHES}{model}" if model and run.config.get("waves") else model


def program_of(recorded: Run | Trace, target: str) -> Program:
    """Load the program ``target`` if it is given, else the one that the run or trace names."""
    if not (target or recorded.target):
        raise click.ClickException(
            "the run does not name its program: add --program MODULE:PROGRAM."
        )
    return load_program(target or recorded.target)


def _program(stored: Mapping[str, Any]) -> Program:
    if not stored["name"]:
        raise click.ClickException("No module holds its program by a name.")
    program = load_program(stored["name"])
    if program.key != stored["key"]:
        raise click.ClickException(f"{stored['name']} was edited since.")
    return program


def _metrics(stored: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Metric | Judge]:
    """Load the metrics of a run by name, the primary one first."""
    if "metrics" not in stored:
        metric = _metric(stored["metric"], config["metric"])
        return {name_of(metric): metric}
    keys = dict(config.get("metrics", ())) or {stored["metrics"][0]["as"]: config["metric"]}
    return {each["as"]: _metric(each, keys[each["as"]]) for each in stored["metrics"]}


def _metric(stored: Mapping[str, Any], key: str) -> Metric | Judge:
    name = stored["name"]
    shipped = METRICS.get(name)
    metric = shipped(**stored["options"]) if shipped else load_metric(name)
    if scorer_key(metric) != key:
        raise click.ClickException(f"The metric {name} was edited since.")
    return metric


def _digests(run: Run) -> list[tuple[str, str]]:
    """Return each part of a run's data with the digest of its examples."""
    stored = run.config["data"]
    if run.kind == "evaluate":
        return [("data", stored)]
    return [(part, stored[part]) for part in PARTS]


def _optimizer(run: Run) -> PlanOptimizer | None:
    """Return the optimizer of a run, ``None`` for an evaluation."""
    stored = run.config.get("optimizer")
    return optimizer_from_options(stored["name"], stored["options"]) if stored else None


def _optimizer_if_known(run: Run) -> PlanOptimizer | None:
    """Return the optimizer of a command's run with the schedule that was fitted to its budget;
    ``None`` if its recorded options do not make it again, but those of the command may.
    """
    try:
        return _optimizer(run)
    except ProgramError:
        return None


def _part(reader: Reader, digest: str, fields: Sequence[str]) -> Dataset:
    """Return the stored examples of that digest, their fields in the order of ``fields``.

    Raises ``NotFound`` if the store does not have them.
    """
    empty = Dataset("examples", ())
    if digest == empty.digest:
        return empty
    stored = reader.dataset(digest)
    rows = []
    for example in stored:
        names = [name for name in fields if name in example]
        rows.append(example.only(*names))
    return Dataset(stored.name, rows)

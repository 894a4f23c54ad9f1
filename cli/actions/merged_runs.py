"""Merges the recorded runs of shards into one recorded run, and scores a merged evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import attrs
import click

from lmflow.cli.actions.recorded_jobs import rescore
from lmflow.cli.loading.jobs import Job, spec_of
from lmflow.cli.loading.metrics import load_metrics
from lmflow.cli.loading.programs import load_program
from lmflow.cli.loading.recorded_data import recorded_datasets, recorded_evaluation
from lmflow.cli.loading.recorded_jobs import load_recorded_job
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judging import is_judgement
from lmflow.exchange.merged_runs import merge_runs
from lmflow.stores.opened import AnyStore
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import Event, RunClosed, RunOpened, ScoreRecorded, TraceReused
from lmflow.traces.trace import Run

_RECENT = 1000
"""The latest runs among which the other shards are looked for."""

_EVENTS = 1000
"""The events that are recorded at once."""


def shards_beside(store: AnyStore, run: Run) -> list[Run]:
    """Return the latest finished run of each shard of the same data, ``run`` among them; of a
    merged run those that it was merged of.
    """
    if "shards" in run.config:
        return [store.run(name) for name in run.config["shards"]]
    own = run.config.get("shard")
    if not isinstance(own, Mapping):
        return [run]
    shards = {own["index"]: run}
    for other in store.runs.where(f"kind={run.kind}", limit=_RECENT):
        settings = other.config.get("shard")
        if other.status != "done" or other.name != run.name or not isinstance(settings, Mapping):
            continue
        if "part" in other.config:  # of a worker
            continue
        if all(settings.get(name) == own[name] for name in ("of", "data", "total")):
            shards.setdefault(settings["index"], other)
    return [store.run(shard.id) for shard in shards.values()]


def merged_run(runs: Sequence[Run]) -> Run:
    """Merge the runs of shards; what a command stored on them speaks of the whole then."""
    merged = merge_runs(*runs)
    config = {name: value for name, value in merged.config.items() if name != "map"}
    if isinstance(command := config.get("command"), Mapping):
        config["command"] = {name: value for name, value in command.items() if name != "shard"}
    return attrs.evolve(merged, config=type(merged.config)(config))


def merged_evaluation(run: Run, reader: Reader, *, recorded: bool) -> Evaluation:
    """Return the evaluation of a merged run.

    Args:
        run: The merged run.
        reader: The store, which has the data and the scores.
        recorded: Whether the recorded scores count; else the metrics are loaded, and score anew.

    Raises:
        click.ClickException: The store and the files no longer have the data.
    """
    datasets = recorded_datasets(run, reader)
    if recorded:
        return recorded_evaluation(run, reader, datasets[0] if datasets else None)
    if "command" not in run.config:
        return rescore(run, load_recorded_job(run, reader))
    if not datasets:
        raise click.ClickException(
            "neither the store nor a file has the examples any more: add --recorded, which takes"
            " the recorded scores."
        )
    spec = spec_of(run)
    metrics = load_metrics([spec.metric, *spec.other_metrics])
    program, metric = load_program(spec.target), next(iter(metrics.values()))
    start = reader.version(spec.version)
    job = Job(spec, program, metric, start, {"data": datasets[0]}, named_metrics=metrics)
    return rescore(run, job)


def record_merged(store: AnyStore, run: Run, result: str) -> bool:
    """Record a merged run, whose executions refer to those of the shards.

    Returns:
        ``False`` if the store has it already.
    """
    known = next((each for each in store.runs(_RECENT) if each.id == run.id), None)
    if known is not None and known.status == "done":
        return False
    begun = 0 if known is None else len(store.run(run.id))
    if known is None:
        store.append(RunOpened(attrs.evolve(run, items=(), status="open", ended=0))).result()
    record_items(store, run, begun)
    store.append(RunClosed(run.id, "done", run.root, run.ended, result)).result()
    return True


def record_items(store: AnyStore, run: Run, begun: int) -> None:
    """Record the executions of a merged run from a position on, as references to those of its
    parts.
    """
    events = _events(run, store, begun)
    while part := tuple(islice(events, _EVENTS)):
        store.append(*part).result()


def _events(run: Run, store: AnyStore, begun: int) -> Iterator[Event]:
    """Yield the references, from a position on, each with the scores that belong to the run."""
    for position, (label, trace) in enumerate(run.items):
        if position < begun:
            continue
        yield TraceReused(run.id, label, position, trace.id)
        if run.kind == "evaluate" and not is_judgement(label):
            yield from _scores(store, trace.id, run)


def _scores(store: AnyStore, trace: str, run: Run) -> Iterator[ScoreRecorded]:
    """Yield the latest score of an execution by each metric, as one of the merged run."""
    latest = {
        score.metric: score
        for score in store.scores(trace)
        if score.metric and score.run in run.config["shards"]
    }
    for score in latest.values():
        yield attrs.evolve(score, run=run.id)

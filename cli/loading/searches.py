"""The record of an optimization, for pages that show it: its scores, its budget, its proof."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import click

from lmflow.cli.loading.jobs import spec_of
from lmflow.cli.loading.metrics import METRICS, load_metric
from lmflow.cli.loading.recorded_data import recorded_datasets
from lmflow.cli.loading.recorded_jobs import load_recorded_job, replayed_version
from lmflow.data.dataset import Dataset
from lmflow.errors import BadData, LmflowError, Unservable
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.evaluation.rescoring import examples_of
from lmflow.evaluation.rows import row_of, score_or_failure
from lmflow.metrics import Metric
from lmflow.stores.sqlite.lists.search_rows import search_rows
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run


def search_executions(reader: Reader, run: str, limit: int) -> list[dict[str, Any]]:
    """Return the first executions of an optimization with what each one spent."""
    return search_rows(reader.listing, run, limit)


def search_scores(reader: Reader, run: Run, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score the executions of an optimization again, by its metric and its stored examples.

    Nothing is imported: a metric of one's own scores only if its module is loaded already.

    Args:
        reader: The open reader.
        run: The optimization.
        rows: Executions of the program that is optimized, each with ``row``, ``label``, ``trace``.

    Returns:
        ``scores`` by trace, the ids of the examples that candidates are chosen by (``select``), the
        name of the metric, and the ``problem`` if there are no scores.
    """
    datasets = recorded_datasets(run, reader)
    digests = dict(run.config["data"])
    select = [data for data in datasets if data.digest == digests.get("select") and data]
    scores: dict[str, float] = {}
    ids = list(select[0].ids) if select else []
    facts = {"scores": scores, "select": ids, "problem": ""}
    name, metric, problem = _metric(run)
    if metric is None or not datasets:
        return {**facts, "metric": name, "problem": problem or "its examples are not stored"}
    by_id = {id_: row for data in datasets for id_, row in zip(data.ids, data, strict=True)}
    examples = Dataset("examples", by_id.values())
    traces = reader.traces_at([row["row"] for row in rows])
    for row, trace in zip(rows, traces, strict=True):
        own = attrs.evolve(run, items=((row["label"], trace),))
        try:
            (example,) = examples_of(own, examples)
        except BadData:
            continue
        scored = row_of(row["label"], example, trace, score_or_failure(metric, example, trace))
        if scored.score is not None:
            scores[row["trace"]] = scored.score.value
    return {**facts, "metric": name}


def search_budget(run: Run) -> dict[str, Any]:
    """Return the limits of a run's budget: ``calls`` and ``usd``, ``None`` without a limit."""
    if "command" in run.config:
        spec = spec_of(run)
        return {"calls": spec.calls, "usd": spec.usd}
    limits = run.config.get("python", {}).get("budget") or {}
    return {"calls": limits.get("calls"), "usd": limits.get("usd")}


def prove_search(reader: Reader, run: Run) -> dict[str, Any]:
    """Replay an optimization offline: which version it comes to, and whether that is the recorded
    one. Nothing is sent; the program's module is imported.
    """
    started = time.perf_counter()
    try:
        job = load_recorded_job(run, reader)
    except click.ClickException as error:
        raise Unservable("the replay", error.message.rstrip("."), "") from error
    version = replayed_version(run, job)
    return {
        "version": version.id,
        "recorded": run.result,
        "same": run.result in {"", version.id},
        "calls": sum(len(trace.answers) for trace in run),
        "executions": len(run),
        "seconds": time.perf_counter() - started,
    }


def _metric(run: Run) -> tuple[str, Metric | None, str]:
    """Return the name of a run's metric, the metric, and why there is none."""
    stored = run.config.get("python", {}).get("metric") or {}
    name = stored.get("name", "") or str(run.config.get("command", {}).get("metric", ""))
    module, colon, _ = name.partition(":")
    shipped = METRICS.get(module)
    if not name or (shipped is None and not (colon and module in sys.modules)):
        return name, None, f"its metric {name or 'has no name, and'} is not loaded"
    try:
        metric = shipped(**stored["options"]) if shipped and stored else load_metric(name)
    except (LmflowError, click.ClickException) as error:
        return name, None, str(error)
    if isinstance(metric, Judge):
        return name, None, f"its metric {name} is a judge, whose verdicts are executions of the run"
    if scorer_key(metric) != run.config["metric"]:
        return name, None, f"its metric {name} was edited since"
    return name, metric, ""

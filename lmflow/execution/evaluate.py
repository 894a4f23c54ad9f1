"""Evaluation live: a program under a version run on examples, each scored as the metric says, on
record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs

from lmflow.data.dataset import Dataset
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, evaluation_by_judge, scorer_key
from lmflow.evaluation.rescoring import examples_of, scores_from
from lmflow.execution.open_run import OpenRun, by_label
from lmflow.execution.progress import Progress, Step, silent
from lmflow.execution.rollout import Rollout
from lmflow.metrics import Metric, name_of
from lmflow.programs.program import Program, take
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version


async def evaluate_on(  # noqa: PLR0913 - what an evaluation is of
    grown: OpenRun, program: Program, version: Version, data: Dataset, metric: Metric | Judge, *, samples: int = 1,
    label: str = "", cluster: str = "", progress: Progress = silent,
) -> Evaluation:  # fmt: skip
    """Run a version on each example of a data set, as part of a run, and score it; the scores are
    on record.

    A judge is asked when all are run; its calls are recorded as part of the same run.
    """
    rollouts = rollouts_on(program, version, data, label, samples)
    with progress(str(program), len(rollouts) * (2 if isinstance(metric, Judge) else 1)) as step:
        traces = by_label(rollouts, await grown.add(rollouts, step))
        run = attrs.evolve(grown.run, items=tuple(traces.items()), name=str(program))
        if isinstance(metric, Judge):
            found = evaluation_by_judge(
                run, data, metric, await _verdicts(grown, run, data, metric, step)
            )
        else:
            found = scores_from(run, data, metric)
    await grown.keep(*_scored(found, metric))
    return attrs.evolve(found, cluster=cluster)


def rollouts_on(
    program: Program, version: Version, data: Dataset, label: str = "", samples: int = 1
) -> list[Rollout]:
    """A rollout an example and sample, labelled ``ex[id]``, and ``/n[k]`` where there are several
    samples.

    An example without an id of its own is labelled by its position.
    """
    if samples < 1:
        msg = f"samples must be at least 1, found {samples}"
        raise ValueError(msg)
    lead = f"{label}/" if label else ""
    rows = [(f"{lead}ex[{row.get('id', at)}]", take(program, row)) for at, row in enumerate(data)]
    if samples == 1:
        return [Rollout(pending, version, name) for name, pending in rows]
    return [
        Rollout(pending.sampled(k), version, f"{name}/n[{k}]")
        for name, pending in rows
        for k in range(samples)
    ]


async def _verdicts(
    grown: OpenRun, run: Run, data: Dataset, judge: Judge, step: Step
) -> dict[str, Trace]:
    """What the judge says, by the labels of what it judges."""
    pairs = zip(run.items, examples_of(run, data), strict=True)
    asked = {
        name: Rollout(
            judge.program(**judge.inputs(example, trace.outputs)), judge.under, f"{name}/judge"
        )
        for (name, trace), example in pairs
        if trace.outputs is not None
    }
    return dict(zip(asked, await grown.add(list(asked.values()), step), strict=True))


def _scored(found: Evaluation, metric: Metric | Judge) -> Sequence[ScoreRecorded]:
    key = scorer_key(metric)
    name, now = name_of(metric), time.time_ns()
    return [
        ScoreRecorded(row.trace, name, row.score.value, row.score.feedback, key, "", now)
        for row in found.rows
        if row.score is not None
    ]

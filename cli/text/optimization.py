"""Evaluations, comparisons, plans and reports of optimizations as text for a terminal."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import toolz

from lmflow.cli.text.terminal import line, table
from lmflow.cli.text.versions import diff_text
from lmflow.data.dataset import Data
from lmflow.errors import short
from lmflow.evaluation.comparison import Comparison, compare
from lmflow.evaluation.evaluation import Evaluation
from lmflow.execution.budget import Budget, Spent
from lmflow.execution.costs import spent_on
from lmflow.execution.jobs.judging import JudgingPlan
from lmflow.execution.jobs.optimization import Optimization
from lmflow.messages.replies import ChatReply, EmbedReply, Usage
from lmflow.models.prices import cost_of
from lmflow.optimizers.parts.plan import Bound
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.traces.counts import count_model_calls
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.versions.diff import diff
from lmflow.versions.version import Version
from lmflow.views.tables import columns_of

Points = Sequence[tuple[int, float]]

ROWS = 20
_BARS = "▁▂▃▄▅▆▇█"
_CHARACTERS_PER_TOKEN = 4  # of English text, roughly
_PROPOSAL = Usage(700, 300)  # tokens that a proposal reads and writes at most, roughly
_REPLY_TOKENS = 256  # tokens that a step without max_tokens writes, roughly
_REQUEST_KINDS = ("rollouts", "proposals", "judgements")
_SPENDING_COLUMNS = ("phase", "rollouts", "calls", "reused", "tokens", "usd")
_HOLD_BACK = "--held FILE or --split .5,.25,.25"


def evaluation_text(evaluation: Evaluation) -> str:
    """Return an evaluation's summary, histogram and worst rows."""
    rows = evaluation.table()
    shown = [{name: _cell(value) for name, value in row.items()} for row in rows[:ROWS]]
    more = f"\n… {len(rows) - ROWS} more rows, the better ones" if len(rows) > ROWS else ""
    worst = table(_same_columns(shown), columns_of(shown))
    return clean(f"{evaluation}\n\n{evaluation.histogram()}\n\n{worst}{more}")


def _cell(value: Any) -> Any:
    return line(pretty(value), 40) if isinstance(value, Mapping) else value


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison's verdict, its counts and the pairs that differ."""
    differing = [row for row in comparison.table() if row["a"] != row["b"]]
    rows = _same_columns(differing[:ROWS])
    return clean(f"{comparison}\n\n{table(rows, columns_of(rows))}" if rows else str(comparison))


@attrs.frozen
class Price:
    """The calls and tokens of one rollout of a program; ``source`` says how they are known."""

    calls: float
    usage: Usage
    source: str


def price_of(
    program: Program, version: Version, example: Mapping[str, Any], last: Trace | None
) -> Price:
    """Return a rollout's price: that of the version's last trace if its tokens were counted, else
    an estimate from the length of the prompts.
    """
    replies = [call.outcome for call in last.answers.values()] if last else []
    usages = [reply.usage for reply in replies if isinstance(reply, (ChatReply, EmbedReply))]
    if last is not None and usages and all(usage.prompt is not None for usage in usages):
        read = sum(usage.prompt or 0 for usage in usages)
        written = sum(usage.completion or 0 for usage in usages)
        calls = max(1, count_model_calls(last))
        return Price(calls, Usage(read, written), "as the last recorded run took")
    return _estimate(program, version, example)


def _estimate(program: Program, version: Version, example: Mapping[str, Any]) -> Price:
    params, steps = complete_params(program, version), program.predictors
    characters = len(steps) * len(pretty(example))
    written = 0
    for step in steps:
        characters += len(pretty(params[f"{step}.instruction"]))
        characters += len(pretty(params[f"{step}.demos"]))
        written += int(params[f"{step}.options"].get("max_tokens") or _REPLY_TOKENS)
    read = characters // _CHARACTERS_PER_TOKEN
    return Price(len(steps), Usage(read, written), "estimated from the length of the prompts")


def plan_data(bound: Bound, judging: JudgingPlan, price: Price, model: str) -> dict[str, Any]:
    """Return the most that an optimization takes, its judging included: rollouts, calls, tokens,
    and nano-dollars (``None`` without a known price).
    """
    rollouts = bound.rollouts + judging.rollouts
    extra = bound.proposals + bound.judgements + judging.judgements
    read = rollouts * (price.usage.prompt or 0) + extra * (_PROPOSAL.prompt or 0)
    written = rollouts * (price.usage.completion or 0) + extra * (_PROPOSAL.completion or 0)
    judging_calls = max(judging.calls, round(judging.rollouts * price.calls) + judging.judgements)
    cost = cost_of(model, Usage(read, written), time.time_ns()) if model else None
    return {
        "rollouts": bound.rollouts,
        "proposals": bound.proposals,
        "judgements": bound.judgements,
        "judging": {
            "rows": judging.rows,
            "rollouts": judging.rollouts,
            "judgements": judging.judgements,
            "calls": judging_calls,
        },
        "calls": round(bound.rollouts * price.calls)
        + bound.proposals
        + bound.judgements
        + judging_calls,
        "tokens": read + written,
        "cost": cost,
        "tokens_are": price.source,
    }


def plan_text(
    name: str, program: Program, data: Data, plan: Mapping[str, Any], budget: Budget | None
) -> str:
    """Return a plan in words."""
    parts = ", ".join(f"{part} {len(getattr(data, part))}" for part in ("train", "select", "held"))
    cost = "no known price" if plan["cost"] is None else f"${plan['cost'] / 1e9:,.4f}"
    requests = ", ".join(
        f"{plan[kind]:,} {kind}" for kind in ("rollouts", "proposals", "judgements")
    )
    tokens = f"about {plan['tokens']:,} tokens ({plan['tokens_are']})"
    end = f"{budget}: it ends there with the best so far" if budget else "none: it runs to its end"
    return "\n".join(
        [
            f"{name} of {clean(str(program))}: {parts}",
            f"at most   {requests}",
            f"judging   {_judging_text(plan['judging'])}",
            f"that is   {plan['calls']:,} calls, {tokens}, {cost}",
            f"budget    {end}",
            "Nothing was sent. Recorded calls are reused and cost nothing.",
        ]
    )


def _judging_text(judging: Mapping[str, int]) -> str:
    if not judging["rows"]:
        return "nothing: no held-back example is scored"
    judgements = f", {judging['judgements']:,} judgements" if judging["judgements"] else ""
    rollouts = f"{judging['rollouts']:,} rollouts on {judging['rows']:,} held-back examples"
    return f"{rollouts}{judgements}, {judging['calls']:,} calls: the start and the new version"


def report(
    optimization: Optimization, refused: Evaluation | None = None, *, colour: bool
) -> Iterator[str]:
    """Yield the closing report of an optimization.

    ``refused`` is the evaluation of the version that a guard refused, if it refused one.
    """
    yield optimization.outcome
    if optimization.stopped:
        yield f"stopped early: {line(optimization.stopped, 160)}"
    yield from _scores(optimization)
    if optimization.not_moved:
        yield line(optimization.not_moved, 400)
    if refused is not None and optimization.before is not None:
        yield f"refused   {clean(scored(refused))}, version {short(refused.version)}"
        yield f"guard     {clean(compare(optimization.before, refused).verdict)}"
    yield ""
    changes = diff_text(diff(optimization.start, optimization.version), colour=colour)
    yield changes if colour else clean(changes)
    yield ""
    yield "spending by phase"
    yield table(spending(optimization.run), _SPENDING_COLUMNS)
    judging = f", of which {optimization.judging} on judging" if optimization.before else ""
    yield f"in all {optimization.spent}{judging}"
    yield ""
    yield f"learning curve  {curve_text(optimization.curve)}"


def spending(run: Run) -> list[dict[str, Any]]:
    """Return a mapping per phase, in order: rollouts, sent and reused calls, tokens, dollars
    (``None`` if unknown).
    """
    phases: dict[str, list[tuple[str, Trace]]] = toolz.groupby(
        lambda item: phase_of(item[0]), run.items
    )
    rows = []
    for phase, items in phases.items():
        traces = [trace for _, trace in items]
        rows.append({"phase": phase, **_spent(traces)})
    return rows


def phase_of(label: str) -> str:
    """Return the phase of a rollout's label: its place in the run tree, without numbers."""
    place = label.partition("/ex[")[0].partition("ex[")[0]
    return re.sub(r"\[[^\]]*\]", "", place) or "rollouts"


def curve_text(points: Points, width: int = 60) -> str:
    """Return a learning curve as bars on one line between its lowest and highest score."""
    if not points:
        return "no scores"
    last = points[-1][0]
    low, high = min(score for _, score in points), max(score for _, score in points)
    bars = ""
    for column in range(width):
        score = _best_after(points, last * (column + 1) / width)
        bars += " " if score is None else _BARS[_height(score, low, high)]
    return f"{low:.3f} {bars} {high:.3f}  after {last:,} calls"


def steps(points: Points) -> list[tuple[float, float]]:
    """Return the corners of a curve whose score stays until a better one is reached."""
    corners: list[tuple[float, float]] = list(points[:1])
    for (_, score), point in itertools.pairwise(points):
        corners += [(point[0], score), point]
    return corners


def _best_after(points: Points, calls: float) -> float | None:
    """Return the best score after so many calls, ``None`` before the first."""
    return next((score for after, score in reversed(points) if after <= calls), None)


def _height(score: float, low: float, high: float) -> int:
    return 0 if high == low else round((score - low) / (high - low) * (len(_BARS) - 1))


def _spent(traces: Sequence[Trace]) -> dict[str, Any]:
    calls = [call for trace in traces for call in trace.calls]
    paid: Spent = spent_on(calls)
    unknown = paid.unknown and paid.cost == 0
    return {
        "rollouts": len(traces),
        "calls": paid.calls,
        "reused": sum(1 for call in calls if call.source),
        "tokens": paid.tokens,
        "usd": None if unknown else f"{paid.cost / 1e9:.4f}",
    }


def _scores(optimization: Optimization) -> Iterator[str]:
    if optimization.before is not None:
        yield f"before    {clean(scored(optimization.before))}"
    comparison = optimization.comparison
    if optimization.problem or (optimization.before is not None and optimization.not_judged):
        yield f"not judged: {line(optimization.not_judged, 400)}"
    elif optimization.skipped:
        yield optimization.skipped.replace("lf.Data(..., held=rows)", _HOLD_BACK)
    if comparison and optimization.after is not None:
        yield f"after     {clean(scored(optimization.after))}"
        yield f"held back {clean(comparison.verdict)}"


def scored(evaluation: Evaluation) -> str:
    """Return an evaluation's mean with its interval, and how many rows failed."""
    if evaluation.mean is None:
        score = "nothing was scored"
    else:
        score = f"{evaluation.mean}, n {evaluation.mean.n}"
    failed = f"; {len(evaluation.failed)} failed" if evaluation.failed else ""
    return f"{evaluation.metric_name} {score}{failed}"


def _same_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with all columns that any of them has."""
    names = columns_of(rows)
    return [{name: row.get(name) for name in names} for row in rows]

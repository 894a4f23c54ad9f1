"""Evaluations, comparisons, plans and reports of optimizations as words for a terminal."""

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
from lmflow.errors import short
from lmflow.evaluation.comparison import Comparison, compare
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.tables import columns_of
from lmflow.execution.budget import Spent, spent_on
from lmflow.execution.optimize import Optimization
from lmflow.messages.replies import ChatReply, EmbedReply, Usage
from lmflow.models.prices import cost_of
from lmflow.optimizers.combinators import count_model_calls
from lmflow.optimizers.parts.plan import Bound
from lmflow.programs.program import Program, completed
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.versions.diff import diff
from lmflow.versions.version import Version

Points = Sequence[tuple[int, float]]

ROWS = 20
_BARS = "▁▂▃▄▅▆▇█"
_CHARACTERS = 4  # of English a token, about
_PROPOSAL = Usage(700, 300)  # what a proposal reads and writes at most, about
_ANSWER = 256  # what a step writes where it has no max_tokens


def evaluation_text(found: Evaluation) -> str:
    """What came of an evaluation: words, histogram, the worst rows."""
    rows = found.table()
    shown = [{name: line(pretty(cell), 40) if isinstance(cell, Mapping) else cell for name, cell in row.items()}
             for row in rows[:ROWS]]  # fmt: skip
    more = f"\n… {len(rows) - ROWS} more rows, the better ones" if len(rows) > ROWS else ""
    return clean(
        f"{found}\n\n{found.histogram()}\n\n{table(_even(shown), columns_of(shown))}{more}"
    )


def comparison_text(found: Comparison) -> str:
    """What came of a comparison: verdict, counts, the pairs that differ."""
    rows = _even([row for row in found.table() if row["a"] != row["b"]][:ROWS])
    return clean(f"{found}\n\n{table(rows, columns_of(rows))}" if rows else str(found))


@attrs.frozen
class Price:
    """What one rollout of a program takes: calls, tokens read and written, and what that is known
    from.
    """

    calls: float
    usage: Usage
    source: str


def price_of(
    program: Program, version: Version, example: Mapping[str, Any], last: Trace | None
) -> Price:
    """A rollout's price, from the last recorded one of the version, else from the length of its
    prompts.
    """
    replies = [call.outcome for call in last.answers.values()] if last else []
    usages = [reply.usage for reply in replies if isinstance(reply, (ChatReply, EmbedReply))]
    if last is not None and usages and all(usage.prompt is not None for usage in usages):
        read, written = (
            sum(getattr(u, side) or 0 for u in usages) for side in ("prompt", "completion")
        )
        return Price(
            max(1, count_model_calls(last)), Usage(read, written), "as the last recorded run took"
        )
    full, steps = completed(program, version), program.predictors
    texts = sum(
        len(pretty(full[f"{s}.{slot}"])) for s in steps for slot in ("instruction", "demos")
    )
    read = (texts + len(steps) * len(pretty(example))) // _CHARACTERS
    written = sum(int(full[f"{step}.options"].get("max_tokens") or _ANSWER) for step in steps)
    return Price(len(steps), Usage(read, written), "estimated from the length of the prompts")


def plan_data(bound: Bound, price: Price, model: str) -> dict[str, Any]:
    """The most that an optimization takes: rollouts, calls, tokens, nano-dollars (``None``: no
    known price).
    """
    more = bound.proposals + bound.judgements
    read = bound.rollouts * (price.usage.prompt or 0) + more * (_PROPOSAL.prompt or 0)
    written = bound.rollouts * (price.usage.completion or 0) + more * (_PROPOSAL.completion or 0)
    return {
        "rollouts": bound.rollouts, "proposals": bound.proposals, "judgements": bound.judgements,
        "calls": round(bound.rollouts * price.calls) + more, "tokens": read + written,
        "cost": cost_of(model, Usage(read, written), time.time_ns()) if model else None, "tokens_are": price.source,
    }  # fmt: skip


def plan_text(name: str, program: Program, data: Any, plan: Mapping[str, Any], budget: Any) -> str:
    """A plan in words."""
    parts = ", ".join(f"{part} {len(getattr(data, part))}" for part in ("train", "select", "held"))
    cost = "no known price" if plan["cost"] is None else f"${plan['cost'] / 1e9:,.4f}"
    asked = [
        f"{plan['rollouts']:,} rollouts",
        f"{plan['proposals']:,} proposals",
        f"{plan['judgements']:,} judgements",
    ]
    return "\n".join([
        f"{name} of {clean(str(program))}: {parts}",
        f"at most   {', '.join(asked)}",
        f"that is   {plan['calls']:,} calls, about {plan['tokens']:,} tokens ({plan['tokens_are']}), {cost}",
        f"budget    {budget}: it ends there with the best so far" if budget else "budget    none: it runs to its end",
        "Nothing was sent. Recorded calls are reused and cost nothing.",
    ])  # fmt: skip


def report(done: Optimization, refused: Evaluation | None = None, *, colour: bool) -> Iterator[str]:
    """The closing report of an optimization; ``refused`` is what a guard saw and kept the start
    version.
    """
    yield done.outcome
    if done.stopped:
        yield f"stopped early: {line(done.stopped, 160)}"
    yield from _scores(done)
    if refused is not None and done.before is not None:
        yield f"refused   {clean(scored(refused))}, version {short(refused.version)}"
        yield f"guard     {clean(compare(done.before, refused).verdict)}"
    yield ""
    yield (
        clean(diff_text(diff(done.start, done.version), colour=False))
        if not colour
        else diff_text(diff(done.start, done.version), colour=True)
    )
    yield ""
    yield "what was spent on what"
    yield table(spending(done.run), ["phase", "rollouts", "calls", "reused", "tokens", "usd"])
    yield ""
    yield f"learning curve  {curve_text(done.curve)}"


def spending(run: Run) -> list[dict[str, Any]]:
    """One mapping a phase, in order: rollouts, calls that were sent and reused, tokens, dollars
    (``None``: unknown).
    """
    phases: dict[str, list[tuple[str, Trace]]] = toolz.groupby(
        lambda item: phase_of(item[0]), run.items
    )
    return [
        {"phase": phase, **_spent([trace for _, trace in items])} for phase, items in phases.items()
    ]


def phase_of(label: str) -> str:
    """The phase of a rollout's label: where in the run tree, without numbers."""
    return re.sub(r"\[[^\]]*\]", "", label.partition("/ex[")[0].partition("ex[")[0]) or "rollouts"


def curve_text(points: Points, width: int = 60) -> str:
    """A learning curve as bars on one line, and where it begins and ends."""
    if not points:
        return "no scores"
    last = points[-1][0]
    low, high = min(score for _, score in points), max(score for _, score in points)
    marks = [_at(points, last * (place + 1) / width) for place in range(width)]
    bars = "".join(" " if mark is None else _BARS[_step(mark, low, high)] for mark in marks)
    return f"{low:.3f} {bars} {high:.3f}  after {last:,} calls"


def steps(points: Points) -> list[tuple[float, float]]:
    """The corners of a curve whose score stays until it is beaten."""
    corners = [(calls, old) for (_, old), (calls, _) in itertools.pairwise(points)]
    return [
        point
        for pair in itertools.zip_longest(points, corners)
        for point in pair
        if point is not None
    ]


def _at(points: Points, calls: float) -> float | None:
    """The best score after so many calls, ``None`` before the first."""
    return next((score for after, score in reversed(points) if after <= calls), None)


def _step(score: float, low: float, high: float) -> int:
    return 0 if high == low else round((score - low) / (high - low) * (len(_BARS) - 1))


def _spent(traces: Sequence[Trace]) -> dict[str, Any]:
    calls = [call for trace in traces for call in trace.calls]
    paid: Spent = spent_on(calls)
    reused = sum(1 for call in calls if call.source)
    usd = None if paid.unknown and paid.cost == 0 else f"{paid.cost / 1e9:.4f}"
    return {
        "rollouts": len(traces),
        "calls": paid.calls,
        "reused": reused,
        "tokens": paid.tokens,
        "usd": usd,
    }


def _scores(done: Optimization) -> Iterator[str]:
    if done.before is None or done.after is None:
        yield "no data was held back, so nothing says whether it is better: --held FILE or --split .5,.25,.25"
        return
    yield f"before    {clean(scored(done.before))}"
    if found := done.comparison:
        yield f"after     {clean(scored(done.after))}"
        yield f"held back {clean(found.verdict)}"


def scored(found: Evaluation) -> str:
    """An evaluation's mean with its interval, and what failed."""
    score = "nothing was scored" if found.mean is None else f"{found.mean}, n {found.mean.n}"
    return f"{found.metric_name} {score}{f'; {len(found.failed)} failed' if found.failed else ''}"


def _even(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows that all have the columns of any."""
    names = columns_of(rows)
    return [{name: row.get(name) for name in names} for row in rows]

"""Evaluations, comparisons, plans and reports of optimizations as text for a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.cli.text.versions import coloured
from lmflow.data.dataset import Data
from lmflow.evaluation.comparison import Comparison
from lmflow.evaluation.evaluation import Evaluation
from lmflow.execution.budget import Budget
from lmflow.execution.jobs.judging import JudgingPlan
from lmflow.execution.jobs.optimization import Optimization
from lmflow.execution.jobs.optimization_text import curve_text, phase_of, scored, spending, steps
from lmflow.messages.replies import ChatReply, EmbedReply, Usage
from lmflow.models.prices import cost_of
from lmflow.optimizers.parts.limits import Bound
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.traces.counts import count_model_calls
from lmflow.traces.trace import Trace
from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.versions.version import Version
from lmflow.views.amounts import dollars
from lmflow.views.lines import counted

__all__ = [
    "Price",
    "comparison_text",
    "curve_text",
    "evaluation_text",
    "phase_of",
    "plan_data",
    "plan_text",
    "price_of",
    "report",
    "scored",
    "spending",
    "steps",
]

_CHARACTERS_PER_TOKEN = 4  # of English text, roughly
_PROPOSAL = Usage(700, 300)  # tokens that a proposal reads and writes at most, roughly
_REPLY_TOKENS = 256  # tokens that a step without max_tokens writes, roughly
_REQUEST_KINDS = ("rollouts", "proposals", "judgements")
_HOLD_BACK = "--held FILE or --split .5,.25,.25"


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
    unlimited = round(bound.rollouts * price.calls) + bound.proposals + bound.judgements
    search_calls = unlimited if bound.calls is None else min(unlimited, bound.calls)
    # A search that limits its calls takes few of its rollouts or few of its proposals.
    share = search_calls / unlimited if unlimited else 1.0
    rollouts = round(share * bound.rollouts) + judging.rollouts
    extra = round(share * (bound.proposals + bound.judgements)) + judging.judgements
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
        "calls": search_calls + judging_calls,
        "tokens": read + written,
        "cost": cost,
        "tokens_are": price.source,
    }


def plan_text(  # noqa: PLR0913, PLR0917 - the parts of a plan
    name: str,
    program: Program,
    data: Data,
    plan: Mapping[str, Any],
    budget: Budget | None,
    schedule: str = "",
) -> str:
    """Return a plan in words; ``schedule`` says what the budget buys."""
    parts = ", ".join(f"{part} {len(getattr(data, part))}" for part in ("train", "select", "held"))
    cost = "no known price" if plan["cost"] is None else dollars(plan["cost"] / 1e9)
    requests = ", ".join(
        f"{plan[kind]:,} {kind}" for kind in ("rollouts", "proposals", "judgements")
    )
    tokens = f"about {plan['tokens']:,} tokens ({plan['tokens_are']})"
    end = f"{budget}: it ends there with the best so far" if budget else "none: it runs to its end"
    lines = [
        f"{name} of {clean(str(program))}: {parts}",
        f"schedule  {schedule}",
        f"at most   {requests}",
        f"judging   {_judging_text(plan['judging'])}",
        f"that is   {counted(plan['calls'], 'call')}, {tokens}, {cost}",
        f"budget    {end}",
        "Nothing was sent. Recorded calls are reused and cost nothing.",
    ]
    return "\n".join(line for line in lines if schedule or not line.startswith("schedule"))


def _judging_text(judging: Mapping[str, int]) -> str:
    if not judging["rows"]:
        return "nothing: no held-back example is scored"
    judgements = f", {judging['judgements']:,} judgements" if judging["judgements"] else ""
    rollouts = f"{judging['rollouts']:,} rollouts on {judging['rows']:,} held-back examples"
    calls = counted(judging["calls"], "call")
    return f"{rollouts}{judgements}, {calls}: the start and the new version"


def evaluation_text(evaluation: Evaluation) -> str:
    """Return an evaluation's summary, histogram and worst rows."""
    return evaluation.text()


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison's verdict, its counts and the pairs that differ."""
    return comparison.text()


def report(
    optimization: Optimization, refused: Evaluation | None = None, *, colour: bool
) -> Iterator[str]:
    """Yield the closing report of an optimization.

    ``refused`` is the evaluation of the version that a guard refused, if it refused one.
    """
    style = coloured if colour else None
    yield optimization.text(refused, style=style, hold_back=_HOLD_BACK)

"""Thresholds and weights of steps that choose, fitted to recorded executions without a call."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import example_id
from lmflow.errors import BadData, ProgramError
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.evaluation.judges import Judge
from lmflow.interpreter.choices import Decision
from lmflow.optimizers.decisions import RecordedDecisions, decision_params, undecided
from lmflow.optimizers.parts.bootstrap import adapt_version
from lmflow.optimizers.parts.needs import Need, traces_of_examples
from lmflow.optimizers.parts.plan import PRIOR, TRAIN, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.verdict import Verdict, judge_differences
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.signatures.choices import THRESHOLD, WEIGHTS, Choice, choice_of
from lmflow.traces.trace import Trace
from lmflow.values.record import EMPTY, Record

_CANDIDATES = 40  # thresholds, or weights of a value, that are tried
_PASSES = 2  # over the weights of all values
_FEWEST = 2
_DIGITS = 4
_NEUTRAL = 0.5
_LOGPROBS = 'options={"logprobs": True, "top_logprobs": 5}'
_VOTES = ", or sample the step, lf.self_consistency(step, n=9)"
_NO_PRIOR = "Record some: run = await ex.evaluate(...), then prior=store.run(ID), or --prior RUN."


@explains_options(OPTIMIZER_OPTIONS)
def fit_thresholds(*, folds: int = 5, seed: int = 0) -> PlanOptimizer:
    """Fit by which probability each step that chooses takes which value; needs no call.

    A step with one ``bool`` or ``Literal`` output gets a ``step.threshold`` if it has two values,
    the least share from which the first is taken, else ``step.weights``, by which the shares are
    multiplied. They are fitted to the logprobs in prior traces of the start version,
    ``ex.optimize(..., prior=store.run(ID))``, whose inputs are those of training examples, or to
    the votes of its samples, if ``self_consistency`` runs a step that asks for no logprobs: the
    program is run again for each decision on recorded calls, and the metric scores its outputs. A
    decision after which the program would send what wasn't recorded counts as no difference.

    A step's parameter is kept only if the same fit without each fold is better on the rows that it
    did not see, by the verdict of ``guard``, and worse on one fold in five at most.

    Args:
        folds: The number of folds, 2 or more.
        seed: The seed by which the examples are divided.

    Returns:
        An optimizer that requires the data part ``train`` and prior traces.

    Raises:
        ValueError: ``folds`` is less than 2.
    """
    if folds < _FEWEST:
        msg = f"fit_thresholds(folds=...) must be {_FEWEST} or more, found {folds}"
        raise ValueError(msg)

    def plan(task: Task) -> Plan:
        traces = _traces_of_start(task)
        params, origin, reasons = Record(), dict[str, Any](), list[str]()
        for step, choice in _choosing(task.program):
            fit = _fit_step(task, traces, step, choice, params, folds, seed)
            if fit.is_kept:
                own = decision_params(step, fit.decision)
                params |= own
                origin |= {path: {"traces": fit.rows, "folds": folds} for path in own}
            reasons.append(f"{step}: {fit}")
        answer, reason = task.version, "; ".join(reasons)
        if params:
            fitted = adapt_version(task.program, task.version, params, ", ".join(params))
            answer = attrs.evolve(fitted, origin=Record(origin))
        yield Need((), (), answer, phase="done", reason=reason)
        return answer

    def requires(program: Program, traces: Any) -> None:
        del traces
        if not any(True for _ in _choosing(program)):
            msg = (
                f"no step of {program} chooses: one needs exactly one output that is a bool or a"
                ' Literal of texts, "mail -> spam: bool"'
            )
            raise ProgramError(msg)

    options = {"folds": folds, "seed": seed}
    return plan_optimizer(
        "fit_thresholds", options, plan, None, TRAIN | PRIOR, requires=requires, names_best=True
    )


@attrs.frozen
class _Fit:
    """A step's decision, and what its folds say of it."""

    decision: Decision
    rows: int
    verdict: Verdict
    worse: int
    folds: int

    @property
    def is_kept(self) -> bool:
        """True if the folds agree that the fit is better."""
        return self.verdict.is_better and self.worse <= self.folds // 5

    def __str__(self) -> str:
        kept = "kept" if self.is_kept else "not kept"
        folds = f"worse on {self.worse} of {self.folds} folds"
        return f"{_shown(self.decision)} {kept}, {self.verdict}; {folds}"


def _choosing(program: Program) -> Iterator[tuple[str, Choice]]:
    """Yield the steps that choose, by name."""
    for name, step in program.predictors.items():
        choice = choice_of(step.signature)
        if choice is not None:
            yield name, choice


def _traces_of_start(task: Task) -> list[tuple[Record, Trace]]:
    """Return the prior traces that were made under the start version, with their examples."""
    if isinstance(task.metric, Judge):
        msg = "fit_thresholds makes no call, and a judge's calls cost: give it a metric function"
        raise ProgramError(msg)
    pairs = traces_of_examples(task.program, task.data.train, task.prior)
    params = complete_params(task.program, undecided(task.version, task.program))
    own = [
        (example, trace)
        for example, trace in pairs
        if complete_params(task.program, undecided(trace.version, task.program)) == params
    ]
    if not own:
        problem = "none of the prior traces was made under the start version on examples in `train`"
        raise BadData("the data", problem, _NO_PRIOR)
    return own


def _fit_step(  # noqa: PLR0913, PLR0917 - the state of a fit
    task: Task,
    traces: Sequence[tuple[Record, Trace]],
    step: str,
    choice: Choice,
    others: Record,
    folds: int,
    seed: int,
) -> _Fit:
    rows = [_row(task, example, trace, step, choice) for example, trace in traces]
    rows = [row for row in rows if row.shares]
    if not rows:
        problem = f"no prior trace has the logprobs or votes of {step!r}"
        raise BadData("the data", problem, f"Ask for them, lf.predict(..., {_LOGPROBS}){_VOTES}.")
    start = _start_decision(task, step, choice)
    differences, worse, used = list[float](), 0, 0
    for fold in _divide(task, rows, folds, seed):
        left_out = {id(row) for row in fold}
        seen = [row for row in rows if id(row) not in left_out]
        if not seen:
            continue
        fitted = _fit(seen, start, others)
        own = [_value(row, fitted, start, others) - _base(row, start, others) for row in fold]
        differences += own
        worse, used = worse + (sum(own) < 0), used + 1
    return _Fit(
        _fit(rows, start, others),
        len(rows),
        judge_differences(differences, differences),
        worse,
        used,
    )


def _row(task: Task, example: Record, trace: Trace, step: str, choice: Choice) -> RecordedDecisions:
    return RecordedDecisions(task.program, trace, example, task.metric, step, choice)


def _start_decision(task: Task, step: str, choice: Choice) -> Decision:
    """Return the decision of the start version; without parameters the likeliest value's."""
    params = task.version.params
    weights = params.get(f"{step}.{WEIGHTS}") or EMPTY
    return Decision(choice, params.get(f"{step}.{THRESHOLD}"), weights)


def _divide(
    task: Task, rows: Sequence[RecordedDecisions], folds: int, seed: int
) -> list[list[RecordedDecisions]]:
    """Divide rows into folds; those of one example stay together."""
    groups = list(toolz.groupby(lambda row: example_id(row.example), rows).values())
    randomness(task.version, "fit_thresholds", seed).shuffle(groups)
    parts = [groups[number::folds] for number in range(folds)]
    return [list(toolz.concat(part)) for part in parts if part]


def _base(row: RecordedDecisions, start: Decision, others: Record) -> float:
    return row.score(start, others) or 0.0


def _value(row: RecordedDecisions, decision: Decision, start: Decision, others: Record) -> float:
    """Return a row's score; that of the start if the recording can't tell."""
    score = row.score(decision, others)
    return _base(row, start, others) if score is None else score


def _fit(rows: Sequence[RecordedDecisions], start: Decision, others: Record) -> Decision:
    """Return the decision with the highest mean score; of equals the one nearest to neutral."""

    def mean(decision: Decision) -> float:
        return statistics.fmean(_value(row, decision, start, others) for row in rows)

    if start.choice.has_threshold:
        return _best(_thresholds(rows, start), mean, start)
    best = start
    for _ in range(_PASSES):
        for label in start.choice.labels:
            best = _best(_weights(rows, best, label), mean, best)
    return best


def _best(candidates: Iterable[Decision], mean: Any, start: Decision) -> Decision:
    best, top = start, mean(start)
    for candidate in candidates:
        score = mean(candidate)
        is_nearer = score == top and best != start and _extremity(candidate) < _extremity(best)
        if score > top or is_nearer:
            best, top = candidate, score
    return best


def _extremity(decision: Decision) -> float:
    """Return how far a decision is from taking the likeliest value."""
    if decision.threshold is not None:
        return abs(decision.threshold - _NEUTRAL)
    return sum(abs(math.log(weight)) for weight in decision.weights.values())


def _thresholds(rows: Sequence[RecordedDecisions], start: Decision) -> Iterator[Decision]:
    """Yield a decision for each gap between the first value's shares, the middle of it."""
    first, second = start.choice.labels
    weights = start.weights
    ratios = set()
    for row in rows:
        for shares in row.shares:
            one = shares[first] * weights.get(first, 1.0)
            ratios.add(one / (one + shares[second] * weights.get(second, 1.0)))
    for middle in _middles(sorted(ratios)):
        yield attrs.evolve(start, threshold=round(middle, _DIGITS))


def _weights(rows: Sequence[RecordedDecisions], start: Decision, label: str) -> Iterator[Decision]:
    """Yield a decision for each gap between the weights at which a row's value turns to a label."""
    turns = {
        math.log(_strongest_other(shares, start, label) / shares[label])
        for row in rows
        for shares in row.shares
    }
    for middle in _middles(sorted(turns)):
        weight = float(f"{math.exp(middle):.{_DIGITS}g}")
        yield attrs.evolve(start, weights=Record(start.weights) | {label: weight})


def _strongest_other(shares: Record, start: Decision, label: str) -> float:
    return max(
        float(shares[other]) * start.weights.get(other, 1.0)
        for other in start.choice.labels
        if other != label
    )


def _middles(values: Sequence[float]) -> list[float]:
    """Return the middles between neighbours, evenly chosen if there are too many."""
    middles = [(one + other) / 2 for one, other in itertools.pairwise(values)]
    if len(middles) <= _CANDIDATES:
        return middles
    return [middles[at * len(middles) // _CANDIDATES] for at in range(_CANDIDATES)]


def _shown(decision: Decision) -> str:
    if decision.threshold is not None:
        return f"threshold {decision.threshold:g}"
    if not decision.weights:
        return "nothing fitted"
    return "weights " + ", ".join(
        f"{label} {weight:g}" for label, weight in decision.weights.items()
    )

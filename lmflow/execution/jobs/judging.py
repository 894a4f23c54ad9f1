"""Judges an optimization: scores its start and its new version on the held-back data, within the
same budget.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal

import attrs

from lmflow.data.dataset import Dataset
from lmflow.errors import BudgetExceeded, BudgetTooSmall, StoreError
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge
from lmflow.evaluation.several import named_metrics
from lmflow.execution.budget import NANO, NOTHING, Budget, Left, Spent
from lmflow.execution.connections import Connections
from lmflow.execution.jobs.evaluate import evaluate_on, rollouts_on
from lmflow.execution.open_run import OpenRun, Step
from lmflow.execution.session import Session
from lmflow.messages.replies import ChatReply, EmbedReply, Usage
from lmflow.messages.requests import ToolRequest
from lmflow.metrics import Metric
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.traces.trace import CallAttempt
from lmflow.values.record import pretty
from lmflow.versions.version import Version

FEWER_ROWS = (
    "Give it more, or judge less: judge_rows=N scores N held-back examples, judge_rows=0 none"
    " (--judge-rows N, --no-judge)."
)
_PURPOSE = "judging the start and the new version on {rows} held-back examples"
_CHARACTERS_PER_TOKEN = 4  # of English text, roughly
_GROWTH = 2  # a new version's demonstrations make its prompts longer than the start's


@attrs.frozen
class JudgingPlan:
    """The work of judging two versions on held-back examples, if no call is retried or
    recorded.

    Attributes:
        rows: The examples.
        rollouts: The executions of the program, under both versions.
        judgements: The executions of the judge; 0 with a metric.
        calls: The calls of both: one for each step that asks a model.
    """

    rows: int
    rollouts: int
    judgements: int
    calls: int


def plan_judging(
    program: Program, examples: Dataset, metric: Metric | Judge, judge_rows: int | None = None
) -> JudgingPlan:
    """Plan the judging of a start and a new version.

    Args:
        program: The program.
        examples: The held-back examples.
        metric: The metric or judge.
        judge_rows: The most examples to judge on; all if ``None``.

    Returns:
        The executions and calls.

    Raises:
        ValueError: ``judge_rows`` is negative.
    """
    rows = len(judged_rows(examples, judge_rows))
    judgements = 2 * rows if isinstance(metric, Judge) else 0
    calls = 2 * rows * _calls_of_rollout(program, metric)
    return JudgingPlan(rows, 2 * rows, judgements, calls)


def judged_rows(examples: Dataset, judge_rows: int | None) -> Dataset:
    """Return the first ``judge_rows`` held-back examples, all if ``None``. Raises ``ValueError`` if
    it is negative.
    """
    if judge_rows is not None and judge_rows < 0:
        msg = f"judge_rows must be 0 or more, found {judge_rows}"
        raise ValueError(msg)
    return examples if judge_rows is None else examples[:judge_rows]


class Judging:
    """The judging of one optimization. The start is judged before the search and the new version
    after it; what the start's judging took is reserved for the new version meanwhile.
    """

    # The start is judged first because its real cost is the best estimate of the new version's: an
    # agent's calls, a flow's branches and retries are known then, and nothing has been paid that a
    # refusal would lose.
    def __init__(
        self,
        run: OpenRun,
        program: Program,
        start: Version,
        rows: Dataset,
        metric: Metric | Judge,
    ) -> None:
        self._run, self._program, self._start = run, program, start
        self._rows, self._metric = rows, metric
        self._session = run.session.within()
        self.before: Evaluation | None = None
        self.after: Evaluation | None = None
        self.reserved = NOTHING
        self.problem = ""

    @property
    def spent(self) -> Spent:
        """The cost of the judging so far."""
        return self._session.account.ledger.spent

    def check(self) -> None:
        """Raise ``BudgetTooSmall`` before anything is sent if the judging does not fit.

        Each step that asks a model counts as one call and, for a budget of tokens or dollars, as
        its prompt alone. A start that is recorded on all rows has been judged before, so nothing is
        known to be missing.
        """
        rollouts = rollouts_on(self._program, self._start, self._rows)
        unrecorded = self._run.count_unrecorded(rollouts)
        if not unrecorded:
            return
        one_version = self._least_cost(self._program, self._start)
        if isinstance(self._metric, Judge):
            one_version += self._least_cost(self._metric.program, self._metric.under)
        start_share = Spent(
            one_version.calls * unrecorded // len(rollouts),
            one_version.tokens * unrecorded // len(rollouts),
            one_version.cost * unrecorded // len(rollouts),
        )
        self._check_fits(start_share + one_version)

    async def judge_start(self, step: Step = bool) -> None:
        """Score the start version and reserve as much for the new one. Raises ``BudgetTooSmall`` if
        either does not fit.
        """
        if not len(self._rows):
            return
        try:
            self.before = await self._evaluate(self._start, "held/before", step)
        except BudgetExceeded as refusal:
            raise self._too_small(refusal.budget, refusal.left, self.spent) from refusal
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - told by the result, as `not_judged`
            self.problem = _words(error)
            return
        self.reserved = self._estimate_again()
        if self.spent.calls:
            self._check_fits(self.reserved)

    def search_session(self) -> Session:
        """Return a session for the search, whose budget leaves out what is reserved."""
        accounts = self._session.account.bounded
        if self.reserved == NOTHING or not accounts:
            return self._run.session.within()
        limits = [account.left for account in accounts]
        calls = [limit.calls for limit in limits if limit.calls is not None]
        tokens = [limit.tokens for limit in limits if limit.tokens is not None]
        usd = [Decimal(str(limit.usd)) for limit in limits if limit.usd is not None]
        reserved_usd = Decimal(self.reserved.cost) / NANO
        return self._run.session.within(
            Budget(
                calls=max(0, min(calls) - self.reserved.calls) if calls else None,
                tokens=max(0, min(tokens) - self.reserved.tokens) if tokens else None,
                usd=max(Decimal(0), min(usd) - reserved_usd) if usd else None,
            )
        )

    async def judge(self, version: Version, step: Step = bool) -> None:
        """Score the new version, if the start could be scored. A failure becomes ``problem``: the
        search is paid, and its result must not be lost.
        """
        if self.before is None:
            return
        if version.id == self._start.id:
            self.after = self.before
            return
        try:
            self.after = await self._evaluate(version, "held/after", step)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - told by the result, as `not_judged`
            self.problem = _words(error)

    async def _evaluate(self, version: Version, label: str, step: Step) -> Evaluation:
        return await evaluate_on(
            self._run,
            self._program,
            version,
            self._rows,
            named_metrics(self._metric),
            label=label,
            step=step,
            session=self._session,
        )

    def _estimate_again(self) -> Spent:
        """Estimate the new version's judging by the start's, recorded calls included."""
        calls = [call for trace in self._run.traces_under("held/before") for call in trace.calls]
        return _full_cost(calls, self._session.connections)

    def _least_cost(self, program: Program, version: Version) -> Spent:
        """Estimate the calls and prompts of a program on all rows, from the prompts' lengths."""
        connections = self._session.connections
        params, total = complete_params(program, version), NOTHING
        places = connections.models.places(params[f"{step}.model"] for step in program.predictors)
        characters = sum(len(pretty(row)) for row in self._rows)
        for step in program.predictors:
            prompt = len(pretty(params[f"{step}.instruction"]) + pretty(params[f"{step}.demos"]))
            tokens = (characters + len(self._rows) * prompt) // _CHARACTERS_PER_TOKEN
            model = places[params[f"{step}.model"]]["model"]
            cost = connections.prices(model, Usage(tokens, 0), time.time_ns()) or 0
            total += Spent(len(self._rows), tokens, cost)
        return total

    def _check_fits(self, needed: Spent) -> None:
        for account in self._session.account.bounded:
            ledger = account.ledger
            if not ledger.budget.holds(ledger.spent + needed):
                raise self._too_small(ledger.budget, ledger.budget.left(ledger.spent), needed)

    def _too_small(self, budget: Budget, left: Left, needed: Spent) -> BudgetTooSmall:
        """Return the error; of what is needed it names calls and what the budget limits."""
        limited = attrs.evolve(
            needed,
            tokens=0 if budget.tokens is None else needed.tokens,
            cost=0 if budget.usd is None else needed.cost,
        )
        purpose = _PURPOSE.format(rows=len(self._rows))
        return BudgetTooSmall(budget, left, purpose, limited, FEWER_ROWS)


def _calls_of_rollout(program: Program, metric: Metric | Judge) -> int:
    judge_steps = len(metric.program.predictors) if isinstance(metric, Judge) else 0
    return len(program.predictors) + judge_steps


# Reused calls are free here, but the new version sends other requests, which nothing answers.
def _full_cost(calls: Iterable[CallAttempt], connections: Connections) -> Spent:
    """Add up calls as if all had been sent; tokens and cost with room for longer prompts."""
    total = NOTHING
    for call in calls:
        if isinstance(call.request, ToolRequest):
            continue
        tokens, cost = 0, 0
        if isinstance(call.outcome, (ChatReply, EmbedReply)):
            usage = call.outcome.usage
            tokens = (usage.prompt or 0) + (usage.completion or 0)
            cost = connections.prices(call.request.model, usage, call.started) or 0
        total += Spent(1, _GROWTH * tokens, _GROWTH * cost)
    return total


def _words(error: Exception) -> str:
    text = str(error)
    return (
        text if type(error).__module__.startswith("lmflow") else f"{type(error).__name__}: {text}"
    )

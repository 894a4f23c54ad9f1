"""The state of a search: its rows, arms, scores and spending."""

from __future__ import annotations

import functools
import itertools
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.auto.arms import Arms, Choice
from lmflow.optimizers.auto.model import Weights
from lmflow.optimizers.auto.purse import Purse
from lmflow.optimizers.auto.scales import FittedModel
from lmflow.optimizers.parts.allowance import CALLS_A_PREDICTOR
from lmflow.optimizers.parts.bootstrap import is_success
from lmflow.optimizers.parts.demos import DemoSet
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.scoring import ScoredRollout
from lmflow.values.record import Record
from lmflow.versions.version import Version

BLOCK = 10
"""Rows that are scored at a time."""

_MOST_SUCCESSES = 16


@attrs.frozen
class Planned:
    """Rows on which a choice is to be scored, under a label."""

    label: str
    choice: Choice
    rows: tuple[int, ...]


@attrs.frozen
class Summary:
    """The rows that a choice was scored on, and its mean score there."""

    rows: frozenset[int]
    mean: float


@attrs.define(eq=False, slots=False)
class Search:
    """The state of a search.

    Attributes:
        task: The inputs of the search.
        rows: The examples that versions are scored on, in the one order in which all meet them.
        arms: What versions are made of.
        fitted: The model of the scores.
        purse: The spending.
        theta: The standard deviations by which a version must be better than the start.
        rng: The source of all random choices.
        cost: The calls of a scored rollout.
        scores: The scores of each choice by row; ``None`` on rows that the environment failed.
        runs: The scored runs on training examples, by version and example.
        successes: Runs that went well, by the training example.
        mined: The demonstrations of each step from those runs, as far as they were asked for.
        own_columns: The columns of choices that have an effect of their own.
        summaries: The summary of each choice that has a score.
    """

    task: Task
    rows: Sequence[Record]
    arms: Arms
    fitted: FittedModel
    purse: Purse
    theta: float
    rng: random.Random
    cost: int
    scores: dict[Choice, dict[int, float | None]] = attrs.field(factory=dict)
    runs: dict[tuple[str, str], ScoredRollout] = attrs.field(factory=dict)
    successes: dict[str, ScoredRollout] = attrs.field(factory=dict)
    mined: dict[str, DemoSet] = attrs.field(factory=dict)
    own_columns: dict[Choice, int] = attrs.field(factory=dict)
    summaries: dict[Choice, Summary] = attrs.field(factory=dict)
    _weights: dict[Choice, Weights] = attrs.field(factory=dict, init=False)

    @functools.cached_property
    def ids(self) -> list[str]:
        """The id of each row."""
        return [example_id(row) for row in self.rows]

    @functools.cached_property
    def train_ids(self) -> frozenset[str]:
        """The ids of the training examples."""
        return frozenset(self.task.data.train.ids)

    def affordable_rows(self, batch: Iterable[Planned] = ()) -> int:
        """Return the number of rows of the next block beside those of a batch. The last block takes
        all that are left, so that it is neither a row or two nor one that the budget ends midway.
        """
        # A rollout is admitted only if the most that it could take is left, and a block of which
        # one rollout is not admitted teaches nothing.
        left = (self.purse.capacity - self.purse.calls) // self.cost - (CALLS_A_PREDICTOR - 1)
        rows = left - sum(len(plan.rows) for plan in batch)
        return BLOCK if rows >= BLOCK + BLOCK // 2 else max(0, rows)

    # The answer is looked for among all scored choices at each need, so the sums are kept.
    def weights(self, choice: Choice) -> Weights:
        """Return a choice's effect as a sum of the model's columns."""
        if choice not in self._weights:
            own = self.own_columns.get(choice)
            weights = self.arms.weights(choice)
            self._weights[choice] = weights if own is None else {**weights, own: 1.0}
        return self._weights[choice]

    def values(self, choice: Choice) -> dict[int, float]:
        """Return the scores of a choice, by row."""
        return {
            row: score for row, score in self.scores.get(choice, {}).items() if score is not None
        }

    def open_rows(self, choice: Choice) -> list[int]:
        """Return the rows on which a choice can still be scored, in order; none if it is vetoed."""
        if self.is_vetoed(choice):
            return []
        scored, hidden = self.scores.get(choice, {}), self.arms.hidden(choice)
        rows = [row for row in range(len(self.rows)) if row not in scored]
        return [row for row in rows if self.ids[row] not in hidden]

    def is_vetoed(self, choice: Choice) -> bool:
        """Return whether a person vetoed the version of a choice."""
        vetoed = self.task.evidence.vetoed
        return bool(vetoed) and self.arms.version(choice).tree in vetoed

    def plan_block(self, choice: Choice, label: str, batch: Sequence[Planned] = ()) -> Planned:
        """Plan the next block of a choice: the rows that its arms were scored on least, so that
        each arm meets all rows alike, whatever it is combined with; the earlier of equals.
        """
        planned = {row for other in batch if other.choice == choice for row in other.rows}
        rows = [row for row in self.open_rows(choice) if row not in planned]
        count, uses = self.affordable_rows(batch), self.arms.uses(choice)
        unused = (row for row in rows if not any(row in own for own in uses))
        first = list(itertools.islice(unused, count))
        if len(first) < count:
            rows.sort(key=lambda row: sum(own.get(row, 0) for own in uses))
            first = rows[:count]
        return Planned(label, choice, tuple(first))

    def scores_by_row(
        self, choice: Choice, results: Iterable[ScoredRollout]
    ) -> dict[int, float | None]:
        """Return the scores of a choice's runs by row, of those rows that count for it."""
        places = {name: at for at, name in enumerate(self.ids)}
        hidden = self.arms.hidden(choice)
        named = [(example_id(result.rollout.example), result.value) for result in results]
        return {
            places[name]: value for name, value in named if name in places and name not in hidden
        }

    def learn(self, choice: Choice, scores: Mapping[int, float | None]) -> None:
        """Learn scores of a choice by row."""
        own = self.scores.setdefault(choice, {})
        new = {row: score for row, score in scores.items() if row not in own}
        own.update(new)
        values = {row: score for row, score in new.items() if score is not None}
        self.arms.note_use(choice, values)
        if values:
            self.fitted.model.learn(self.weights(choice), values)
            scored = self.values(choice)
            self.summaries[choice] = Summary(frozenset(scored), statistics.fmean(scored.values()))

    def note_runs(self, version: Version, results: Iterable[ScoredRollout]) -> None:
        """Keep a version's runs on training examples: for rewriting instructions, and those that
        went well as material of demonstrations.
        """
        for result in results:
            example = example_id(result.rollout.example)
            if example in self.train_ids:
                self.runs[version.tree, example] = result
                if len(self.successes) < _MOST_SUCCESSES and is_success(result, None):
                    self.successes.setdefault(example, result)

    def give_own_effect(self, choice: Choice, kind: str) -> None:
        """Give a choice an effect of its own, beside those of its arms."""
        if choice in self.own_columns:
            return
        model, weights, values = self.fitted.model, self.weights(choice), self.values(choice)
        column = model.add_column(kind)
        if values:
            model.attach(column, weights, values)
        self.own_columns[choice] = column
        del self._weights[choice]

"""The scores that a search has seen, and the version that they speak for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

from lmflow.errors import MetricFailed
from lmflow.evaluation.stats import Estimate, mean
from lmflow.optimizers.parts.needs import Need
from lmflow.traces.trace import Failed
from lmflow.versions.version import Version

_VERSION_WEIGHT = (
    9.0  # scores that the prior of a version's effect is worth: noise / effect variance
)
_EXAMPLE_WEIGHT = 0.5  # scores that the prior of an example's difficulty is worth
_ROUNDS = 20  # the most alternations of one fit
_CLOSE = 1e-3  # differences between effects that change by less are settled
_TIE = 1e-9  # effects closer than this are equal but for rounding
_PATIENCE = 8  # outputs on which a metric may fail before it has scored one
_CAUTION = 0.8  # standard deviations that a promise on few examples must be above the start


@attrs.define(eq=False)
class Evidence:
    """The scores of all candidate versions in one search.

    A score is taken as a level, plus the example's difficulty, plus the version's effect, plus
    noise; the last three are normal around 0. So versions are compared on the examples that they
    share, a version that met only easy examples is not better for it, and one that met few is
    shrunk towards the others. Versions that were scored on the same examples are ordered by their
    means.

    It belongs to one plan and grows with it, like the plan's own variables: a plan that is begun
    again sees the same scores in the same order, and so names the same best version at each need.

    Attributes:
        vetoed: The trees of the versions that a person does not want; they are never the best.
    """

    vetoed: set[str] = attrs.field(factory=set, init=False)

    _versions: dict[str, Version] = attrs.field(factory=dict, init=False)
    _scores: dict[str, dict[str, tuple[str, float]]] = attrs.field(factory=dict, init=False)
    _effects: dict[str, float] = attrs.field(factory=dict, init=False)
    _level: float = attrs.field(default=0.0, init=False)
    _noise: float = attrs.field(default=0.0, init=False)
    _changed: bool = attrs.field(default=False, init=False)
    _metric_works: bool = attrs.field(default=False, init=False)
    _metric_failures: list[Failed] = attrs.field(factory=list, init=False)

    def add(self, version: Version, rollout: str, example: str, score: float) -> None:
        """Add the score of a version on an example. A search may need one rollout several times; it
        is still one observation.
        """
        self._versions.setdefault(version.tree, version)
        self._scores.setdefault(version.tree, {})[rollout] = example, score
        self._changed = True

    # A batch may be a single output, and a metric that fails on it fails on "all": a search that
    # ended there would lose what it has paid because of one example.
    def note_metric(self, metric: str, failures: Sequence[Failed], *, works: bool) -> None:
        """Note the metric's failures on a batch of outputs, and whether it scored any of them.

        Raises ``MetricFailed`` once it has failed on several outputs and never scored one.
        """
        self._metric_works = self._metric_works or works
        self._metric_failures += failures
        if len(self._metric_failures) >= _PATIENCE:
            self.check_metric(metric)

    def check_metric(self, metric: str) -> None:
        """Raise ``MetricFailed`` if the metric failed on each output that it was given."""
        if self._metric_failures and not self._metric_works:
            cause = self._metric_failures[0]
            raise MetricFailed(metric, cause.kind, cause.text)

    def expectations(self) -> list[tuple[Version, float, int]]:
        """Return each version with its expected score on a mean example, shrunk to the others, and
        the number of examples that it was scored on. Vetoed versions are left out.
        """
        if self._changed:
            self._fit()
        return [
            (self._versions[tree], self._level + effect, len(self._examples(tree)))
            for tree, effect in self._effects.items()
            if tree not in self.vetoed
        ]

    def allowed(self, version: Version, start: Version) -> Version:
        """Return the version, or the best of the others if it is vetoed."""
        return self.best(start) if version.tree in self.vetoed else version

    def has_score(self, version: Version, example: str) -> bool:
        """Return whether a version was scored on an example."""
        return any(example == own for own, _ in self._scores.get(version.tree, {}).values())

    def differences(self, before: Version, after: Version) -> list[float]:
        """Return by how much the second version's score is higher, on each example on which both
        were scored.
        """
        old, new = self._means(before), self._means(after)
        return [new[example] - score for example, score in old.items() if example in new]

    def _means(self, version: Version) -> dict[str, float]:
        """Return a version's mean score by example."""
        scores: dict[str, list[float]] = {}
        for example, score in self._scores.get(version.tree, {}).values():
            scores.setdefault(example, []).append(score)
        return {example: statistics.fmean(values) for example, values in scores.items()}

    def best(self, start: Version) -> Version:
        """Return the version with the highest posterior expectation; the start unless another is
        expected to be better, and the earlier of equals.

        Before the start was scored no version is known to be better than it. A version that was not
        scored on all examples of the start must be better by more than its uncertainty: the best of
        many that met few examples is mostly the luckiest.
        """
        if self._changed:
            self._fit()
        if start.tree not in self._effects:
            return start
        best, top = start, self._effects[start.tree]
        for tree, effect in self._effects.items():
            is_better = effect > top + _TIE and self._is_credible(tree, start.tree)
            if is_better and tree not in self.vetoed:
                best, top = self._versions[tree], effect
        return best

    def with_best(self, need: Need, start: Version) -> Need:
        """Return a need that names the best version so far and its estimate."""
        best = self.best(start)
        return attrs.evolve(need, best=best, estimate=self.estimate(best))

    def estimate(self, version: Version) -> Estimate | None:
        """Return the mean score of a version with its interval; ``None`` if it has no score."""
        own = self._scores.get(version.tree)
        if not own:
            return None
        examples, scores = zip(*own.values(), strict=True)
        return mean(scores, examples)

    def _is_credible(self, tree: str, start: str) -> bool:
        own, other = self._scores[tree], self._scores[start]
        if self._examples(start) <= self._examples(tree):
            return True
        precisions = _VERSION_WEIGHT + len(own), _VERSION_WEIGHT + len(other)
        deviation = math.sqrt(self._noise * sum(1 / precision for precision in precisions))
        return self._effects[tree] - self._effects[start] >= _CAUTION * deviation

    def _examples(self, tree: str) -> set[str]:
        return {example for example, _ in self._scores[tree].values()}

    # The posterior mean by alternating between difficulties and effects, from where the last fit
    # ended: exact elimination costs the cube of the number of versions, and a search fits at each
    # need. All effects of a round are computed from the same difficulties, so however far it is
    # from the end, versions with the same examples are ordered as their means are.
    def _fit(self) -> None:
        """Fit effects and difficulties to all scores."""
        if not self._effects:
            scores = (score for own in self._scores.values() for _, score in own.values())
            self._level = statistics.fmean(scores)
        for _ in range(_ROUNDS):
            difficulty = self._difficulties()
            self._level = statistics.fmean(difficulty.values())
            effects = {
                tree: sum(score - difficulty[example] for example, score in own.values())
                / (_VERSION_WEIGHT + len(own))
                for tree, own in self._scores.items()
            }
            changes = [effect - self._effects.get(tree, 0.0) for tree, effect in effects.items()]
            self._effects = effects
            if max(changes) - min(changes) < _CLOSE:
                break
        self._noise = self._residual_variance()
        self._changed = False

    def _residual_variance(self) -> float:
        difficulty = self._difficulties()
        squares = [
            (score - difficulty[example] - self._effects[tree]) ** 2
            for tree, own in self._scores.items()
            for example, score in own.values()
        ]
        return statistics.fmean(squares)

    def _difficulties(self) -> dict[str, float]:
        """Return the expected score of the mean version on each example."""
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}
        for tree, own in self._scores.items():
            effect = self._effects.get(tree, 0.0)
            for example, score in own.values():
                totals[example] = totals.get(example, 0.0) + score - effect
                counts[example] = counts.get(example, 0) + 1
        prior = _EXAMPLE_WEIGHT * self._level
        return {
            example: (prior + total) / (_EXAMPLE_WEIGHT + counts[example])
            for example, total in totals.items()
        }

"""The scales of the model of scores, chosen by the marginal likelihood on small grids."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from lmflow.optimizers.auto.model import Posterior, Scales, ScoreModel

EFFECTS = (0.006, 0.01, 0.016, 0.025, 0.04, 0.06, 0.09, 0.13, 0.2)
ROWS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
NOISES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)

_SPREAD = 0.6  # standard deviation of the logarithm of an effect's scale
_FEW_SCORES = 20  # fewer scores say nothing of scales
_GROWTH = 1.2  # growth of the data after which the scales are looked for again
_MANY_COLUMNS = 40  # with so many a fit is dear, and only neighbours on the grids are tried


@attrs.define(eq=False)
class FittedModel:
    """A model of scores with its scales and its posterior, both brought up to date when asked.

    The scales maximise the marginal likelihood times a log-normal prior of the effects' scales,
    one after the other on small grids (empirical Bayes: Gelman et al. 2013, section 5), each time
    that the data grew by a fifth. A posterior of many scores may lack the latest fiftieth of them,
    so that the cost of a search grows with its length and not with its square.
    """

    model: ScoreModel
    scales: Scales
    center: float
    free: Sequence[str]
    _posterior: Posterior | None = None
    _fitted: int = 0
    _solved: int = -1
    _columns: int = 0

    def posterior(self, *, exact: bool = False) -> Posterior:
        """Return the posterior of the scores so far; ``exact`` leaves none of them out."""
        model = self.model
        if model.count >= _FEW_SCORES and model.count > _GROWTH * self._fitted:
            self._fit()
        stale = model.count - self._solved > (0 if exact else self._solved // 50)
        if self._posterior is None or stale or self._columns != len(model.columns):
            self._posterior = model.solve(self.scales)
            self._solved, self._columns = model.count, len(model.columns)
        return self._posterior

    def _fit(self) -> None:
        rounds = 2
        best = self._objective(self.scales)
        for _ in range(rounds):
            for candidates in (self._rows, self._noises):
                best = self._climb(candidates, best)
        for kind in self.free:
            if kind in self.model.columns:
                best = self._climb(self._effects_of(kind), best)
        self._fitted, self._posterior = self.model.count, None

    def _climb(self, candidates: Callable[[], Iterator[Scales]], best: float) -> float:
        """Move to the best of some scales, if it is better than the present ones."""
        for scales in candidates():
            value = self._objective(scales)
            if value > best:
                best, self.scales = value, scales
        return best

    def _objective(self, scales: Scales) -> float:
        prior = sum(
            (math.log(scales.effects[kind] / self.center) / _SPREAD) ** 2 for kind in self.free
        )
        return self.model.solve(scales).evidence - 0.5 * prior

    def _rows(self) -> Iterator[Scales]:
        for value in self._near(ROWS, self.scales.row):
            yield attrs.evolve(self.scales, row=value)

    def _noises(self) -> Iterator[Scales]:
        for value in self._near(NOISES, self.scales.noise):
            yield attrs.evolve(self.scales, noise=value)

    def _effects_of(self, kind: str) -> Callable[[], Iterator[Scales]]:
        def scales() -> Iterator[Scales]:
            for value in self._near(EFFECTS, self.scales.effects[kind]):
                effects: Mapping[str, float] = {**self.scales.effects, kind: value}
                yield attrs.evolve(self.scales, effects=effects)

        return scales

    def _near(self, grid: Sequence[float], value: float) -> list[float]:
        """Return the grid, or only what is next to a value if fits are dear."""
        if len(self.model.columns) <= _MANY_COLUMNS:
            return list(grid)
        at = min(range(len(grid)), key=lambda place: abs(math.log(grid[place] / value)))
        return list(grid[max(0, at - 1) : at + 2])

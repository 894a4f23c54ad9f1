"""The tree-structured Parzen estimator over categorical choices (Bergstra et al. 2011), by optuna."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from lmflow.errors import ModelUnavailable


class Tpe:
    """Proposes points of a space (name -> how many choices) and is told their values, higher being
    better.

    Equal seeds and values give equal points. ``ModelUnavailable`` where optuna isn't installed.
    """

    def __init__(self, space: Mapping[str, int], *, seed: int) -> None:
        try:
            import optuna  # noqa: PLC0415 - of the extra, so it may be missing
        except ImportError:
            raise ModelUnavailable(
                "optuna", "it is not installed", 'Run: pip install "lmflow-dsl[optuna]"'
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        self._trial, self._failed = optuna.trial.create_trial, optuna.trial.TrialState.FAIL
        self._space: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(range(size))
            for name, size in space.items()
        }
        self._study: Any = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self) -> dict[str, int]:
        """A point to try next."""
        self._open = self._study.ask(self._space)
        return dict(self._open.params)

    def tell(self, value: float) -> None:
        """The value of the point that was asked for; minus infinity where it has none."""
        if math.isfinite(value):
            self._study.tell(self._open, value)
        else:
            self._study.tell(self._open, state=self._failed)

    def add(self, point: Mapping[str, int], value: float) -> None:
        """Another point whose value is known."""
        if math.isfinite(value):
            self._study.add_trial(
                self._trial(params=dict(point), distributions=self._space, value=value)
            )

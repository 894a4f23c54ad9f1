"""The tree-structured Parzen estimator over choices (Bergstra et al. 2011), by optuna."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from lmflow.errors import ModelUnavailable


def import_optuna() -> Any:
    """Return the module ``optuna``; raise ``ModelUnavailable`` if it is not installed."""
    try:
        import optuna  # noqa: PLC0415 - of the extra, so it may be missing
    except ImportError:
        fix = 'Run: pip install "lmflow-dsl[optuna]"'
        raise ModelUnavailable("optuna", "it is not installed", fix) from None
    return optuna


class Tpe:
    """Proposes points of a space (name -> number of choices) and learns from their values; higher
    values are better.

    Equal seeds and values give equal points. Raises ``ModelUnavailable`` if optuna is not
    installed.
    """

    def __init__(self, space: Mapping[str, int], *, seed: int) -> None:
        optuna = import_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Multivariate: one density for all choices of a point. With one density a choice the
        # sampler could not see that an instruction is good only beside certain demonstrations.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        self._create_trial = optuna.trial.create_trial
        self._failed = optuna.trial.TrialState.FAIL
        self._space: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(range(size))
            for name, size in space.items()
        }
        self._study: Any = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self) -> dict[str, int]:
        """Propose the next point to try."""
        self._pending_trial = self._study.ask(self._space)
        return dict(self._pending_trial.params)

    def tell(self, value: float) -> None:
        """Learn the value of the point proposed last; minus infinity if it has none."""
        # Optuna refuses infinite values, and a made-up low one would teach the sampler to avoid a
        # point only because an endpoint was down.
        if math.isfinite(value):
            self._study.tell(self._pending_trial, value)
        else:
            self._study.tell(self._pending_trial, state=self._failed)

    def add(self, point: Mapping[str, int], value: float) -> None:
        """Learn the value of a point that was not proposed."""
        if math.isfinite(value):
            trial = self._create_trial(params=dict(point), distributions=self._space, value=value)
            self._study.add_trial(trial)

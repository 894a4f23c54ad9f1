"""Optimizers by name, and made again from the name and options that their runs record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lmflow.errors import ProgramError, near
from lmflow.optimizers.auto.optimizer import auto
from lmflow.optimizers.bootstrap_tpe import bootstrap_optuna
from lmflow.optimizers.combinators import chain, first_best, guard, only, within
from lmflow.optimizers.few_shot import bootstrap_few_shot, harvest, labeled_few_shot
from lmflow.optimizers.finetune import better_together, bootstrap_finetune
from lmflow.optimizers.folds import cross_fit
from lmflow.optimizers.gepa import gepa
from lmflow.optimizers.knn import knn_few_shot
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.opro import coordinate_ascent_opro, module_opro, opro
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.optimizers.racing import racing
from lmflow.optimizers.random_search import random_search
from lmflow.optimizers.rules import infer_rules
from lmflow.optimizers.simba import simba
from lmflow.optimizers.synthesis import synthesize
from lmflow.optimizers.thresholds import fit_thresholds

OPTIMIZERS: Mapping[str, Callable[..., PlanOptimizer]] = MappingProxyType(
    {
        "auto": auto,
        "labeled_few_shot": labeled_few_shot,
        "bootstrap_few_shot": bootstrap_few_shot,
        "bootstrap_optuna": bootstrap_optuna,
        "harvest": harvest,
        "random_search": random_search,
        "knn_few_shot": knn_few_shot,
        "synthesize": synthesize,
        "fit_thresholds": fit_thresholds,
        "bootstrap_finetune": bootstrap_finetune,
        "infer_rules": infer_rules,
        "opro": opro,
        "coordinate_ascent_opro": coordinate_ascent_opro,
        "module_opro": module_opro,
        "mipro": mipro,
        "racing": racing,
        "gepa": gepa,
        "simba": simba,
    }
)
"""The factories of optimizers that take nothing but options, by name."""

_COMBINATORS: Mapping[str, Callable[..., PlanOptimizer]] = MappingProxyType(
    {
        "guard": guard,
        "only": only,
        "within": within,
        "chain": chain,
        "first_best": first_best,
        "cross_fit": cross_fit,
        "better_together": better_together,
    }
)


def optimizer_from_options(name: str, options: Mapping[str, Any]) -> PlanOptimizer:
    """Make an optimizer again from its name and options, and so the optimizers that it is made of.

    Raises ``ProgramError`` if no shipped optimizer has that name, or if the optimizer made has
    other options than those recorded: one of them was a program or a version, of which a run
    records only the hash, or the optimizer has changed since.
    """
    factories = {**OPTIMIZERS, **_COMBINATORS}
    if name not in factories:
        names = ", ".join(factories)
        msg = f"there is no optimizer {name!r}; there are {names}.{near(name, factories)}"
        raise ProgramError(msg)
    arguments = {
        option: _argument(option, value) for option, value in options.items() if not _is_hash(value)
    }
    try:
        optimizer = factories[name](*arguments.pop("optimizers", ()), **arguments)
    except TypeError as problem:
        msg = f"{name} doesn't take the options that the run keeps ({problem})"
        raise ProgramError(msg) from None
    if optimizer.options != options:
        differing = ", ".join(
            option for option, value in options.items() if optimizer.options.get(option) != value
        )
        msg = (
            f"{name} can't be made again by its options alone: {differing} is another or was a"
            " value of Python"
        )
        raise ProgramError(msg)
    return optimizer


def _argument(option: str, value: Any) -> Any:
    if option in {"optimizer", "prompts", "weights"}:
        return optimizer_from_options(*value)
    if option == "optimizers":
        return tuple(optimizer_from_options(*inner) for inner in value)
    return value


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("v1:")

"""Optimizers: pure functions from (program, traces, metric) to a new version of a program's
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lmflow.optimizers.bootstrap_tpe import bootstrap_optuna
from lmflow.optimizers.few_shot import bootstrap_few_shot, harvest, labeled_few_shot
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

OPTIMIZERS: Mapping[str, Callable[..., PlanOptimizer]] = MappingProxyType(
    {
        "labeled_few_shot": labeled_few_shot,
        "bootstrap_few_shot": bootstrap_few_shot,
        "bootstrap_optuna": bootstrap_optuna,
        "harvest": harvest,
        "random_search": random_search,
        "knn_few_shot": knn_few_shot,
        "synthesize": synthesize,
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
"""The optimizers that take all they need from options, the program and its examples, by name."""

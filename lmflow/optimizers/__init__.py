"""Optimizers: pure functions from (program, traces, metric) to a new version of a program's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lmflow.optimize import Staged
from lmflow.optimizers.few_shot import bootstrap_few_shot, labeled_few_shot
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.opro import coordinate_ascent_opro, module_opro, opro
from lmflow.optimizers.random_search import random_search

OPTIMIZERS: Mapping[str, Callable[..., Staged]] = MappingProxyType(
    {
        "labeled_few_shot": labeled_few_shot,
        "bootstrap_few_shot": bootstrap_few_shot,
        "random_search": random_search,
        "opro": opro,
        "coordinate_ascent_opro": coordinate_ascent_opro,
        "module_opro": module_opro,
        "mipro": mipro,
    }
)
"""The optimizers that take all they need from options, the program and its examples, by name."""

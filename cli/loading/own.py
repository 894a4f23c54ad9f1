"""Adapters and optimizers of the user's own modules, ``MODULE:NAME``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.registry import AnyAdapter
from lmflow.adapters.two_step import NAME as TWO_STEP
from lmflow.cli.loading.factories import build, choose
from lmflow.cli.loading.programs import load_object, module_of
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.optimizers.registry import OPTIMIZERS


def load_optimizer(name: str, options: Iterable[str]) -> PlanOptimizer:
    """Make a shipped optimizer by its name, or load ``MODULE:NAME``: an optimizer or its factory.

    ``options`` are texts, ``NAME=VALUE``.
    """
    texts = tuple(options)
    if ":" not in name:
        return _built(name, choose("optimizer", name, OPTIMIZERS), texts)
    value = load_object(name, "optimizer", _is_optimizer)
    if inspect.isgeneratorfunction(value):
        raise click.ClickException(f"{name} is a bare generator. Write `@lf.staged()` above it.")
    if not isinstance(value, PlanOptimizer):
        return _built(name, value, texts)
    if texts:
        raise click.ClickException(f"{name} is made already: it takes no --option {texts[0]}.")
    return value


def load_adapters(adapters: Mapping[str, str], target: str) -> dict[str, AnyAdapter]:
    """Load the adapters of a mapping by patterns that are the user's own.

    They are named ``MODULE:NAME``, or as recordings name them, ``name@hash``: those are looked for
    in the module of the program ``target``.
    """
    return {pattern: _adapter(name, target) for pattern, name in adapters.items()}


def adapters_beside(target: str) -> tuple[Adapter, ...]:
    """The adapters in the module of the program ``target``, by which recordings may name theirs."""
    module = module_of(target)
    values = () if module is None else vars(module).values()
    return tuple(value for value in values if isinstance(value, Adapter) and not value.shipped)


def _built(name: str, factory: Callable[..., Any], texts: Iterable[str]) -> PlanOptimizer:
    optimizer = build(f"--option of {name}", factory, texts)
    if isinstance(optimizer, PlanOptimizer):
        return optimizer
    raise click.ClickException(
        f"{name} gave a {type(optimizer).__name__}, not an optimizer. Write it with @lf.staged."
    )


def _adapter(name: str, target: str) -> AnyAdapter:
    if "@" in name:
        own = [adapter for adapter in adapters_beside(target) if adapter.ref == name]
        return own[0] if own else name
    is_own = ":" in name and name.partition(":")[0] != TWO_STEP
    if not is_own:
        return name
    adapter: Adapter = load_object(name, "adapter", lambda value: isinstance(value, Adapter))
    return adapter


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, PlanOptimizer) or (callable(value) and not isinstance(value, type))

"""``staged``: an optimizer of one's own, written as a generator of the task and its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Never

from lmflow.data.dataset import Data
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.plan import Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.programs.program import Program

Factory = Callable[..., PlanOptimizer]


def staged(
    *bare: Never, bound: Callable[..., Bound | int] | None = None, parts: Iterable[str] = ()
) -> Callable[[Callable[..., Plan]], Factory]:
    """Make the factory of an optimizer of a generator of ``(task, *, options)``.

    The generator awaits each stage by ``yield from``, such as ``lf.score_candidate(...)``, and
    returns a version. It is a pure function of the task and its options: no clock, no chance but
    from a seed among the options.

    Args:
        *bare: Nothing; it is written with parentheses.
        bound: The most rollouts of the program that it needs, as a function of the program, the
            data, and the options by name: a number, or a ``Bound``. Without it it needs none.
        parts: The parts of the data that it can't do without: ``train``, ``select``, ``held``.

    Returns:
        A decorator. The factory that it makes takes the options by name; the optimizer has the
        function's name and these options, which identify it on record.

    Raises:
        TypeError: The function isn't a generator of a task and options by name, or ``@staged``
            stands without parentheses.

    Example:
        >>> @staged()
        ... def keep(task, *, note: str = "kept"):
        ...     yield from ()
        ...     return task.version
        >>> keep(note="as it was").options
        Record(note='as it was')
    """
    if bare:
        name = getattr(bare[0], "__name__", "the function")
        msg = f"@lf.staged stands alone. Write `@lf.staged()` above `def {name}`."
        raise TypeError(msg)
    required = frozenset(parts)

    def make(function: Callable[..., Plan]) -> Factory:
        _check_generator(function)
        defaults = {
            name: parameter.default
            for name, parameter in list(inspect.signature(function).parameters.items())[1:]
        }

        def factory(**options: Any) -> PlanOptimizer:
            inspect.signature(function).bind(None, **options)
            chosen = {**defaults, **options}

            def plan(task: Task) -> Plan:
                return function(task, **chosen)

            def most(program: Program, data: Data) -> Bound:
                rollouts = bound(program, data, **chosen) if bound is not None else 0
                return rollouts if isinstance(rollouts, Bound) else Bound(rollouts)

            return plan_optimizer(function.__name__, chosen, plan, most, required)

        return _like(factory, function)

    return make


def _check_generator(function: Callable[..., Any]) -> None:
    """Raise ``TypeError`` if a function isn't a generator of a task and options by name."""
    name = getattr(function, "__name__", repr(function))
    fix = f"Write `def {name}(task, *, seed: int = 0)` with `yield from lf.score_candidate(...)`."
    if not inspect.isgeneratorfunction(function):
        msg = f"{name} is no generator function. {fix}"
        raise TypeError(msg)
    first, *options = inspect.signature(function).parameters.values()
    by_name = all(option.kind is option.KEYWORD_ONLY for option in options)
    has_defaults = all(option.default is not option.empty for option in options)
    if first.kind is first.KEYWORD_ONLY or not by_name or not has_defaults:
        msg = f"{name} takes a task, and options by name with defaults. {fix}"
        raise TypeError(msg)


def _like(factory: Factory, function: Callable[..., Any]) -> Factory:
    """Give a factory the name, docstring, options and module of its function."""
    signature = inspect.signature(function)
    options = list(signature.parameters.values())[1:]
    hints = inspect.get_annotations(function, eval_str=True)
    names = {option.name for option in options}
    factory.__name__, factory.__qualname__ = function.__name__, function.__qualname__
    factory.__doc__, factory.__module__ = function.__doc__, function.__module__
    factory.__annotations__ = {name: kind for name, kind in hints.items() if name in names}
    untyped = [
        option.replace(annotation=hints.get(option.name, option.empty)) for option in options
    ]
    factory.__signature__ = signature.replace(parameters=untyped)  # type: ignore[attr-defined]
    return factory

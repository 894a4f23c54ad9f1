"""Optimizers made again from the name and options that their runs keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lmflow.errors import ProgramError, near
from lmflow.optimize import Staged
from lmflow.optimizers import OPTIMIZERS
from lmflow.optimizers.combine import chain, first_best, guard, only, within

_MADE: Mapping[str, Callable[..., Staged]] = MappingProxyType({
    **OPTIMIZERS, "guard": guard, "only": only, "within": within, "chain": chain,
    "first_best": first_best,
})  # fmt: skip


def made_again(name: str, options: Mapping[str, Any]) -> Staged:
    """The optimizer of that name and those options; what it is made of, too.

    ``ProgramError`` where no shipped optimizer has that name, or where it comes to other options: an option was a
    program or a version, of which a run keeps only the hash, or the optimizer has changed since.
    """
    if name not in _MADE:
        msg = f"there is no optimizer {name!r}; there are {', '.join(_MADE)}.{near(name, _MADE)}"
        raise ProgramError(msg)
    given = {option: _option(option, value) for option, value in options.items() if not _hash(value)}
    try:
        found = _MADE[name](*given.pop("optimizers", ()), **given)
    except TypeError as problem:
        msg = f"{name} doesn't take the options that the run keeps ({problem})"
        raise ProgramError(msg) from None
    if found.options != options:
        differing = ", ".join(option for option, value in options.items() if found.options.get(option) != value)
        msg = f"{name} can't be made again by its options alone: {differing} is another or was a value of Python"
        raise ProgramError(msg)
    return found


def _option(option: str, value: Any) -> Any:
    if option == "optimizer":
        return made_again(*value)
    return tuple(made_again(*one) for one in value) if option == "optimizers" else value


def _hash(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("v1:")

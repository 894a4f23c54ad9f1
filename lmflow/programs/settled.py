"""What programs don't have and don't let you set: the words that say where it is instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, Self

from attrs.exceptions import FrozenInstanceError

from lmflow.errors import clipped, safe_repr

_RUN = "await ex.run({name}, ...), with an executor ex; lf.run({name}, ...) without await"
_SAVE = 'its parameters are a version: lf.init({name}).save("{name}.json"), lf.load("{name}.json")'
_OPTIMIZE = "await ex.optimize(lf.mipro(), {name}, data, metric) gives a new version"
_MAP = "await ex.map({name}, rows)"
_MODEL = 'the model is the executor\'s, or a parameter: version.put({{"{name}.model": "..."}})'
_PARTS = "{name}.predictors, {name}.paths"
_ELSEWHERE: Mapping[str, str] = {
    "run": _RUN,
    "forward": _RUN,
    "aforward": _RUN,
    "acall": _RUN,
    "invoke": _RUN,
    "ainvoke": _RUN,
    "predict": _RUN,
    "stream": "async for part in ex.stream({name}, ...)",
    "astream": "async for part in ex.stream({name}, ...)",
    "batch": _MAP,
    "abatch": _MAP,
    "map": _MAP,
    "evaluate": "await ex.evaluate({name}, rows, metric)",
    "compile": _OPTIMIZE,
    "optimize": _OPTIMIZE,
    "train": _OPTIMIZE,
    "fit": _OPTIMIZE,
    "save": _SAVE,
    "load": _SAVE,
    "dump_state": _SAVE,
    "load_state": _SAVE,
    "set_lm": _MODEL,
    "get_lm": _MODEL,
    "lm": _MODEL,
    "with_config": _MODEL,
    "bind": _MODEL,
    "named_predictors": _PARTS,
    "named_parameters": _PARTS,
    "parameters": _PARTS,
    "deepcopy": "nothing is set on a program, so that it needs no copy",
    "reset_copy": "nothing is set on a program, so that it needs no copy",
    "inspect_history": "print(ex.runs[-1]); lmflow runs show RUN --messages",
    "with_inputs": "the signature says which fields are inputs",
    "version": "a version is given to a run: ex.run({name}, version=version, ...)",
}


class CannotBeSet(FrozenInstanceError):
    """An attribute of a program is set."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def __str__(self) -> str:
        return self._text


class Settled:
    """Base of programs: it explains attributes that are missing or can't be set."""

    # attrs gives each frozen class a `__setattr__` of its own once the class is made, so the words
    # are put in with the first instance.
    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make the instance."""
        if cls.__setattr__ is not _refuse:
            cls.__setattr__ = _refuse  # type: ignore[method-assign]
        return super().__new__(cls)

    def __getattr__(self, name: str) -> NoReturn:
        kind = type(self).__name__
        if name.startswith("_") or name not in _ELSEWHERE:
            msg = f"{kind!r} object has no attribute {name!r}"
            raise AttributeError(msg, name=name, obj=self)
        program = _name_of(self)
        hint = _ELSEWHERE[name].format(name=program)
        msg = f"a program is a value, and has no {name!r}. Here: {hint}."
        raise AttributeError(msg, name=name)

    def _check_by_name(self, extra: tuple[Any, ...], names: Iterable[str]) -> None:
        """Raise ``TypeError`` if inputs are given by position."""
        if extra:
            line = f"{self}({', '.join(f'{name}=...' for name in names)})"
            found = clipped(safe_repr(extra[0]), 60)
            msg = f"{self} takes its inputs by name, found {found} by position. Write {line}."
            raise TypeError(msg)


def _refuse(self: Any, name: str, value: object) -> NoReturn:
    """Raise the error of an attribute that is set. Parameters are set in a version."""
    program = _name_of(self)
    if name in getattr(self, "slots", {}):
        path = f"{program}.{name}"
        mended = f'version = lf.init({program}).put({{"{path}": ...}})'
        use = f"ex.run({program}, version=version)"
        msg = f"a program is a value: {path} can't be set. It is a parameter: {mended}, {use}."
        raise CannotBeSet(msg)
    del value
    msg = f"a program is a value: {program}.{name} can't be set. Make another program."
    raise CannotBeSet(msg)


def _name_of(program: Any) -> str:
    name = vars(program).get("name", "")
    return name if isinstance(name, str) and name else "program"

"""Names the mending line if a version is passed by position instead of by ``version=``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Never

from lmflow.errors.missing_attributes import ExplainsAttributes
from lmflow.programs.program import Program
from lmflow.versions.version import Version

LINES = {
    "run": "ex.run(program, version=version, question=...)",
    "stream": "ex.stream(program, version=version, question=...)",
    "map": "ex.map(program, examples, version=version)",
    "evaluate": "ex.evaluate(program, examples, metric, version=version)",
    "optimize": "ex.optimize(optimizer, program, data, metric, version=version)",
    "replay": "ex.replay(recorded, program, version=version)",
    "world": "ex.world(program, version=version)",
}
"""How each method is called."""


class EnteredAsync(ExplainsAttributes):
    """Base of the executor: ``with`` without ``async`` names what each is for."""

    def __enter__(self) -> Never:
        """Raise ``TypeError``."""
        msg = "write async with lf.Executor(...) as ex, or without async: with lf.Sync(...) as ex"
        raise TypeError(msg)

    def __exit__(self, *_: object) -> None:
        """Do nothing; it can't be entered so."""


def check_order(method: str, extra: tuple[Any, ...], after_program: Any = ()) -> None:
    """Check that a call of an executor's method passes no version by position.

    Args:
        method: The method's name.
        extra: The positional arguments beyond those that the method has.
        after_program: The argument that follows the program.

    Raises:
        TypeError: There are such arguments, or a version or ``None`` follows the program.
    """
    if method in {"run", "stream"} and extra and isinstance(extra[0], Mapping):
        inputs = ", ".join(f"{name}=..." for name in extra[0])
        line = f"ex.{method}(program, {inputs})"
        msg = f"{method}() takes inputs by name, found a mapping. Write {line}."
        raise TypeError(msg)
    if extra or after_program is None or isinstance(after_program, Version):
        msg = (
            f"{method}() takes {_what(method)} by keyword, found it by position. "
            f"Write {LINES[method]}; without version= the program's defaults apply."
        )
        raise TypeError(msg)


def _what(method: str) -> str:
    return "inputs and the version" if method in {"run", "stream"} else "the version"


def check_version_input(program: Program, version: Version | str | None) -> None:
    """Refuse ``version=`` for a program with an input of that name, since it could mean either.

    Args:
        program: The program, whose inputs are keywords of the same call.
        version: The version of the call.

    Raises:
        TypeError: The program has an input ``version`` and a version is given.
    """
    if version is not None and "version" in program.signature.input_names:
        msg = (
            f"{program} has an input called version, so version= could mean either. "
            f"Give the program its inputs first: {program.frame}(version=...), version=..."
        )
        raise TypeError(msg)

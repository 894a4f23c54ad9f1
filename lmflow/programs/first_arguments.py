"""The arguments of ``lf.predict`` that newcomers mix up: named with the line that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lmflow.errors import BadSignature, check_kind, clipped, safe_repr
from lmflow.values.record import Record

_OUTPUT = re.compile(r"->\s*(\w+)")


def check_name(name: str, signature: object, instruction: object) -> None:
    """Raise ``BadSignature`` if the name is missing, or can't be a name."""
    if "->" in name:
        raise BadSignature(name, "the name of the step is missing", _line(name, signature))
    if signature == "":
        problem = f"{name!r} is the name of a step, whose signature is missing"
        raise BadSignature("", problem, f'Write lf.predict({name!r}, "question -> answer").')
    if not name.isidentifier():
        valid = re.sub(r"\W+", "_", name).strip("_").lower() or "answer"
        fix = f"Write lf.predict({valid!r}, {_shown(signature)}"
        fix += f", {_shown(instruction)})." if instruction else ")."
        raise BadSignature(name, f"{name!r} can't be the name of a step", fix)


def checked_demos(demos: Iterable[Mapping[str, Any]]) -> tuple[Record, ...]:
    """Return demonstrations as records. ``TypeError`` if they are not a list of mappings."""
    fix = 'They are a list: demos=[{"question": "...", "answer": "..."}].'
    if isinstance(demos, (Mapping, str)):
        check_kind("demonstrations", demos, list, fix)
    records = []
    for demo in demos:
        check_kind("a demonstration", demo, Mapping, fix)
        records.append(Record(demo))
    return tuple(records)


def check_function(stub: object) -> None:
    """Raise ``TypeError`` if what stands for a step is neither a name nor a function."""
    if not hasattr(stub, "__name__"):
        found = f"{type(stub).__name__} {_shown(stub)}"
        fix = 'Write lf.predict("answer", "question -> answer").'
        msg = f"expected the name of a step, or a function that declares it, found {found}. {fix}"
        raise TypeError(msg)


def check_parameters(instruction: object, options: object, model: object) -> None:
    """Raise ``TypeError`` if a default parameter is of another kind."""
    check_kind("an instruction", instruction, str, 'It is one text: "Answer briefly.".')
    if options is not None:
        check_kind("options", options, Mapping, 'They have names: options={"temperature": 0}.')
    fix = (
        "The name is a parameter; a model itself is the executor's: lf.Executor(model), several "
        'are lf.Executor(lf.routed({"fast": a, "good": b})) and model="fast".'
    )
    check_kind("the name of a model", model, str, fix)


def _line(text: str, second: Any) -> str:
    """Return the line that was meant by a signature in the place of the name."""
    found = _OUTPUT.search(text)
    name = found[1] if found else "answer"
    if isinstance(second, str) and second.isidentifier():
        return f"Write lf.predict({second!r}, {text!r})."
    instruction = f", {_shown(second)}" if isinstance(second, str) and second else ""
    return f"Write lf.predict({name!r}, {text!r}{instruction})."


def _shown(value: object) -> str:
    return clipped(safe_repr(value), 60)

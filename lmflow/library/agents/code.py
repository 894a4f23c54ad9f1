"""What programs share whose models write code: the code in a reply, its result, the functions that
it may call.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.errors import BadSignature, CallError
from lmflow.interpreter.tools import arguments_of, description_of
from lmflow.library.agents.sandbox import Answer, HostCall
from lmflow.programs.program import Program
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, pretty

WITHOUT = (
    "There are no files, network or packages, only math, re, json, datetime, itertools, functools, collections, "
    "decimal, random; no classes that inherit, no yield."
)
"""What a model is told of the Python that it has."""

_FENCED = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_PYTHON = frozenset({"python", "py", "python3"})


def code_in(text: str) -> str:
    """The code in a reply: its first fenced block of Python, else its first fenced block, else all
    of it.
    """
    blocks = [(language.lower(), code) for language, code in _FENCED.findall(text)]
    known = [code for language, code in blocks if language in _PYTHON] or [
        code for _, code in blocks
    ]
    return (known[0] if known else text).strip("\n").rstrip()


def result_of(found: Mapping[str, Any]) -> str:
    """What a run printed, and the value of its last line; empty where there is neither."""
    value = found["value"]
    shown = value if isinstance(value, str) else pretty(value)
    return "\n".join(
        part for part in (found["stdout"].strip(), "" if value is None else shown) if part
    )


async def answered(tools: Sequence[Program], call: HostCall) -> Answer:
    """What a tool gives: the one output, or all by name; or the words of what was wrong with the
    call.
    """
    tool = next(tool for tool in tools if tool.frame == call.name)
    try:
        outputs = await tool(**arguments(tool.signature, call))
    except (CallError, ValueError) as problem:
        return Answer(error=str(problem))
    return Answer(*outputs.values()) if len(outputs) == 1 else Answer(outputs)


def arguments(signature: Signature, call: HostCall) -> Record:
    """The inputs that a call's arguments are, by place and by name. ``ValueError`` where they don't
    fit.
    """
    names = [field.name for field in signature.inputs]
    if len(call.args) > len(names):
        msg = f"{call.name} takes {len(names)} arguments, found {len(call.args)}"
        raise ValueError(msg)
    return arguments_of(signature, {**dict(zip(names, call.args, strict=False)), **call.named})


def goal(asked: Signature) -> str:
    """What is asked where no instruction says it."""
    wanted = ", ".join(field.name.replace("_", " ") for field in asked.outputs)
    return f"Find {wanted}."


def callable_in(tool: Program, asked: Signature) -> Program:
    """The tool, if its name is free in the code. ``BadSignature``."""
    if hasattr(builtins, tool.frame) or any(field.name == tool.frame for field in asked.inputs):
        text = f"{tool.frame!r} is a tool, and an input or a function of Python"
        raise BadSignature(str(asked), text, 'Rename it: tool.named("look_up").')
    return tool


def sketch(tool: Program) -> str:
    """How a function is called, what it gives, and what it does where that is said."""
    inputs, outputs = (
        ", ".join(map(str, side)) for side in (tool.signature.inputs, tool.signature.outputs)
    )
    said = description_of(tool).partition("\n")[0]
    return f"{tool.frame}({inputs}) -> {outputs}{f'  # {said}' if said else ''}"

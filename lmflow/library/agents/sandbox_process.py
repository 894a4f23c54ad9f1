"""The child process that runs one session in Monty's interpreter, within limits that the system
keeps too.

It reads one JSON object from standard input (``cells``, ``variables``, ``functions`` and the
limits), and writes one to standard output, of the last cell: ``value`` and ``stdout``, or a
``fault`` or the ``call`` of a function that has no answer yet, beside the ``stdout`` that there
was. It imports nothing of lmflow, so that it starts fast and there is nothing in it to be found.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic_monty

HEADROOM = 256 * 1024 * 1024
"""Address space beside the program's own memory: this interpreter and Monty's worker."""
GRACE = 1.0
"""Seconds after which a worker that doesn't stop by itself is killed."""

_FILES = 48
_DEEPEST = 64
_DIGITS = 4300
_ENDS = {"time", "memory", "crash"}
_TOLD = 1000  # characters of what a program raises
_KINDS = {
    "PermissionError": "refused", "ModuleNotFoundError": "refused", "SyntaxError": "syntax",
    "NotImplementedError": "syntax", "MemoryError": "memory", "RecursionError": "recursion", "TimeoutError": "time",
}  # fmt: skip
_POLICY: Any = {"datetime": "call_host", "sleep": "zero", "random_start": {"seed": 0}}


def main() -> None:
    """Run what is asked for and say what came of it."""
    asked = json.load(sys.stdin)
    _confine(int(asked["seconds"] * len(asked["cells"])) + 10, asked["memory"] + HEADROOM)
    try:
        told = _run(asked)
    except pydantic_monty.MontyError as error:
        told = {"fault": fault(error, asked["output"]), "stdout": ""}
    json.dump(told, sys.stdout)


class Paused(Exception):
    """The program calls a function whose answer isn't known."""

    def __init__(self, call: dict[str, Any]) -> None:
        super().__init__(call["name"])
        self.call = call


class Unsayable(ValueError):
    """A value that is too large, or nested too deeply, to be handed on."""


def said(value: Any, most: int) -> Any:
    """A value of a program as a JSON value: what JSON can't hold is the text that Python shows of
    it, keys too, tuples and sets are lists. ``Unsayable`` where it takes more than ``most``
    characters.
    """
    found = _said(value, 0)
    if (length := len(json.dumps(found, ensure_ascii=False))) > most:
        msg = f"the value has {length:,} characters, allowed are {most:,}: give or print less"
        raise Unsayable(msg)
    return found


def fault(error: pydantic_monty.MontyError, output: int) -> dict[str, Any]:
    """Why a program ended: which bound it broke, or what it raised, and in which line."""
    if isinstance(error, pydantic_monty.MontyCrashedError):
        kind = "time" if error.timed_out else "crash"
        return {
            "kind": kind,
            "error": "TimeoutError" if error.timed_out else "",
            "text": _utf8(str(error)),
            "line": 0,
        }
    if not isinstance(error, (pydantic_monty.MontySyntaxError, pydantic_monty.MontyRuntimeError)):
        return {
            "kind": "error",
            "error": type(error).__name__,
            "text": _utf8(str(error)),
            "line": 0,
        }
    name, _, text = error.display("type-msg").partition(": ")
    lines = [frame.line for frame in error.traceback()] or [0]
    if (kind := _kind(name, text, output)) == "time":
        text = text.partition(":")[0]  # without how long it took, which no two runs agree in
    return {"kind": kind, "error": name, "text": _utf8(text)[:_TOLD], "line": lines[-1]}


def _run(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the last cell gives, or the first that ends the session: those after it would begin from
    something else.
    """
    limits: Any = {
        "max_feed_duration_secs": asked["seconds"],
        "max_memory": asked["memory"],
        "max_recursion_depth": asked["depth"],
    }
    pool = pydantic_monty.Monty(
        max_processes=1, request_timeout=asked["seconds"] + GRACE, feed_duration_limit_grace=GRACE
    )
    told: dict[str, Any] = {}
    with pool, pool.checkout(limits=limits, os_policy=_POLICY) as session:
        names, variables = dict.fromkeys(asked["functions"], _never), _said(asked["variables"], 0)
        for cell in asked["cells"]:
            told = _told(session, cell, variables, names, asked["output"])
            variables = {}
            if "call" in told or told.get("fault", {}).get("kind") in _ENDS:
                break
    return told


def _told(
    session: Any, cell: Mapping[str, Any], variables: Any, names: Mapping[str, Any], most: int
) -> dict[str, Any]:
    """What a cell gives."""
    printed = pydantic_monty.CollectString(max_bytes=most)
    told: dict[str, Any]
    try:
        step = session.feed_start(
            _utf8(cell["code"]), inputs=variables, print_callback=printed, external_lookup=names
        )
        answers = iter(cell["answers"])
        while not isinstance(step, pydantic_monty.MontyComplete):
            if isinstance(step, pydantic_monty.FunctionSnapshot) and step.function_name in names:
                step = step.resume(_answer(step, answers, cell["over"], most))
            else:
                step = step.resume_auto()
        told = {"value": said(step.output, most)}
    except Paused as pause:
        told = {"call": pause.call}
    except Unsayable as problem:
        told = {"fault": {"kind": "output", "error": "ValueError", "text": str(problem), "line": 0}}
    except pydantic_monty.MontyError as error:
        told = {"fault": fault(error, most)}
    return {**told, "stdout": _utf8(printed.output)}


def _answer(call: Any, answers: Iterator[Mapping[str, Any]], over: str, most: int) -> Any:
    """The next answer, which is that of this call, since the program is the same; where there is
    none what is over is raised, else ``Paused``.
    """
    answer = next(answers, {"error": over} if over else None)
    if answer is None:
        args, named = said(list(call.args), most), said(call.kwargs, most)
        raise Paused({"name": call.function_name, "args": args, "named": named})
    if answer["error"]:
        return {"exc_type": "RuntimeError", "message": answer["error"]}
    return {"return_value": answer["value"]}


def _never(*_: Any, **__: Any) -> None:
    """Stands for a function whose calls are answered from outside."""


def _kind(name: str, text: str, output: int) -> str:
    if text.endswith(f"> {output} bytes"):
        return "output"
    return (
        "refused"
        if text.endswith("not supported in this environment")
        else _KINDS.get(name, "error")
    )


def _said(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        msg = f"the value is nested deeper than {_DEEPEST} levels"
        raise Unsayable(msg)
    if (
        value is None
        or isinstance(value, bool)
        or (isinstance(value, float) and math.isfinite(value))
    ):
        return value
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return [_said(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(
            (_said(item, depth + 1) for item in value),
            key=lambda item: json.dumps(item, sort_keys=True),
        )
    if isinstance(value, dict):
        return {_utf8(str(key)): _said(item, depth + 1) for key, item in value.items()}
    return _utf8(str(value))


def _number(value: int) -> int:
    if value.bit_length() > _DIGITS * 3:
        msg = f"the value is a number of {value.bit_length():,} bits: give or print less"
        raise Unsayable(msg)
    return value


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _confine(seconds: int, memory: int) -> None:
    """Limits that hold for this process and for the worker, whatever either does: no file can be
    written, few can be opened, no more memory and processor time. Systems without them (Windows)
    have the interpreter's own.
    """
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return
    limits = {
        "RLIMIT_AS": memory,
        "RLIMIT_CPU": seconds,
        "RLIMIT_NOFILE": _FILES,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
    }
    for name, most in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some of them
            resource.setrlimit(getattr(resource, name), (most, most))


if __name__ == "__main__":
    main()

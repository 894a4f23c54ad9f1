"""The child process that runs one session in Monty's interpreter, within limits of the system.

It reads one JSON object from standard input (``cells``, ``variables``, ``functions`` and the
limits), and writes one to standard output, of the last cell: ``stdout`` with the ``value``, a
``fault``, or the ``call`` of a function that has no answer yet. It imports nothing of lmflow, so
that it starts fast and holds nothing of its caller's.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic_monty

MEMORY_HEADROOM = 256 * 1024 * 1024
"""Bytes of address space beside the program's own memory: this interpreter and Monty's worker."""
WORKER_GRACE = 1.0
"""Seconds after which a worker that doesn't stop by itself is killed."""

_FILES = 48
_DEEPEST = 64
_DIGITS = 4300
_SESSION_ENDS = {"time", "memory", "crash"}
_ERROR_SHOWN = 1000  # characters
_KINDS = {
    "PermissionError": "refused",
    "ModuleNotFoundError": "refused",
    "SyntaxError": "syntax",
    "NotImplementedError": "syntax",
    "MemoryError": "memory",
    "RecursionError": "recursion",
    "TimeoutError": "time",
}
_POLICY: Any = {"datetime": "call_host", "sleep": "zero", "random_start": {"seed": 0}}


def main() -> None:
    """Run the session that standard input describes, and write its outcome."""
    session = json.load(sys.stdin)
    _confine(
        int(session["seconds"] * len(session["cells"])) + 10, session["memory"] + MEMORY_HEADROOM
    )
    try:
        outcome = _run_session(session)
    except pydantic_monty.MontyError as error:
        outcome = {"fault": fault_of(error, session["output"]), "stdout": ""}
    json.dump(outcome, sys.stdout)


class Paused(Exception):
    """Raised if the program calls a function whose answer isn't known."""

    def __init__(self, call: dict[str, Any]) -> None:
        super().__init__(call["name"])
        self.call = call


class ValueTooLarge(ValueError):
    """Raised for a value that is too large, or nested too deeply, to be written."""


def json_value(value: Any, most: int) -> Any:
    """Return a value of a program as a JSON value of at most ``most`` characters.

    What JSON can't hold, keys too, is the text that Python shows of it; tuples and sets are lists.
    Raises ``ValueTooLarge`` for a longer one.
    """
    result = _json_value(value, 0)
    if (length := len(json.dumps(result, ensure_ascii=False))) > most:
        msg = f"the value has {length:,} characters, allowed are {most:,}: give or print less"
        raise ValueTooLarge(msg)
    return result


def fault_of(error: pydantic_monty.MontyError, output: int) -> dict[str, Any]:
    """Return why a program ended: the bound that it broke or what it raised, and the line."""
    if isinstance(error, pydantic_monty.MontyCrashedError):
        if error.timed_out:
            return _fault("time", "TimeoutError", _utf8(str(error)))
        return _fault("crash", "", _utf8(str(error)))
    if not isinstance(error, (pydantic_monty.MontySyntaxError, pydantic_monty.MontyRuntimeError)):
        return _fault("error", type(error).__name__, _utf8(str(error)))
    name, _, text = error.display("type-msg").partition(": ")
    lines = [frame.line for frame in error.traceback()] or [0]
    if (kind := _kind(name, text, output)) == "time":
        text = text.partition(":")[0]  # without how long it took, which no two runs agree in
    return _fault(kind, name, _utf8(text)[:_ERROR_SHOWN], lines[-1])


def _fault(kind: str, error: str, text: str, line: int = 0) -> dict[str, Any]:
    return {"kind": kind, "error": error, "text": text, "line": line}


def _run_session(session: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome of the last cell, or of the first that ends the session.

    Cells after one that was killed would run without the names that it set, so they don't.
    """
    limits: Any = {
        "max_feed_duration_secs": session["seconds"],
        "max_memory": session["memory"],
        "max_recursion_depth": session["depth"],
    }
    pool = pydantic_monty.Monty(
        max_processes=1,
        request_timeout=session["seconds"] + WORKER_GRACE,
        feed_duration_limit_grace=WORKER_GRACE,
    )
    outcome: dict[str, Any] = {}
    with pool, pool.checkout(limits=limits, os_policy=_POLICY) as worker:
        functions = dict.fromkeys(session["functions"], _placeholder)
        variables = _json_value(session["variables"], 0)
        for cell in session["cells"]:
            outcome = _run_cell(worker, cell, variables, functions, session["output"])
            variables = {}
            if "call" in outcome or outcome.get("fault", {}).get("kind") in _SESSION_ENDS:
                break
    return outcome


def _run_cell(
    worker: Any, cell: Mapping[str, Any], variables: Any, names: Mapping[str, Any], most: int
) -> dict[str, Any]:
    """Run a cell to its end or to a call without an answer."""
    printed = pydantic_monty.CollectString(max_bytes=most)
    outcome: dict[str, Any]
    try:
        step = worker.feed_start(
            _utf8(cell["code"]), inputs=variables, print_callback=printed, external_lookup=names
        )
        answers = iter(cell["answers"])
        while not isinstance(step, pydantic_monty.MontyComplete):
            if isinstance(step, pydantic_monty.FunctionSnapshot) and step.function_name in names:
                step = step.resume(_answer(step, answers, cell["over"], most))
            else:
                step = step.resume_auto()
        outcome = {"value": json_value(step.output, most)}
    except Paused as pause:
        outcome = {"call": pause.call}
    except ValueTooLarge as problem:
        outcome = {"fault": _fault("output", "ValueError", str(problem))}
    except pydantic_monty.MontyError as error:
        outcome = {"fault": fault_of(error, most)}
    return {**outcome, "stdout": _utf8(printed.output)}


def _answer(call: Any, answers: Iterator[Mapping[str, Any]], over: str, most: int) -> Any:
    """Return the next answer, which is this call's, since the same program makes the same calls.

    Without one, the call raises ``over`` in the program if that is not empty, else ``Paused`` here.
    """
    answer = next(answers, {"error": over} if over else None)
    if answer is None:
        args, named = json_value(list(call.args), most), json_value(call.kwargs, most)
        raise Paused({"name": call.function_name, "args": args, "named": named})
    if answer["error"]:
        return {"exc_type": "RuntimeError", "message": answer["error"]}
    return {"return_value": answer["value"]}


def _placeholder(*_: Any, **__: Any) -> None:
    """Stand for a function whose calls are answered from outside."""


def _kind(name: str, text: str, output: int) -> str:
    if text.endswith(f"> {output} bytes"):
        return "output"
    if text.endswith("not supported in this environment"):
        return "refused"
    return _KINDS.get(name, "error")


def _json_value(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        msg = f"the value is nested deeper than {_DEEPEST} levels"
        raise ValueTooLarge(msg)
    is_finite = isinstance(value, float) and math.isfinite(value)
    if value is None or isinstance(value, bool) or is_finite:
        return value
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return [_json_value(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        # Sorted, since the order of a set differs from process to process.
        items = (_json_value(item, depth + 1) for item in value)
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, dict):
        return {_utf8(str(key)): _json_value(item, depth + 1) for key, item in value.items()}
    return _utf8(str(value))


def _number(value: int) -> int:
    if value.bit_length() > _DIGITS * 3:
        msg = f"the value is a number of {value.bit_length():,} bits: give or print less"
        raise ValueTooLarge(msg)
    return value


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _confine(seconds: int, memory: int) -> None:
    """Limit this process and its worker, whatever either does.

    No file can be written, few can be opened; memory and processor time are bounded. On systems
    without limits (Windows) only the interpreter's own hold.
    """
    # A second wall: a fault in the interpreter must not become one of the machine. The limits are
    # looser than the interpreter's, which break first and say which bound it was.
    try:
        import resource  # noqa: PLC0415 - Windows lacks it
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

"""A sandbox for Python that models write: no network, no files, bounded time and memory."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from lmflow.errors.calling import SandboxUnavailable
from lmflow.messages.requests import PURE
from lmflow.programs.factories import tool
from lmflow.programs.tool import Tool
from lmflow.values.media import File
from lmflow.values.record import Record, canonical, digest, freeze, plain

CHILD = Path(__file__).with_name("sandbox_process.py")
STARTING = 30.0
"""Seconds for starting the process, beside the program's own; after both it is killed."""

_MONTY = "1.4"
_RULES = 1  # the form of values and faults; raise it if that changes, since old runs differ then
_MIB = 1024 * 1024
_VALUE = "application/vnd.lmflow.value+json"
_SIGNATURE = "code, variables: dict[str, Any] = {} -> value: Any, stdout, fault: Fault | None"
_CELLS = (
    "cells: list[Cell], variables: dict[str, Any], functions: list[str]"
    " -> value: Any, stdout, fault: Fault | None, call: HostCall | None"
)
_DESCRIPTION = (
    "Run a short Python program. It gives the value of its last line, what it printed, and why it "
    "failed. There are no files, no network and no packages."
)
_INHERITED = {"PATH", "SYSTEMROOT", "LANG"}  # of the environment, which may hold keys of models

FaultKind = Literal["time", "memory", "recursion", "output", "refused", "syntax", "error", "crash"]


@attrs.frozen
class Fault:
    """The reason why a program gave no value.

    ``kind`` is the bound that it broke (``time``, ``memory``, ``recursion``, ``output``),
    ``refused`` for what it isn't allowed (files, clock, environment, modules that aren't there),
    ``syntax`` (also for what the interpreter lacks), ``error`` for what it raised, or ``crash``.
    ``error`` is the exception's name, ``line`` the line that raised it, 0 if there is none.
    """

    kind: FaultKind
    error: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.error}: {self.text}" if self.error else f"{where}{self.text}"


@attrs.frozen
class HostCall:
    """A program's call of a function from outside, with its arguments by place and by name."""

    name: str
    args: tuple[Any, ...] = attrs.field(default=(), converter=freeze)
    named: Record = attrs.field(factory=Record, converter=Record)


@attrs.frozen
class Answer:
    """The answer to a ``HostCall``: a value, or an error to be raised in the program."""

    value: Any = None
    error: str = ""


@attrs.frozen
class Cell:
    """A piece of a session: its code, and the answers to its calls of outside functions, in order.

    A further call raises ``over`` if that is not empty; otherwise the session ends there.
    """

    code: str
    answers: tuple[Answer, ...] = ()
    over: str = ""


@attrs.frozen
class Sandbox:
    """The bounds of a program and the interpreter that runs it.

    A program runs in a process of its own, in Monty's interpreter, which offers no network, files,
    environment, clock or processes; the system's limits hold around it if it has any (Windows
    doesn't). Sleeping takes no time and random numbers begin at seed 0, so the same program gives
    the same result.

    Args:
        seconds: How long it may run; a program that doesn't stop by itself is killed 1 s later. In
            a session it is each cell's.
        memory: In bytes.
        depth: The most nested calls.
        output: In bytes printed and in characters of the value; in a session each cell's.
        version: The series of Monty. It identifies recorded runs, so another installed series is
            refused.

    Raises:
        ValueError: A bound is not above 0.
    """

    seconds: float = 2.0
    memory: int = 64 * _MIB
    depth: int = 200
    output: int = 10_000
    version: str = _MONTY

    def __attrs_post_init__(self) -> None:
        for name in ("seconds", "memory", "depth", "output"):
            if getattr(self, name) <= 0:
                msg = f"{name} of a sandbox must be more than 0, found {getattr(self, name)}"
                raise ValueError(msg)

    @property
    def digest(self) -> str:
        """Identifies runs in this sandbox: interpreter, version and bounds."""
        return digest("sandbox", ["monty", _RULES, plain(self)])

    def run(self, code: str, variables: Mapping[str, Any] = Record()) -> Record:
        """Run a program.

        Args:
            code: The program.
            variables: The names that are set; a file of text (``lf.File``) is set as its text.

        Returns:
            ``value`` is that of the last line if it is an expression, as JSON: tuples and sets are
            lists, what JSON can't hold is the text that Python shows of it. ``stdout`` is what was
            printed, ``fault`` a ``Fault`` or ``None``.

        Raises:
            SandboxUnavailable: The extra ``code`` isn't installed. No program raises another error.
        """
        return self.until_call((Cell(code),), variables, ()).only("value", "stdout", "fault")

    def until_call(
        self, cells: Iterable[Cell], variables: Mapping[str, Any], functions: Iterable[str]
    ) -> Record:
        """Run cells one after the other in one session, to its end or to a call without an answer.

        Names stay set from cell to cell, and an error ends only its own cell. The program is pure,
        so run again with one more answer it comes to the next call.

        Args:
            cells: The cells, each with the answers to its calls.
            variables: As in ``run``.
            functions: The names of functions from outside that the cells may call.

        Returns:
            What ``run`` returns, of the last cell, and ``call``: the ``HostCall`` that has no
            answer yet, or ``None``.

        Raises:
            SandboxUnavailable: The extra ``code`` isn't installed.
        """
        self.check()
        session = {
            "cells": list(cells),
            "variables": loaded(variables),
            "functions": list(functions),
        }
        seconds = self.seconds * len(session["cells"])
        outcome = _run_child(canonical({**session, **attrs.asdict(self)}), seconds + STARTING)
        fault, call = outcome.get("fault"), outcome.get("call")
        return Record(
            value=outcome.get("value"),
            stdout=outcome["stdout"],
            fault=None if fault is None else Fault(**fault),
            call=None if call is None else HostCall(**call),
        )

    def check(self) -> None:
        """Raise ``SandboxUnavailable`` if Monty isn't installed in the sandbox's series."""
        try:
            installed = importlib.metadata.version("pydantic-monty")
        except importlib.metadata.PackageNotFoundError:
            raise SandboxUnavailable("pydantic-monty is not installed") from None
        if installed != self.version and not installed.startswith(f"{self.version}."):
            fix = (
                "Install the series, or say that it is another program: "
                f'lf.Sandbox(version="{installed}")'
            )
            problem = f"pydantic-monty {installed} is installed, the sandbox is {self.version}"
            raise SandboxUnavailable(problem, fix)


def run_python(sandbox: Sandbox | None = None, *, name: str = "run_python") -> Tool:
    """Make a tool ``code, variables -> value, stdout, fault`` that runs Python in a sandbox.

    A program that fails is an answer, whose ``fault`` says why, and not a failed call. The tool is
    pure: code, variables, bounds and version identify a run, so a replay answers it without
    running, also on a machine without the extra ``code``.

    Args:
        sandbox: The bounds, by default those of ``Sandbox()``.
        name: The tool's name.

    Returns:
        The tool; see ``Sandbox.run`` for its outputs and errors.
    """
    box = sandbox or Sandbox()
    types = {"Fault": Fault}
    run = tool(name, _SIGNATURE, box.run, mode=PURE, description=_DESCRIPTION, types=types)
    return attrs.evolve(run, check=box.check)


def run_cells(sandbox: Sandbox | None = None, *, name: str = "run_cells") -> Tool:
    """Make the tool that runs a session whose cells may call functions from outside.

    Its signature is ``cells, variables, functions -> value, stdout, fault, call``; see
    ``Sandbox.until_call``.
    """
    box = sandbox or Sandbox()
    types = {"Fault": Fault, "Cell": Cell, "HostCall": HostCall}
    run = tool(name, _CELLS, box.until_call, mode=PURE, description="", types=types)
    return attrs.evolve(run, check=box.check)


def file_of(value: Any) -> File:
    """Return a large variable as a file, which a store keeps once and not with every run."""
    return File(canonical(value).encode(), _VALUE)


def loaded(value: Any) -> Any:
    """Return a variable as a program finds it set: text of a file, the value of ``file_of``."""
    if isinstance(value, File) and value.known:
        if value.media_type == _VALUE:
            return json.loads(value.data)
        is_text = value.media_type.startswith("text/")
        return value.data.decode("utf-8", "replace") if is_text else value
    if isinstance(value, Mapping):
        return {name: loaded(item) for name, item in value.items()}
    return [loaded(item) for item in value] if isinstance(value, (list, tuple)) else value


# Python has no way to stop code from within, so each run has a process of its own, in a session of
# its own: killing the group ends Monty's worker too, which would otherwise outlive its parent.
def _run_child(session: str, seconds: float) -> dict[str, Any]:
    """Run a session in a child process; a fault if that was killed or died."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
        [sys.executable, "-I", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name in _INHERITED},
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(session.encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        return _lost("time", "TimeoutError", f"the process was killed after {seconds:g} s")
    finally:
        _end(process)
    try:
        outcome: dict[str, Any] = json.loads(answer)
    except ValueError:
        return _lost("crash", "", f"the process ended with status {process.returncode}")
    return outcome


def _lost(kind: FaultKind, error: str, text: str) -> dict[str, Any]:
    return {"stdout": "", "fault": {"kind": kind, "error": error, "text": text}}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and those that it started, and close its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()

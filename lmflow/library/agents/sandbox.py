"""A sandbox for Python that models write: no network, no files, and bounds on time, memory, depth
and output.
"""

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

from lmflow.errors import SandboxUnavailable
from lmflow.messages.requests import PURE
from lmflow.programs.factories import tool
from lmflow.programs.program import Tool
from lmflow.values.media import File
from lmflow.values.record import Record, canonical, digest, freeze, plain

CHILD = Path(__file__).with_name("sandbox_process.py")
STARTING = 30.0
"""Seconds beside the program's own after which its process is killed, whatever it does: it has to
start, too.
"""

_MONTY = "1.4"
_RULES = 1  # how values and faults are told: another number where that changes
_MIB = 1024 * 1024
_VALUE = "application/vnd.lmflow.value+json"
_SIGNATURE = "code, variables: dict[str, Any] = {} -> value: Any, stdout, fault: Fault | None"
_CELLS = (
    "cells: list[Cell], variables: dict[str, Any], functions: list[str]"
    " -> value: Any, stdout, fault: Fault | None, call: HostCall | None"
)
_DESCRIPTION = (
    "Run a short Python program. It gives the value of its last line, what it printed, and why it failed. There are no "
    "files, no network and no packages."
)
_KEPT = {"PATH", "SYSTEMROOT", "LANG"}


@attrs.frozen
class Fault:
    """Why a program gave no value.

    ``kind`` is the bound that it broke (``time``, ``memory``, ``recursion``, ``output``), what it
    isn't allowed (``refused``: files, clock, environment, modules that aren't there), ``syntax``
    (also what the interpreter lacks), ``error`` for what it raised, or ``crash``. ``error`` is the
    exception's name, ``line`` where, 0 for nowhere.
    """

    kind: Literal["time", "memory", "recursion", "output", "refused", "syntax", "error", "crash"]
    error: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.error}: {self.text}" if self.error else f"{where}{self.text}"


@attrs.frozen
class HostCall:
    """A call of a function that a program has from outside, its arguments by place and by name."""

    name: str
    args: tuple[Any, ...] = attrs.field(default=(), converter=freeze)
    named: Record = attrs.field(factory=Record, converter=Record)


@attrs.frozen
class Answer:
    """What such a call gives: a value, or an error that is raised there."""

    value: Any = None
    error: str = ""


@attrs.frozen
class Cell:
    """A piece of a session: its code, and what the calls of outside functions in it gave, in their
    order.

    A call beyond those raises ``over``, where that says something; else the session ends there.
    """

    code: str
    answers: tuple[Answer, ...] = ()
    over: str = ""


@attrs.frozen
class Sandbox:
    """The bounds of a program, and the interpreter that it runs in.

    ``seconds`` of running (one that doesn't stop by itself is killed 1 s later), ``memory`` in
    bytes, ``depth`` of calls, ``output`` in bytes printed and in characters of the value; in a
    session time and output are each cell's. ``version`` is the series of Monty: it is a part of
    what a recorded run is known by, so one that is installed in another series is refused, not used
    quietly.

    A program runs in a process of its own, in Monty's interpreter, which has no network, files,
    environment, clock or processes to give; the system's limits hold around it where there are some
    (not on Windows). Sleeping takes no time and random numbers begin at seed 0, so the same program
    gives the same.
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
        """What a run is known by: interpreter, version and bounds."""
        return digest("sandbox", ["monty", _RULES, plain(self)])

    def run(self, code: str, variables: Mapping[str, Any] = Record()) -> Record:
        """What a program gives: the ``value`` of its last line where that is an expression, what it
        printed, and a ``Fault`` or ``None``. ``variables`` are names that it finds set, a file
        of text (``lf.File``) as its text.

        The value is JSON; what JSON can't hold is the text that Python shows of it, tuples and sets
        are lists. Raises ``SandboxUnavailable`` where the extra ``code`` isn't installed, and no
        other error for any program.
        """
        return self.until_call((Cell(code),), variables, ()).only("value", "stdout", "fault")

    def until_call(
        self, cells: Iterable[Cell], variables: Mapping[str, Any], functions: Iterable[str]
    ) -> Record:
        """As ``run``, of the last of several cells that are run one after the other in one session:
        names stay set, and what one raises ends that one alone. They may call ``functions``,
        which are answered in order; where an answer is missing the run ends with that ``call``.
        Run again with one answer more it comes to the next, since it is pure.
        """
        self._check()
        asked = {
            "cells": list(cells),
            "variables": read_in(variables),
            "functions": list(functions),
        }
        seconds = self.seconds * len(asked["cells"])
        said = _child(canonical({**asked, **attrs.asdict(self)}), seconds + STARTING)
        fault, call = said.get("fault"), said.get("call")
        return Record(
            value=said.get("value"),
            stdout=said["stdout"],
            fault=None if fault is None else Fault(**fault),
            call=None if call is None else HostCall(**call),
        )

    def _check(self) -> None:
        try:
            found = importlib.metadata.version("pydantic-monty")
        except importlib.metadata.PackageNotFoundError:
            raise SandboxUnavailable("pydantic-monty is not installed") from None
        if found != self.version and not found.startswith(f"{self.version}."):
            fix = f'Install the series, or say that it is another program: lf.Sandbox(version="{found}")'
            raise SandboxUnavailable(
                f"pydantic-monty {found} is installed, the sandbox is {self.version}", fix
            )


def run_python(sandbox: Sandbox | None = None, *, name: str = "run_python") -> Tool:
    """``code, variables -> value, stdout, fault``: a tool that runs Python in a sandbox; see
    ``Sandbox.run``.

    A program that fails is an answer (``fault`` says why), not a failed call. It is pure: known by
    code, variables, bounds and version, so a replay answers it without running, on a machine
    without the extra, too.
    """
    box = sandbox or Sandbox()
    return tool(
        name, _SIGNATURE, box.run, mode=PURE, description=_DESCRIPTION, types={"Fault": Fault}
    )


def run_cells(sandbox: Sandbox | None = None, *, name: str = "run_cells") -> Tool:
    """``cells, variables, functions -> value, stdout, fault, call``: the same of a session whose
    cells may call functions from outside; see ``Sandbox.until_call``.
    """
    types = {"Fault": Fault, "Cell": Cell, "HostCall": HostCall}
    return tool(
        name, _CELLS, (sandbox or Sandbox()).until_call, mode=PURE, description="", types=types
    )


def kept_apart(value: Any) -> File:
    """A large variable, which a store then keeps once and not with every run."""
    return File(canonical(value).encode(), _VALUE)


def read_in(value: Any) -> Any:
    """A variable as a program finds it set: a file of text is its text, what was kept apart the
    value.
    """
    if isinstance(value, File) and value.known:
        if value.media_type == _VALUE:
            return json.loads(value.data)
        return (
            value.data.decode("utf-8", "replace") if value.media_type.startswith("text/") else value
        )
    if isinstance(value, Mapping):
        return {name: read_in(held) for name, held in value.items()}
    return [read_in(held) for held in value] if isinstance(value, (list, tuple)) else value


def _child(asked: str, seconds: float) -> dict[str, Any]:
    """What the child process says; a fault where it was killed or died."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
        [sys.executable, "-I", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name in _KEPT},
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(asked.encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        return _lost("time", "TimeoutError", f"the process was killed after {seconds:g} s")
    finally:
        _end(process)
    try:
        said: dict[str, Any] = json.loads(answer)
    except ValueError:
        return _lost("crash", "", f"the process ended with status {process.returncode}")
    return said


def _lost(kind: str, error: str, text: str) -> dict[str, Any]:
    return {"stdout": "", "fault": {"kind": kind, "error": error, "text": text}}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started, and let go of its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()

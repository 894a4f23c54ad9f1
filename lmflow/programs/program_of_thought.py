"""Program of thought: a model writes code, a sandbox runs it, and the answer is read from what it gives.

Code may call tools: each call ends the run, is made as an effect of its own, and the code is run again with its answer.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.build import predict
from lmflow.errors import BadSignature, CallError, CodeFailed
from lmflow.program import Predict, Program, Tool
from lmflow.programs.sandbox import Answer, Fault, HostCall, Sandbox, run_calling, run_python
from lmflow.programs.search import positive
from lmflow.programs.system import System, signed
from lmflow.signature import Field, Signature, signature_of
from lmflow.toolbox import arguments_of, as_tools, description_of
from lmflow.types import fit
from lmflow.values import Record, pretty

_FENCED = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_PYTHON = frozenset({"python", "py", "python3"})
_HAS = "math, re, json, datetime, itertools, functools, collections, decimal, random"
_EMPTY = "it printed nothing, and its last line is no expression: print the result"


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class ProgramOfThought(System):
    """Code, its result, and the answer from it; see ``program_of_thought``."""

    code: Predict
    mend: Predict | None
    run: Tool
    answer: Predict
    tries: int
    direct: bool
    tools: tuple[Program, ...] = ()
    calls: int = 0

    def __attrs_post_init__(self) -> None:
        signed(self, Signature(self.code.signature.inputs, self.answer.signature.outputs))

    @property
    def children(self) -> tuple[Program, ...]:
        """Its steps: nothing is mended in one try, and a direct answer is not asked for."""
        mend = () if self.mend is None else (self.mend,)
        return (self.code, *mend, self.run, *self.tools, *(() if self.direct else (self.answer,)))

    async def body(self, inputs: Record) -> Record:
        """Code that is run, and mended while it gives nothing; then the answer."""
        codes: list[str] = []
        problems: list[str] = []
        while len(codes) < self.tries:
            codes.append(await self._written(inputs, codes, problems))
            outputs, problem = self._read(await self._ran(codes[-1], inputs))
            if not problem:
                return outputs if self.direct else await self.answer(**inputs, code=codes[-1], result=outputs.result)
            problems.append(problem)
        raise CodeFailed(self.name, tuple(problems), tuple(codes))

    async def _written(self, inputs: Record, codes: list[str], problems: list[str]) -> str:
        if self.mend is None or not codes:
            return code_in((await self.code(**inputs)).code)
        return code_in((await self.mend(**inputs, failed_code=codes[-1], problem=problems[-1])).code)

    async def _ran(self, code: str, inputs: Record) -> Record:
        """What the code gives, with the tools that it calls."""
        if not self.tools:
            plainly: Record = await self.run(code=code, variables=inputs)
            return plainly
        names = tuple(tool.frame for tool in self.tools)
        answers: list[Answer] = []
        while True:
            found: Record = await self.run(code=code, variables=inputs, functions=names, answers=answers)
            if found.call is None:
                return found
            if len(answers) == self.calls:
                text = f"it called functions more than {self.calls} times: call fewer"
                return found | {"fault": Fault("refused", "", text)}
            answers.append(await self._called(found.call))

    async def _called(self, call: HostCall) -> Answer:
        """What a tool gives: the one output, or all by name; or the words of what was wrong with the call."""
        tool = next(tool for tool in self.tools if tool.frame == call.name)
        try:
            outputs = await tool(**arguments(tool, call))
        except (CallError, ValueError) as problem:
            return Answer(error=str(problem))
        return Answer(*outputs.values()) if len(outputs) == 1 else Answer(outputs)

    def _read(self, found: Mapping[str, Any]) -> tuple[Record, str]:
        """The result of a run, or the one output where the answer is direct; or what is wrong with it."""
        if found["fault"] is not None:
            return Record(), str(found["fault"])
        result = result_of(found)
        if not result:
            return Record(), _EMPTY
        if not self.direct:
            return Record(result=result), ""
        (output,) = self.signature.outputs
        try:
            return Record({output.name: _direct(found, output)}), ""
        except ValueError as problem:
            return Record(), f"the result is {result[:200]!r}: {problem}"


def program_of_thought(  # noqa: PLR0913 - each is a choice of its own
    signature: str | Signature,
    instruction: str = "",
    *,
    tries: int = 3,
    direct: bool = False,
    tools: Sequence[Program | Callable[..., Any]] = (),
    calls: int = 8,
    sandbox: Sandbox | None = None,
    name: str = "program_of_thought",
    types: Mapping[str, Any] | None = None,
) -> ProgramOfThought:
    """The signature's outputs from the result of code that a model writes for its inputs, run in a sandbox.

    Cost: at most ``tries`` runs of code and ``tries + 1`` calls, ``tries`` where the answer is ``direct``; where the
    first code runs, 2 calls and 1. Code that fails, or prints and gives nothing, is asked for again with the line that
    failed, ``tries`` times in all; then ``CodeFailed``. The inputs are variables of the code, as JSON values. What it
    printed, and the value of its last line where that is an expression, is the result, from which a last step answers.
    With ``direct`` there is no such step: the value (else the last line printed) is the one output, and what doesn't
    fit its type is mended like an error (``BadSignature`` where there are several).

    The code may call ``tools``, typed functions or named programs, with their inputs as arguments, at most ``calls``
    times a run; each call is an effect of its own, and the code is run again with its answer: at most
    ``tries * (calls + 1)`` runs then. What a tool failed with is raised in the code, which may catch it.

    Steps: ``code``, ``mend`` (where ``tries`` is more than 1), the tool ``run``, ``answer``; ``instruction`` says what
    is asked. Every run is recorded and replays without running; see ``Sandbox`` for its bounds.

    Chen et al. 2022, arXiv 2211.12588 (``direct``); a mending loop and a last step as DSPy's ``ProgramOfThought``.
    """
    asked = signature_of(signature, types)
    given = tuple(_callable(tool, asked) for tool in as_tools(tools)) if tools else ()
    if direct and len(asked.outputs) != 1:
        fix = "Give it one output, or leave direct=True out."
        raise BadSignature(str(asked), "a direct answer is one value", fix)
    code, failed, told = (Field(name=name) for name in ("code", "failed_code", "problem"))
    writing = _writing(asked, instruction, direct, given)
    return ProgramOfThought(
        name,
        predict("code", Signature(asked.inputs, (code,)), writing),
        predict(
            "mend",
            Signature((*asked.inputs, failed, told), (code,)),
            f"{writing}\nThe code below failed: write it again, whole, without that.",
        )
        if positive("tries", tries) > 1
        else None,
        run_calling(sandbox, name="run") if given else run_python(sandbox, name="run"),
        predict(
            "answer",
            Signature((*asked.inputs, code, Field(name="result")), asked.outputs),
            f"{instruction or _goal(asked)} The code was run: answer with its result.",
        ),
        tries,
        direct,
        given,
        positive("calls", calls) if given else 0,
    )


def code_in(text: str) -> str:
    """The code in a reply: its first fenced block of Python, else its first fenced block, else all of it."""
    blocks = [(language.lower(), code) for language, code in _FENCED.findall(text)]
    known = [code for language, code in blocks if language in _PYTHON] or [code for _, code in blocks]
    return (known[0] if known else text).strip("\n").rstrip()


def result_of(found: Mapping[str, Any]) -> str:
    """What a run printed, and the value of its last line; empty where there is neither."""
    value = found["value"]
    shown = value if isinstance(value, str) else pretty(value)
    return "\n".join(part for part in (found["stdout"].strip(), "" if value is None else shown) if part)


def arguments(tool: Program, call: HostCall) -> Record:
    """The inputs of a tool that a call's arguments are, by place and by name. ``ValueError`` where they don't fit."""
    names = [field.name for field in tool.signature.inputs]
    if len(call.args) > len(names):
        msg = f"{tool.frame} takes {len(names)} arguments, found {len(call.args)}"
        raise ValueError(msg)
    return arguments_of(tool, {**dict(zip(names, call.args, strict=False)), **call.named})


def _direct(found: Mapping[str, Any], output: Field) -> Any:
    value = found["value"]
    return fit(found["stdout"].strip().splitlines()[-1] if value is None else value, output.type)


def _goal(asked: Signature) -> str:
    wanted = ", ".join(field.name.replace("_", " ") for field in asked.outputs)
    return f"Find {wanted}."


def _writing(asked: Signature, instruction: str, direct: bool, tools: tuple[Program, ...]) -> str:  # noqa: FBT001
    names = ", ".join(f"`{field.name}`" for field in asked.inputs)
    given = f" The inputs are set already, as {names}." if names else ""
    wanted = f"print only {asked.outputs[0].name.replace('_', ' ')}" if direct else "print the result"
    may = "\n".join(["\nIt may call these functions, as they are:", *map(_sketch, tools)]) if tools else ""
    return (
        f"{instruction or _goal(asked)}\nWrite a short Python program that computes it, and {wanted}.{given} There are "
        f"no files, network or packages, only {_HAS}; no classes that inherit, no yield. Reply with only the code.{may}"
    )


def _callable(tool: Program, asked: Signature) -> Program:
    """The tool, if its name is free in the code. ``BadSignature``."""
    if hasattr(builtins, tool.frame) or any(field.name == tool.frame for field in asked.inputs):
        text = f"{tool.frame!r} is a tool, and an input or a function of Python"
        raise BadSignature(str(asked), text, 'Rename it: tool.named("look_up").')
    return tool


def _sketch(tool: Program) -> str:
    """How a function is called, what it gives, and what it does where that is said."""
    inputs, outputs = (", ".join(map(str, side)) for side in (tool.signature.inputs, tool.signature.outputs))
    said = description_of(tool).partition("\n")[0]
    return f"{tool.frame}({inputs}) -> {outputs}{f'  # {said}' if said else ''}"

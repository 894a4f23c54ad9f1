"""Program of thought: a model writes code, a sandbox runs it, and the answer is read from what it
gives.

Code may call tools: each call ends the run, is made as an effect of its own, and the code is run
again with its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import BadSignature, CodeFailed
from lmflow.interpreter.tools import as_tools
from lmflow.library.agents.code import (
    WITHOUT,
    answered,
    callable_in,
    code_in,
    goal,
    result_of,
    sketch,
)
from lmflow.library.agents.sandbox import Answer, Cell, Fault, Sandbox, run_cells, run_python
from lmflow.library.frames import System, signed
from lmflow.library.search.samples import positive
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program, Tool
from lmflow.signatures.parsing import fit
from lmflow.signatures.signature import Field, Signature, signature_of
from lmflow.values.record import Record

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
                return (
                    outputs
                    if self.direct
                    else await self.answer(**inputs, code=codes[-1], result=outputs.result)
                )
            problems.append(problem)
        raise CodeFailed(self.name, tuple(problems), tuple(codes))

    async def _written(self, inputs: Record, codes: list[str], problems: list[str]) -> str:
        if self.mend is None or not codes:
            return code_in((await self.code(**inputs)).code)
        return code_in(
            (await self.mend(**inputs, failed_code=codes[-1], problem=problems[-1])).code
        )

    async def _ran(self, code: str, inputs: Record) -> Record:
        """What the code gives, with the tools that it calls."""
        if not self.tools:
            plainly: Record = await self.run(code=code, variables=inputs)
            return plainly
        names = tuple(tool.frame for tool in self.tools)
        answers: tuple[Answer, ...] = ()
        while True:
            found: Record = await self.run(
                cells=(Cell(code, answers),), variables=inputs, functions=names
            )
            if found.call is None:
                return found
            if len(answers) == self.calls:
                text = f"it called functions more than {self.calls} times: call fewer"
                return found | {"fault": Fault("refused", "", text)}
            answers = (*answers, await answered(self.tools, found.call))

    def _read(self, found: Mapping[str, Any]) -> tuple[Record, str]:
        """The result of a run, or the one output where the answer is direct; or what is wrong with
        it.
        """
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
    """The signature's outputs from the result of code that a model writes for its inputs, run in a
    sandbox.

    Cost: at most ``tries`` runs of code and ``tries + 1`` calls, ``tries`` where the answer is
    ``direct``; where the first code runs, 2 calls and 1. Code that fails, or prints and gives
    nothing, is asked for again with the line that failed, ``tries`` times in all; then
    ``CodeFailed``. The inputs are variables of the code, as JSON values. What it printed, and the
    value of its last line where that is an expression, is the result, from which a last step
    answers. With ``direct`` there is no such step: the value (else the last line printed) is the
    one output, and what doesn't fit its type is mended like an error (``BadSignature`` where there
    are several).

    The code may call ``tools``, typed functions or named programs, with their inputs as arguments,
    at most ``calls`` times a run; each call is an effect of its own, and the code is run again with
    its answer: at most ``tries * (calls + 1)`` runs then. What a tool failed with is raised in the
    code, which may catch it.

    Steps: ``code``, ``mend`` (where ``tries`` is more than 1), the tool ``run``, ``answer``;
    ``instruction`` says what is asked. Every run is recorded and replays without running; see
    ``Sandbox`` for its bounds.

    Chen et al. 2022, arXiv 2211.12588 (``direct``); a mending loop and a last step as DSPy's
    ``ProgramOfThought``.
    """
    asked = signature_of(signature, types)
    given = tuple(callable_in(tool, asked) for tool in as_tools(tools)) if tools else ()
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
        run_cells(sandbox, name="run") if given else run_python(sandbox, name="run"),
        predict(
            "answer",
            Signature((*asked.inputs, code, Field(name="result")), asked.outputs),
            f"{instruction or goal(asked)} The code was run: answer with its result.",
        ),
        tries,
        direct,
        given,
        positive("calls", calls) if given else 0,
    )


def _direct(found: Mapping[str, Any], output: Field) -> Any:
    value = found["value"]
    return fit(found["stdout"].strip().splitlines()[-1] if value is None else value, output.type)


def _writing(asked: Signature, instruction: str, direct: bool, tools: tuple[Program, ...]) -> str:  # noqa: FBT001
    names = ", ".join(f"`{field.name}`" for field in asked.inputs)
    given = f" The inputs are set already, as {names}." if names else ""
    wanted = (
        f"print only {asked.outputs[0].name.replace('_', ' ')}" if direct else "print the result"
    )
    may = (
        "\n".join(["\nIt may call these functions, as they are:", *map(sketch, tools)])
        if tools
        else ""
    )
    return (
        f"{instruction or goal(asked)}\nWrite a short Python program that computes it, and {wanted}.{given} {WITHOUT} "
        f"Reply with only the code.{may}"
    )

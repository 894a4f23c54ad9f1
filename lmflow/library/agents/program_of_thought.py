"""Program of thought: a model writes code, a sandbox runs it, a step answers from the result.

Code may call tools: each call ends the run, is made as an effect of its own, and the code is run
again with its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors.calling import CodeFailed
from lmflow.errors.composing import BadSignature
from lmflow.interpreter.tools import as_tools
from lmflow.library.agents.code import (
    WITHOUT,
    answer_call,
    check_callable,
    code_in,
    default_goal,
    result_of,
    usage_line,
)
from lmflow.library.agents.sandbox import Answer, Cell, Fault, Sandbox, run_cells, run_python
from lmflow.library.checks import check_positive
from lmflow.library.system import System, set_system_signature
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.programs.tool import Tool
from lmflow.signatures.declaration import signature_of
from lmflow.signatures.fields import Field
from lmflow.signatures.parsing import fit
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

_EMPTY = "it printed nothing, and its last line is no expression: print the result"
_SHOWN = 200  # characters of a result that doesn't fit


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
        signature = Signature(self.code.signature.inputs, self.answer.signature.outputs)
        set_system_signature(self, signature)

    @property
    def children(self) -> tuple[Program, ...]:
        """The steps: no ``mend`` if there is only one try, no ``answer`` if that is direct."""
        mend = () if self.mend is None else (self.mend,)
        answer = () if self.direct else (self.answer,)
        return (self.code, *mend, self.run, *self.tools, *answer)

    async def body(self, inputs: Record) -> Record:
        """Write code until a run gives a result, then answer from it."""
        codes: list[str] = []
        problems: list[str] = []
        while len(codes) < self.tries:
            codes.append(await self._write(inputs, codes, problems))
            outputs, problem = self._read(await self._run(codes[-1], inputs))
            if problem:
                problems.append(problem)
            elif self.direct:
                return outputs
            else:
                answer: Record = await self.answer(**inputs, code=codes[-1], result=outputs.result)
                return answer
        raise CodeFailed(self.name, tuple(problems), tuple(codes))

    async def _write(self, inputs: Record, codes: list[str], problems: list[str]) -> str:
        if self.mend is None or not codes:
            return code_in((await self.code(**inputs)).code)
        reply = await self.mend(**inputs, failed_code=codes[-1], problem=problems[-1])
        return code_in(reply.code)

    async def _run(self, code: str, inputs: Record) -> Record:
        """Run the code to its end, with the answers of the tools that it calls."""
        outcome: Record
        if not self.tools:
            outcome = await self.run(code=code, variables=inputs)
            return outcome
        names = tuple(tool.frame for tool in self.tools)
        answers: tuple[Answer, ...] = ()
        while True:
            cells = (Cell(code, answers),)
            outcome = await self.run(cells=cells, variables=inputs, functions=names)
            if outcome.call is None:
                return outcome
            if len(answers) == self.calls:
                text = f"it called functions more than {self.calls} times: call fewer"
                return outcome | {"fault": Fault("refused", "", text)}
            answers = (*answers, await answer_call(self.tools, outcome.call))

    def _read(self, outcome: Mapping[str, Any]) -> tuple[Record, str]:
        """Return the result of a run, or the one output if that is direct; or the problem."""
        if outcome["fault"] is not None:
            return Record(), str(outcome["fault"])
        result = result_of(outcome)
        if not result:
            return Record(), _EMPTY
        if not self.direct:
            return Record(result=result), ""
        (output,) = self.signature.outputs
        try:
            return Record({output.name: _direct_output(outcome, output)}), ""
        except ValueError as problem:
            return Record(), f"the result is {result[:_SHOWN]!r}: {problem}"


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
    """Make a program that answers from the result of code that a model writes for its inputs.

    Cost: at most ``tries`` runs of code and ``tries + 1`` calls, ``tries`` if the answer is
    ``direct``; if the first code runs, 2 calls and 1. With tools at most ``tries * (calls + 1)``
    runs, since each call of a tool is an effect of its own and the code is run again with its
    answer.

    Code that fails, or prints and gives nothing, is written again with the line that failed, up to
    ``tries`` times in all. The inputs are variables of the code, as JSON values. The result is what
    the code printed and the value of its last line if that is an expression; a last step answers
    from it. The error of a tool is raised in the code, which may catch it.

    Steps: ``code``, ``mend`` (if ``tries`` is more than 1), the tool ``run``, ``answer``. Every run
    is recorded and replays without running; see ``Sandbox`` for its bounds.

    Args:
        signature: The inputs and outputs.
        instruction: What to find; by default the outputs.
        tries: How often code is written at most, at least 1.
        direct: Whether the value (else the last line printed) is the one output, without a last
            step; what doesn't fit its type is mended like an error.
        tools: Typed functions or named programs that the code may call.
        calls: The most calls of tools in a run, at least 1.
        sandbox: The bounds of a run.
        name: The name of the program.
        types: Types that the text of the signature names.

    Returns:
        The program. Running it raises ``CodeFailed`` if no code gives a result, and
        ``SandboxUnavailable`` without the extra ``code``.

    Raises:
        BadSignature: ``direct`` with several outputs, or a tool whose name isn't free in the code.
        ValueError: A number is less than 1.

    Chen et al. 2022, arXiv 2211.12588 (``direct``); a mending loop and a last step as DSPy's
    ``ProgramOfThought``.
    """
    task = signature_of(signature, types)
    callables = tuple(check_callable(tool, task) for tool in as_tools(tools)) if tools else ()
    if direct and len(task.outputs) != 1:
        fix = "Give it one output, or leave direct=True out."
        raise BadSignature(str(task), "a direct answer is one value", fix)
    code, failed_code, problem = (Field(name=name) for name in ("code", "failed_code", "problem"))
    writing = _writing_instruction(task, instruction, direct, callables)
    mend = predict(
        "mend",
        Signature((*task.inputs, failed_code, problem), (code,)),
        f"{writing}\nThe code below failed: write it again, whole, without that.",
    )
    return ProgramOfThought(
        name,
        predict("code", Signature(task.inputs, (code,)), writing),
        mend if check_positive("tries", tries) > 1 else None,
        run_cells(sandbox, name="run") if callables else run_python(sandbox, name="run"),
        predict(
            "answer",
            Signature((*task.inputs, code, Field(name="result")), task.outputs),
            f"{instruction or default_goal(task)} The code was run: answer with its result.",
        ),
        tries,
        direct,
        callables,
        check_positive("calls", calls) if callables else 0,
    )


def _direct_output(outcome: Mapping[str, Any], output: Field) -> Any:
    value = outcome["value"]
    if value is None:
        value = outcome["stdout"].strip().splitlines()[-1]
    return fit(value, output.type)


def _writing_instruction(
    task: Signature,
    instruction: str,
    direct: bool,  # noqa: FBT001
    tools: tuple[Program, ...],
) -> str:
    names = ", ".join(f"`{field.name}`" for field in task.inputs)
    inputs = f" The inputs are set already, as {names}." if names else ""
    end = f"print only {task.outputs[0].name.replace('_', ' ')}" if direct else "print the result"
    how = f"Write a short Python program that computes it, and {end}.{inputs} {WITHOUT}"
    lines = [instruction or default_goal(task), f"{how} Reply with only the code."]
    if tools:
        lines += ["It may call these functions, as they are:", *map(usage_line, tools)]
    return "\n".join(lines)

"""Recursive language models: a model reads long inputs by code and asks models about parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.adapters.base import text_for_model
from lmflow.adapters.truncation import Cut
from lmflow.errors.calling import CallError
from lmflow.errors.composing import BadSignature
from lmflow.interpreter.tools import as_tools
from lmflow.library.agents.code import (
    WITHOUT,
    answer_call,
    call_inputs,
    check_callable,
    code_in,
    default_goal,
    result_of,
    usage_line,
)
from lmflow.library.agents.sandbox import (
    Answer,
    Cell,
    HostCall,
    Sandbox,
    file_of,
    loaded,
    run_cells,
)
from lmflow.library.checks import check_positive
from lmflow.library.search.sampling import Attempt, Tried, successes
from lmflow.library.system import System, set_system_signature
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program, pending_of
from lmflow.programs.tool import Tool
from lmflow.signatures.declaration import parse_signature, signature_of
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, plain

_ASK, _BATCH, _SUBMIT = "llm_query", "llm_query_batched", "SUBMIT"
ROOM = Sandbox(seconds=5, memory=256 * 1024 * 1024, output=200_000)
"""The bounds of each piece of code by default: parts of long inputs go out of it, in prompts."""

_BEGINNING = Cut(500)  # what is shown of an input before any code has read it
_LARGE = 2000  # characters
_LOST = frozenset({"time", "memory", "crash"})
_PROMPTS = parse_signature("prompts: list[str] -> replies: list[str]")


@attrs.frozen
class PieceOutcome:
    """The outcome of a piece of code.

    ``shown`` is what the model is shown of it, ``calls_left`` how many calls it may still make,
    ``cell`` what the piece adds to the session, ``outputs`` what it submitted.
    """

    shown: str
    calls_left: int
    cell: Cell | None = None
    outputs: Record | None = None


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Rlm(System):
    """Pieces of code in one session until one submits the outputs; see ``rlm``."""

    inputs: tuple[Field, ...]
    code: Predict
    run: Tool
    query: Predict
    tools: tuple[Program, ...]
    answer: Predict
    most_steps: int
    calls: int
    view: Cut

    def __attrs_post_init__(self) -> None:
        set_system_signature(self, Signature(self.inputs, self.answer.signature.outputs))

    @property
    def identity(self) -> Any:
        """The class name, the name, the signature, the children and the bounds."""
        bounds = [self.most_steps, self.calls, plain(self.view)]
        children = [part.identity for part in self.children]
        return ["Rlm", self.name, self.signature.identity, children, bounds]

    async def body(self, inputs: Record) -> Record:
        """Write pieces of code until one submits the outputs, else answer from what they gave."""
        values = {name: loaded(value) for name, value in inputs.items()}
        descriptions = [_describe(field, values[field.name]) for field in self.inputs]
        described = "\n".join(descriptions)
        variables = {name: _variable(value) for name, value in values.items()}
        cells: tuple[Cell, ...] = ()
        history, calls_left = "", self.calls
        for number in range(1, self.most_steps + 1):
            state = f"step {number} of {self.most_steps}, {calls_left} calls left"
            reply = (await self.code(variables=described, history=history, state=state)).code
            progress = await self._run(cells, Cell(code_in(reply)), variables, calls_left)
            if progress.outputs is not None:
                return progress.outputs
            if progress.cell is not None:
                cells = (*cells, progress.cell)
            calls_left = progress.calls_left
            history += f"Step {number}\n{reply.strip()}\n-> {self.view.text(progress.shown)}\n"
        outputs: Record = await self.answer(variables=described, history=history)
        return outputs

    async def _run(
        self, before: tuple[Cell, ...], cell: Cell, variables: Mapping[str, Any], calls_left: int
    ) -> PieceOutcome:
        """Run a piece of code to its end after those before, with the answers of its calls.

        A call that can't be made ends the piece, in this run and in all later ones.
        """
        functions = (_ASK, _BATCH, _SUBMIT, *(tool.frame for tool in self.tools))
        while True:
            outcome: Record = await self.run(
                cells=(*before, cell), variables=variables, functions=functions
            )
            call: HostCall | None = outcome.call
            if call is None:
                lost = outcome.fault is not None and outcome.fault.kind in _LOST
                shown = _view_text(outcome, outcome.fault, lost=lost)
                return PieceOutcome(shown, calls_left, None if lost else cell)
            submitted, problem = self._submitted(call)
            if submitted is not None:
                return PieceOutcome("", calls_left, outputs=submitted)
            cost = _cost(call)
            if not problem and cost > calls_left:
                problem = f"{call.name}: {calls_left} calls are left, this takes {cost}"
            if problem:
                ended = attrs.evolve(cell, over=problem)
                return PieceOutcome(_view_text(outcome, problem), calls_left, ended)
            cell = attrs.evolve(cell, answers=(*cell.answers, await self._answer(call)))
            calls_left -= cost

    def _submitted(self, call: HostCall) -> tuple[Record | None, str]:
        """Return the outputs that a call submits, or the problem with them; neither of others."""
        if call.name != _SUBMIT:
            return None, ""
        outputs = Signature(self.signature.outputs, (Field(name="done"),))
        try:
            return call_inputs(outputs, call), ""
        except ValueError as wrong:
            return None, f"{_SUBMIT}: {wrong}"

    async def _answer(self, call: HostCall) -> Answer:
        """Return what a function gives: for a batch a reply to each prompt, ``None`` if it failed.

        A batch of which every prompt failed is an error.
        """
        if call.name != _BATCH:
            return await answer_call((self.query, *self.tools), call)
        try:
            prompts = call_inputs(_PROMPTS, call).prompts
            tried = Tried(self.query)
            pendings = tuple(pending_of(tried, Record(prompt=prompt)) for prompt in prompts)
            attempts = await Fork(pendings, name=_BATCH) if pendings else ()
            _ = successes(attempts)
        except (CallError, ValueError) as problem:
            return Answer(error=str(problem))
        return Answer(tuple(map(_reply_or_none, attempts)))


def rlm(  # noqa: PLR0913 - each is a choice of its own
    signature: str | Signature,
    instruction: str = "",
    *,
    steps: int = 20,
    calls: int = 50,
    longest: int = 4000,
    tools: Sequence[Program | Callable[..., Any]] = (),
    model: str = "",
    sandbox: Sandbox | None = None,
    name: str = "rlm",
    types: Mapping[str, Any] | None = None,
) -> Rlm:
    """Make a program that answers from inputs of any length, which a model reads by code.

    In one Python session the inputs are variables. In each step the model writes a piece of code
    and sees what that printed and gave; names stay set. The code may ask a model about parts, by
    ``llm_query(prompt)`` or ``llm_query_batched(prompts)``, side by side; call ``tools`` (another
    ``rlm``, too); and ``SUBMIT`` the outputs, which ends it. If no step does, a last one answers
    from what was seen.

    Cost: at most ``steps + calls + 1`` calls of models and ``steps + calls`` runs, and one more
    call if the last answer can't be read. A call ends the run, is made as an effect of its own, and
    the session is run again with its answer. A batch takes as many ``calls`` as it has prompts, a
    tool one, whatever it calls itself. The model is told what can't be done: errors, outputs of
    another type, no more calls. Code that breaks the bounds of time or memory leaves nothing in the
    session.

    Steps: ``code``, ``llm_query``, the tool ``run``, ``answer``. Long inputs are stored once. A
    prompt has at most as many characters as the sandbox's ``output``.

    Args:
        signature: The inputs and outputs.
        instruction: What to find; by default the outputs.
        steps: The most pieces of code, at least 1.
        calls: The most calls of models and tools by code, at least 1.
        longest: The most characters that the model sees of what a piece printed and gave.
        tools: Typed functions or named programs that the code may call.
        model: The default model of ``llm_query``, which may be smaller than that of ``code``.
        sandbox: The bounds of each piece of code.
        name: The name of the program.
        types: Types that the text of the signature names.

    Returns:
        The program. Running it raises ``SandboxUnavailable`` without the extra ``code``.

    Raises:
        BadSignature: A name of an input or tool isn't free in the session, or an output can't be
            submitted by code.
        ValueError: A number is less than 1.

    Zhang et al. 2025, arXiv 2512.24601; a last answer and typed outputs as DSPy's ``RLM``.
    """
    task = signature_of(signature, types)
    callables = tuple(check_callable(tool, task) for tool in as_tools(tools)) if tools else ()
    _check_task(task, callables)
    variables, history, state = (Field(name=name) for name in ("variables", "history", "state"))
    query = predict(
        _ASK,
        "prompt -> reply",
        "Do what the prompt says. Reply with the result alone.",
        model=model,
    )
    return Rlm(
        name,
        task.inputs,
        predict(
            "code",
            Signature((variables, history, state), (Field(name="code"),)),
            _writing_instruction(task, instruction, longest, callables),
        ),
        run_cells(sandbox or ROOM, name="run"),
        query,
        callables,
        predict(
            "answer",
            Signature((variables, history), task.outputs),
            f"{instruction or default_goal(task)} Answer from what the steps found.",
        ),
        check_positive("steps", steps),
        check_positive("calls", calls),
        Cut(longest, "both"),
    )


def _check_task(task: Signature, tools: tuple[Program, ...]) -> None:
    names = [*(field.name for field in task.inputs), *(tool.frame for tool in tools)]
    for function in (_ASK, _BATCH, _SUBMIT):
        if function in names:
            problem = f"{function!r} is a function of the session"
            raise BadSignature(str(task), problem, "Rename the input or the tool.")
    if task.for_model is not task:
        problem = "code can't submit what a reply carries beside its text"
        raise BadSignature(str(task), problem, "Leave that output out.")


def _writing_instruction(
    task: Signature, instruction: str, longest: int, tools: tuple[Program, ...]
) -> str:
    submitted = ", ".join(map(str, task.outputs))
    how = (
        "Work in a Python session, one short piece of code a reply. The inputs are set already, as "
        "the variables listed; of long ones you see only the beginning, so look into them by code: "
        "slice, search, count, split. Names stay set from piece to piece. You see next what a "
        "piece printed and the value of its last line, at most "
        f"{longest:,} characters of it. {WITHOUT}\nThe code may call these functions, as they are:"
    )
    ask = "asks a model that sees nothing but the prompt: put the text to be read into it"
    batch = "the same side by side: for many parts"
    submit = "gives the answer and ends: only after you have seen what you submit"
    functions = [
        f"{_ASK}(prompt) -> reply  # {ask}",
        f"{_BATCH}(prompts: list[str]) -> replies: list[str]  # {batch}",
        *map(usage_line, tools),
        f"{_SUBMIT}({submitted})  # {submit}",
    ]
    goal = instruction or default_goal(task)
    return "\n".join([goal, how, *functions, "Reply with only the code."])


def _reply_or_none(attempt: Attempt) -> str | None:
    return None if attempt.outputs is None else attempt.outputs.reply


def _variable(value: Any) -> Any:
    """Return the value that the session's variable is recorded as: a file of its own if large."""
    return file_of(value) if len(text_for_model(value)) > _LARGE else value


def _describe(field: Field, value: Any) -> str:
    """Describe an input that no code has read: its type, its size and how it begins."""
    text = text_for_model(value)
    items = f"{len(value):,} items, " if isinstance(value, (list, tuple)) else ""
    return f"{field} ({items}{len(text):,} characters)\n{_BEGINNING.text(text)}"


def _view_text(outcome: Mapping[str, Any], problem: object = "", *, lost: bool = False) -> str:
    """Return what a model is shown of a run: what it printed and gave, and the problem."""
    parts = [result_of(outcome)]
    if problem:
        note = " (nothing of this piece stays set)" if lost else ""
        parts.append(f"Error: {problem}{note}")
    text = "\n".join(filter(None, parts))
    return text or "(it printed nothing, and its last line is no expression)"


def _cost(call: HostCall) -> int:
    """Return how many calls a call counts as: a batch as many as it has prompts, at least 1."""
    arguments = (*call.args, *call.named.values())
    if call.name == _BATCH and arguments and isinstance(arguments[0], tuple):
        return max(1, len(arguments[0]))
    return 1

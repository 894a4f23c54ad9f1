"""Recursive language models: a model reads by code what is too long for it, and asks models about
parts of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.adapters.base import shown
from lmflow.adapters.truncation import Cut
from lmflow.errors import BadSignature, CallError
from lmflow.interpreter.tools import as_tools
from lmflow.library.agents.code import (
    WITHOUT,
    answered,
    arguments,
    callable_in,
    code_in,
    goal,
    result_of,
    sketch,
)
from lmflow.library.agents.sandbox import (
    Answer,
    Cell,
    HostCall,
    Sandbox,
    kept_apart,
    read_in,
    run_cells,
)
from lmflow.library.frames import System, signed
from lmflow.library.search.samples import Tried, outputs_of, positive
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program, Tool, take
from lmflow.signatures.signature import Field, Signature, parse, signature_of
from lmflow.values.record import Record, plain

ASK, BATCH, SUBMIT = "llm_query", "llm_query_batched", "SUBMIT"
ROOM = Sandbox(seconds=5, memory=256 * 1024 * 1024, output=200_000)
"""The bounds of each piece of code: parts of long inputs go out of it, in prompts."""

_BEGINNING = Cut(500)  # what is shown of an input before any code has looked at it
_LARGE = 2000  # characters
_LOST = frozenset({"time", "memory", "crash"})
_PROMPTS = parse("prompts: list[str] -> replies: list[str]")


@attrs.frozen
class Ran:
    """What came of a piece of code: what is seen of it, the outputs if it submitted some, what it
    adds to the session, and how many calls are left.
    """

    seen: str
    left: int
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
    most: int
    calls: int
    view: Cut

    def __attrs_post_init__(self) -> None:
        signed(self, Signature(self.inputs, self.answer.signature.outputs))

    @property
    def identity(self) -> Any:
        """All that it is made of."""
        bounds = [self.most, self.calls, plain(self.view)]
        return [
            "Rlm",
            self.name,
            self.signature.identity,
            [part.identity for part in self.children],
            bounds,
        ]

    @property
    def _submitted(self) -> Signature:
        """What ``SUBMIT`` takes."""
        return Signature(self.signature.outputs, (Field(name="done"),))

    async def body(self, inputs: Record) -> Record:
        """Pieces of code, each written with what those before gave; where none submits, an answer
        from what is seen.
        """
        values = {name: read_in(value) for name, value in inputs.items()}
        told = "\n".join(_told(field, values[field.name]) for field in self.inputs)
        variables = {
            name: kept_apart(value) if len(shown(value)) > _LARGE else value
            for name, value in values.items()
        }
        cells: tuple[Cell, ...] = ()
        history, left = "", self.calls
        for number in range(1, self.most + 1):
            state = f"step {number} of {self.most}, {left} calls left"
            reply = (await self.code(variables=told, history=history, state=state)).code
            ran = await self._ran(cells, Cell(code_in(reply)), variables, left)
            if ran.outputs is not None:
                return ran.outputs
            cells, left = (*cells, *([ran.cell] if ran.cell else [])), ran.left
            history += f"Step {number}\n{reply.strip()}\n-> {self.view.text(ran.seen)}\n"
        found: Record = await self.answer(variables=told, history=history)
        return found

    async def _ran(
        self, before: tuple[Cell, ...], cell: Cell, variables: Mapping[str, Any], left: int
    ) -> Ran:
        """What a piece of code comes to after those before. A call that can't be made ends it, then
        and ever after.
        """
        functions = (ASK, BATCH, SUBMIT, *(tool.frame for tool in self.tools))
        while True:
            found: Record = await self.run(
                cells=(*before, cell), variables=variables, functions=functions
            )
            call: HostCall | None = found.call
            if call is None:
                lost = found.fault is not None and found.fault.kind in _LOST
                return Ran(_seen(found, found.fault, lost=lost), left, None if lost else cell)
            cost = _cost(call)
            if call.name == SUBMIT:
                try:
                    return Ran("", left, outputs=arguments(self._submitted, call))
                except ValueError as wrong:
                    problem = f"{SUBMIT}: {wrong}"
            else:
                problem = (
                    f"{call.name}: {left} calls are left, this takes {cost}" if cost > left else ""
                )
            if problem:
                return Ran(_seen(found, problem), left, attrs.evolve(cell, over=problem))
            cell, left = (
                attrs.evolve(cell, answers=(*cell.answers, await self._answered(call))),
                left - cost,
            )

    async def _answered(self, call: HostCall) -> Answer:
        """What a function gives; of a batch a reply for each prompt, ``None`` where there was none,
        if any had one.
        """
        if call.name != BATCH:
            return await answered((self.query, *self.tools), call)
        try:
            prompts = arguments(_PROMPTS, call).prompts
            asked = tuple(take(Tried(self.query), Record(prompt=prompt)) for prompt in prompts)
            attempts = await Fork(asked, name=BATCH) if asked else ()
            _ = outputs_of(attempts)
        except (CallError, ValueError) as problem:
            return Answer(error=str(problem))
        return Answer(tuple(None if it.outputs is None else it.outputs.reply for it in attempts))


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
    """The signature's outputs from inputs that are too long to be read: a model looks into them by
    code.

    The inputs are variables of a Python session in a sandbox, of which the model is told the types,
    the sizes and the beginnings. It writes a piece of code a step and sees what that printed and
    gave, at most ``longest`` characters of it; names stay set. The code may ask a model about
    parts, by ``llm_query(prompt)`` or ``llm_query_batched(prompts)``, side by side; call ``tools``,
    typed functions or named programs (another ``rlm``, too); and ``SUBMIT`` the outputs, which ends
    it. Where no step does, a last one answers from what was seen.

    Cost: at most ``steps + calls + 1`` calls of models and ``steps + calls`` runs, and one more
    call where the last answer can't be read. A call ends the run, is made as an effect of its own,
    and the session is run again with its answer. A batch takes as many ``calls`` as it has prompts,
    a tool one, whatever it calls itself. What can't be done is told to the model: errors, outputs
    of another type, no more calls. Code that breaks the bounds of time or memory leaves nothing in
    the session.

    Steps: ``code``, ``llm_query`` (``model`` is its default model, which may be smaller than that
    of ``code``), the tool ``run``, ``answer``. Long inputs are kept once in the store. ``ROOM`` are
    the sandbox's bounds by default; a prompt has at most its ``output`` characters.

    Zhang et al. 2025, arXiv 2512.24601; a last answer and typed outputs as DSPy's ``RLM``.
    """
    asked = signature_of(signature, types)
    given = tuple(callable_in(tool, asked) for tool in as_tools(tools)) if tools else ()
    for taken in (ASK, BATCH, SUBMIT):
        if taken in [*(field.name for field in asked.inputs), *(tool.frame for tool in given)]:
            raise BadSignature(
                str(asked),
                f"{taken!r} is a function of the session",
                "Rename the input or the tool.",
            )
    if asked.asked is not asked:
        raise BadSignature(
            str(asked),
            "code can't submit what a reply carries beside its text",
            "Leave that output out.",
        )
    variables, history, state = (Field(name=name) for name in ("variables", "history", "state"))
    query = predict(
        ASK, "prompt -> reply", "Do what the prompt says. Reply with the result alone.", model=model
    )
    return Rlm(
        name,
        asked.inputs,
        predict(
            "code",
            Signature((variables, history, state), (Field(name="code"),)),
            _writing(asked, instruction, longest, given),
        ),
        run_cells(sandbox or ROOM, name="run"),
        query,
        given,
        predict(
            "answer",
            Signature((variables, history), asked.outputs),
            f"{instruction or goal(asked)} Answer from what the steps found.",
        ),
        positive("steps", steps),
        positive("calls", calls),
        Cut(longest, "both"),
    )


def _writing(asked: Signature, instruction: str, longest: int, tools: tuple[Program, ...]) -> str:
    submitted = ", ".join(map(str, asked.outputs))
    how = (
        "Work in a Python session, one short piece of code a reply. The inputs are set already, as the variables "
        "listed; of long ones you see only the beginning, so look into them by code: slice, search, count, split. "
        "Names stay set from piece to piece. You see next what a piece printed and the value of its last line, at most "
        f"{longest:,} characters of it. {WITHOUT}\nThe code may call these functions, as they are:"
    )
    functions = [
        f"{ASK}(prompt) -> reply  # asks a model that sees nothing but the prompt: put the text to be read into it",
        f"{BATCH}(prompts: list[str]) -> replies: list[str]  # the same side by side: for many parts",
        *map(sketch, tools),
        f"{SUBMIT}({submitted})  # gives the answer and ends: only after you have seen what you submit",
    ]
    return "\n".join([instruction or goal(asked), how, *functions, "Reply with only the code."])


def _told(field: Field, value: Any) -> str:
    """What is known of an input before any code has looked at it."""
    text = shown(value)
    items = f"{len(value):,} items, " if isinstance(value, (list, tuple)) else ""
    return f"{field} ({items}{len(text):,} characters)\n{_BEGINNING.text(text)}"


def _seen(found: Mapping[str, Any], problem: object = "", *, lost: bool = False) -> str:
    """What a model sees of a run: what it printed and gave, and what was wrong."""
    wrong = (
        f"Error: {problem}{' (nothing of this piece stays set)' if lost else ''}" if problem else ""
    )
    return (
        "\n".join(filter(None, (result_of(found), wrong)))
        or "(it printed nothing, and its last line is no expression)"
    )


def _cost(call: HostCall) -> int:
    """How many of the calls it takes."""
    given = (*call.args, *call.named.values())
    return (
        max(1, len(given[0])) if call.name == BATCH and given and isinstance(given[0], tuple) else 1
    )

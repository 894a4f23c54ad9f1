"""Agents: a model that calls tools step by step, then answers from what it found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import BadSignature, Unanswered, near
from lmflow.interpreter.act import TRAJECTORY, Act, act_of
from lmflow.interpreter.tools import Observation, ToolUse, Turn, arguments_of, as_tools, story, told
from lmflow.library.frames import System, signed
from lmflow.library.search.samples import Tried, fields_of, identity_of, positive
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program, take
from lmflow.signatures.signature import Field, Signature, signature_of
from lmflow.values.record import Record, plain

_STEPS, _WIDTH, _LONGEST = 8, 8, 4000
_HOW = (
    "Work towards it step by step: call tools, read what they give, and call more as needed; calls of one step run "
    "side by side. Once you know enough, call no more tools and say what you found."
)
_ANSWER = "Answer from what the steps found."


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class React(System):
    """Steps of an agent that end in an answer; see ``react``."""

    act: Act
    answer: Predict
    tools: tuple[Program, ...]
    most: int
    width: int

    def __attrs_post_init__(self) -> None:
        outputs = (*self.answer.signature.outputs, Field(name=TRAJECTORY, type=tuple[Turn, ...]))
        signed(self, Signature(self.act.task, outputs))

    @property
    def identity(self) -> Any:
        """All that it is made of; not the shape of the turns, which is no choice of its own."""
        return ["React", *(identity_of(value) for value in fields_of(self))]

    async def body(self, inputs: Record) -> Record:
        """Steps until one asks for no call, then the answer."""
        turns: tuple[Turn, ...] = ()
        while len(turns) < self.most and not (turns and turns[-1].last):
            said = await self.act(**inputs, trajectory=turns)
            seen = await self._observed(said.calls)
            turns = (*turns, Turn(said.thought, said.calls, seen, said.form, said.problem))
        if problem := _nothing(turns):
            raise Unanswered(self.name, len(turns), problem)
        text = story(turns, self.act.keep, self.act.longest)
        outputs: Record = await self.answer(**inputs, trajectory=text)
        if all(value in ("", None, ()) for value in outputs.values()):
            raise Unanswered(self.name, len(turns), "the answer is empty")
        return outputs | {TRAJECTORY: turns}

    async def _observed(self, calls: Sequence[ToolUse]) -> tuple[Observation, ...]:
        """What comes of the calls, side by side, in their order."""
        checked = [self._checked(use, place) for place, use in enumerate(calls)]
        good = {
            str(place): found
            for place, found in enumerate(checked)
            if not isinstance(found, Observation)
        }
        asked = tuple(take(Tried(tool), given) for tool, given in good.values())
        attempts = iter(await Fork(asked, keys=tuple(good), name="use") if asked else ())
        return tuple(
            found if isinstance(found, Observation) else _seen(found[0], next(attempts))
            for found in checked
        )

    def _checked(self, use: ToolUse, place: int) -> Observation | tuple[Program, Record]:
        """The tool with its inputs, or why the call isn't made."""
        known = {tool.frame: tool for tool in self.tools}
        if place >= self.width:
            return Observation(
                use.name, "too_many", text=f"at most {self.width} calls run in one step"
            )
        if use.name not in known:
            text = f"there is no tool {use.name[:80]!r}; there are {', '.join(known)}.{near(use.name[:80], known)}"
            return Observation(use.name, "unknown_tool", text=text)
        if use.problem:
            return Observation(use.name, "bad_arguments", text=use.problem)
        try:
            return known[use.name], arguments_of(known[use.name].signature, use.arguments)
        except ValueError as problem:
            return Observation(use.name, "bad_arguments", text=str(problem))


def react(  # noqa: PLR0913 - each is a choice of its own
    signature: str | Signature | Callable[..., Any],
    tools: Iterable[Program | Callable[..., Any]],
    instruction: str = "",
    *,
    max_steps: int = _STEPS,
    width: int = _WIDTH,
    keep: int | None = None,
    longest: int = _LONGEST,
    adapter: str = "",
    options: Mapping[str, Any] | None = None,
    model: str = "",
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
    name: str = "react",
) -> React:
    """An agent: a model calls tools step by step until it asks for none, then the outputs are read
    off its trajectory.

    Cost: at most ``max_steps + 1`` calls of models, the last of which is the answer, and
    ``max_steps * width`` of tools; with ``s`` steps, ``s + 1`` calls. A call more where the
    endpoint refuses functions and no ``adapter`` was chosen, and one where the answer can't be read
    and is asked for again.

    ``tools`` are tools, typed functions, or any program with a name; a function's docstring is what
    the model is told. The calls of one step, at most ``width``, run side by side. What they give,
    errors, unknown tools and arguments that don't fit come back as ``Observation``s; a reply that
    can't be read is a step with its ``problem``. The model is shown the last ``keep`` steps (all by
    default), of each observation at most ``longest`` characters, with notes of what is left out;
    the output ``trajectory`` has everything.

    ``adapter`` is ``native`` (function calling), ``chat`` or ``json`` (calls in the text of the
    reply), a parameter of the step ``act``; without one it is native, and chat once the endpoint
    refuses, which is on record: ``Turn.form``. Steps: ``act`` (instruction, demos and the tools'
    descriptions are parameters), ``answer``. ``Unanswered`` where no step brought anything or the
    answer is empty.

    Yao et al. 2022, arXiv 2210.03629.
    """
    found, sig = as_tools(tools), signature_of(signature, types)
    _check_names(sig)
    text = instruction or inspect.cleandoc(
        getattr(signature, "__doc__", "") or "" if callable(signature) else ""
    )
    task = predict("task", sig, text).instruction
    defaults: dict[str, Any] = {
        "options": Record(options or {}),
        "model": model,
        "timeout": timeout,
    }
    toolset = tuple(map(told, found))
    act = act_of(
        "act", sig.inputs, f"{task}\n\n{_HOW}", toolset, keep=None if keep is None else positive("keep", keep),
        longest=positive("longest", longest), adapter=adapter, **defaults,
    )  # fmt: skip
    asked = Signature(
        (Field(name=TRAJECTORY), *sig.inputs), sig.outputs
    )  # the question last, nearest to its answer
    answer = predict("answer", asked, f"{task}\n\n{_ANSWER}", **defaults)
    return React(
        name, act, answer, found, positive("max_steps", max_steps), positive("width", width)
    )


def _check_names(signature: Signature) -> None:
    if TRAJECTORY in {field.name for field in (*signature.inputs, *signature.outputs)}:
        raise BadSignature(
            str(signature), f"an agent's own output is named {TRAJECTORY!r}", "Rename the field."
        )


def _seen(tool: Program, attempt: Any) -> Observation:
    if attempt.outputs is None:
        return Observation(tool.frame, "failed", text=str(attempt.error))
    outputs = plain(attempt.outputs, kept=True)
    return Observation(
        tool.frame, "result", next(iter(outputs.values())) if len(outputs) == 1 else outputs
    )


def _nothing(turns: Sequence[Turn]) -> str:
    """Why an agent has nothing to answer from; empty where a tool gave something, or the model
    ended with words.
    """
    end = turns[-1]
    if (end.last and end.thought) or any(
        seen.kind == "result" for turn in turns for seen in turn.observations
    ):
        return ""
    problem = end.problem or (
        end.observations[-1].text if end.observations else "the reply is empty"
    )
    return f"no tool gave anything; the last step: {problem}".rstrip(".")

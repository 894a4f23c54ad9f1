"""Agents: a model calls tools step by step, then answers from what they gave."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors.calling import Unanswered
from lmflow.errors.composing import BadSignature
from lmflow.errors.options import AGENT_OPTIONS, explains_options
from lmflow.errors.words import near
from lmflow.interpreter.act import TRAJECTORY, Act, act_of
from lmflow.interpreter.tools import (
    Observation,
    ToolUse,
    Turn,
    arguments_of,
    as_tools,
    describe_tool,
    trajectory_text,
)
from lmflow.library.checks import check_positive
from lmflow.library.composed import field_values, identity_of
from lmflow.library.search.sampling import Attempt, Tried
from lmflow.library.system import System, set_system_signature
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program, pending_of
from lmflow.signatures.declaration import signature_of
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, plain

_STEPS, _WIDTH, _LONGEST = 8, 8, 4000
_NAME_SHOWN = 80
_HOW = (
    "Work towards it step by step: call tools, read what they give, and call more as needed; calls "
    "of one step run side by side. Once you know enough, call no more tools and say what you found."
)
_ANSWER = "Answer from what the steps found."


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class React(System):
    """Steps of an agent that end in an answer; see ``react``."""

    act: Act
    answer: Predict
    tools: tuple[Program, ...]
    most_steps: int
    width: int

    def __attrs_post_init__(self) -> None:
        outputs = (*self.answer.signature.outputs, Field(name=TRAJECTORY, type=tuple[Turn, ...]))
        set_system_signature(self, Signature(self.act.task, outputs))

    @property
    def identity(self) -> Any:
        """The class name and the fields; not the signature, which the fields imply."""
        return ["React", *map(identity_of, field_values(self))]

    async def body(self, inputs: Record) -> Record:
        """Take steps until one calls no tool, then answer."""
        turns: tuple[Turn, ...] = ()
        while len(turns) < self.most_steps and not (turns and turns[-1].last):
            step = await self.act(**inputs, trajectory=turns)
            observations = await self._observe(step.calls)
            turn = Turn(step.thought, step.calls, observations, step.form, step.problem)
            turns = (*turns, turn)
        if problem := _nothing_found(turns):
            raise Unanswered(self.name, len(turns), problem)
        text = trajectory_text(turns, self.act.keep, self.act.longest)
        outputs: Record = await self.answer(**inputs, trajectory=text)
        if all(value in ("", None, ()) for value in outputs.values()):
            raise Unanswered(self.name, len(turns), "the answer is empty")
        return outputs | {TRAJECTORY: turns}

    async def _observe(self, calls: Sequence[ToolUse]) -> tuple[Observation, ...]:
        """Run the calls of a step side by side; return what came of each, in order."""
        checked = [self._check(use, place) for place, use in enumerate(calls)]
        runnable = {
            str(place): call
            for place, call in enumerate(checked)
            if not isinstance(call, Observation)
        }
        pendings = tuple(pending_of(Tried(tool), inputs) for tool, inputs in runnable.values())
        attempts: Sequence[Attempt] = ()
        if pendings:
            attempts = await Fork(pendings, keys=tuple(runnable), name="use")
        remaining = iter(attempts)
        observations = []
        for call in checked:
            if not isinstance(call, Observation):
                tool, _ = call
                call = _observation(tool, next(remaining))  # noqa: PLW2901 - what came of it
            observations.append(call)
        return tuple(observations)

    def _check(self, use: ToolUse, place: int) -> Observation | tuple[Program, Record]:
        """Return the tool with its inputs, or the observation that says why the call isn't made."""
        tools = {tool.frame: tool for tool in self.tools}
        if place >= self.width:
            text = f"at most {self.width} calls run in one step"
            return Observation(use.name, "too_many", text=text)
        if use.name not in tools:
            name = use.name[:_NAME_SHOWN]
            text = f"there is no tool {name!r}; there are {', '.join(tools)}.{near(name, tools)}"
            return Observation(use.name, "unknown_tool", text=text)
        if use.problem:
            return Observation(use.name, "bad_arguments", text=use.problem)
        try:
            return tools[use.name], arguments_of(tools[use.name].signature, use.arguments)
        except ValueError as problem:
            return Observation(use.name, "bad_arguments", text=str(problem))


@explains_options(AGENT_OPTIONS)
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
    """Make an agent: a model calls tools step by step, then answers from its trajectory.

    Cost: at most ``max_steps + 1`` calls of models, the last of which is the answer, and
    ``max_steps * width`` of tools; with ``s`` steps, ``s + 1`` calls. A call more if the endpoint
    refuses functions and no ``adapter`` was chosen, and one if the answer can't be read and is
    asked for again.

    What tools give, their errors, unknown tools and arguments that don't fit come back as
    ``Observation``s; a reply that can't be read is a step with its ``problem``. Without an
    ``adapter`` a step is native, and chat once the endpoint refuses functions, which is on record:
    ``Turn.form``. Steps: ``act`` (instruction, demos and the tools' descriptions are parameters),
    ``answer``.

    Args:
        signature: The inputs and outputs, as text or as a typed stub.
        tools: Tools, typed functions, or any program with a name; a function's docstring is what
            the model is told.
        instruction: What to do; by default the stub's docstring.
        max_steps: The most steps, at least 1.
        width: The most calls that run in a step, side by side, at least 1.
        keep: How many steps the model is shown, the last ones; by default all. The output
            ``trajectory`` has everything.
        longest: The most characters that are shown of an observation, at least 1.
        adapter: ``native`` (function calling), ``chat`` or ``json`` (calls in the text of the
            reply); a parameter of the step ``act``.
        options: Decoding options of both steps.
        model: The default model of both steps.
        timeout: Seconds a call of both steps.
        types: Types that the text of the signature names.
        name: The name of the program.

    Returns:
        The program, with the further output ``trajectory``. Running it raises ``Unanswered`` if no
        step brought anything or the answer is empty.

    Raises:
        BadSignature: A field is named ``trajectory``, or a tool can't be offered.
        ValueError: A number is less than 1.

    Yao et al. 2022, arXiv 2210.03629.
    """
    programs, task = as_tools(tools), signature_of(signature, types)
    _check_names(task)
    goal = predict("task", task, instruction or _documentation(signature)).instruction
    defaults: dict[str, Any] = {
        "options": Record(options or {}),
        "model": model,
        "timeout": timeout,
    }
    act = act_of(
        "act",
        task.inputs,
        f"{goal}\n\n{_HOW}",
        tuple(map(describe_tool, programs)),
        keep=None if keep is None else check_positive("keep", keep),
        longest=check_positive("longest", longest),
        adapter=adapter,
        **defaults,
    )
    # The task's inputs come last, so that the question is nearest to its answer.
    reading = Signature((Field(name=TRAJECTORY), *task.inputs), task.outputs)
    answer = predict("answer", reading, f"{goal}\n\n{_ANSWER}", **defaults)
    max_steps, width = check_positive("max_steps", max_steps), check_positive("width", width)
    return React(name, act, answer, programs, max_steps, width)


def _documentation(signature: object) -> str:
    return inspect.cleandoc(getattr(signature, "__doc__", "") or "") if callable(signature) else ""


def _check_names(signature: Signature) -> None:
    if TRAJECTORY in {field.name for field in (*signature.inputs, *signature.outputs)}:
        problem = f"an agent's own output is named {TRAJECTORY!r}"
        raise BadSignature(str(signature), problem, "Rename the field.")


def _observation(tool: Program, attempt: Attempt) -> Observation:
    if attempt.outputs is None:
        return Observation(tool.frame, "failed", text=str(attempt.error))
    outputs = plain(attempt.outputs, kept=True)
    value = next(iter(outputs.values())) if len(outputs) == 1 else outputs
    return Observation(tool.frame, "result", value)


def _nothing_found(turns: Sequence[Turn]) -> str:
    """Say why an agent has nothing to answer from; empty if a tool gave something or it ended."""
    last = turns[-1]
    observations = (each for turn in turns for each in turn.observations)
    if (last.last and last.thought) or any(each.kind == "result" for each in observations):
        return ""
    reason = last.observations[-1].text if last.observations else "the reply is empty"
    return f"no tool gave anything; the last step: {last.problem or reason}".rstrip(".")

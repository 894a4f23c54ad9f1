"""Binds spans of other systems to the steps of a program; nothing is guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.adapters.registry import ADAPTERS
from lmflow.errors import LmflowError
from lmflow.interpreter.predict import Unreadable, predict_messages, read_outputs
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.environment import Env
from lmflow.programs.program import Predict, Program
from lmflow.telemetry.foreign import ForeignTrace
from lmflow.telemetry.foreign_calls import ForeignCall
from lmflow.telemetry.inputs import marked_values
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.rules import Rule, Take
from lmflow.values.json_text import parse
from lmflow.values.record import Record

_PATH = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_VARIABLES = ("gen_ai.prompt.variable.", "prompt.variable.")
_TEMPLATE = "llm.prompt_template.variables"


@attrs.frozen
class Binding:
    """How spans are bound to the steps of a program.

    Args:
        program: The program.
        target: The program as ``module:program``.
        rules: Which spans are of which step; the first that holds counts.
        takes: Where values stand that no prompt shows.
    """

    program: Program
    target: str = ""
    rules: tuple[Rule, ...] = ()
    takes: tuple[Take, ...] = ()


@attrs.frozen
class BoundStep:
    """A span as the execution of a step, with the inputs and outputs that were found."""

    step: str
    address: str
    span: str
    inputs: Record
    outputs: Record


@attrs.frozen
class Bound:
    """The steps that were bound, and why others were not: the numbers of spans by reason.

    ``inputs`` and ``outputs`` are those of the whole program, ``None`` if they don't fit it.
    """

    steps: tuple[BoundStep, ...] = ()
    reasons: Mapping[str, int] = attrs.field(factory=dict)
    inputs: Record | None = None
    outputs: Record | None = None

    @property
    def is_whole(self) -> bool:
        """``True`` if the inputs and outputs are those of the program."""
        return self.inputs is not None and self.outputs is not None


def bind(foreign: ForeignTrace, binding: Binding) -> Bound:
    """Bind the spans of a foreign trace; what can't be bound is counted, by the reason."""
    calls = {call.span: call for call in foreign.calls}
    steps: list[BoundStep] = []
    reasons: Counter[str] = Counter()
    for span in foreign.spans:
        step = next((each.step for each in binding.rules if each.holds(span)), "")
        if not step:
            reasons["no rule names them"] += span.id in calls
            continue
        found = _bind_span(span, calls.get(span.id), step, binding)
        if isinstance(found, BoundStep):
            steps.append(found)
        else:
            reasons[found] += 1
    inputs = _fitting(binding.program, foreign.inputs)
    outputs = _outputs(binding.program, foreign.outputs)
    counted = {reason: count for reason, count in reasons.items() if count}
    return Bound(tuple(steps), counted, inputs, outputs)


def _bind_span(
    span: RawSpan, call: ForeignCall | None, step: str, binding: Binding
) -> BoundStep | str:
    """Bind a span to a step, or return why it can't be."""
    if call is not None and call.problem:
        return f"truncated or unreadable: {call.problem}"
    if span.dropped:
        return "truncated or unreadable: attributes were left out"
    if span.error:
        return "they failed"
    predictor = binding.program.predictors[step]
    taken = dict(_taken(span, call, step, binding))
    inputs = _inputs(span, call, _Own(predictor, _own_env(binding.program, step)), taken)
    if inputs is None:
        return f"their inputs of {step} can't be recovered"
    outputs = _step_outputs(call, predictor, taken)
    if outputs is None:
        return f"their outputs of {step} can't be read"
    address = call.address.rpartition("/")[0] if call is not None else f"{step}[{span.id}]"
    return BoundStep(step, address, span.id, inputs, outputs)


def _taken(
    span: RawSpan, call: ForeignCall | None, step: str, binding: Binding
) -> Iterator[tuple[str, Any]]:
    """Yield the fields whose places are named, with their values."""
    facts = {
        "input": _decoded(span.attributes.get("input.value")),
        "output": _decoded(span.attributes.get("output.value")),
        "attributes": span.attributes,
        "reply": getattr(call.outcome, "text", None) if call is not None else None,
    }
    for each in binding.takes:
        found = _at(facts, each.path) if each.step == step else None
        if found is not None:
            yield each.field, found


def _at(facts: Any, path: str) -> Any:
    """Return the value at a path, ``None`` if there is none; a key may hold dots."""
    root, _, rest = path.partition(".")
    value = facts
    if root == "attributes":
        key = max((name for name in facts[root] if _begins(rest, name)), key=len, default="")
        value, path = facts[root].get(key), rest[len(key) :]
    for name, position in _PATH.findall(path):
        value = _decoded(value)
        if position:
            in_range = isinstance(value, list) and int(position) < len(value)
            value = value[int(position)] if in_range else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _begins(path: str, key: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}["))


def _decoded(value: Any) -> Any:
    """Return the object or list that a text holds as JSON; any other value as it is."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return parse(value)
        except ValueError:
            return value
    return value


@attrs.frozen
class _Own:
    """A step, and its parameters under its own name."""

    step: Predict
    env: Env


def _inputs(
    span: RawSpan, call: ForeignCall | None, own: _Own, taken: Mapping[str, Any]
) -> Record | None:
    """Return a step's inputs: from named places, from variables of a prompt, from the prompt."""
    step, names = own.step, [field.name for field in own.step.signature.inputs]
    given = {name: taken[name] for name in names if name in taken}
    for values in (given, _variables(span)):
        found = _bound(step, values) if values else None
        if found is not None:
            return found
    if call is None or not isinstance(call.request, ChatRequest):
        return None
    return _prompted(call.request, step, own.env)


def _variables(span: RawSpan) -> dict[str, Any]:
    template = _decoded(span.attributes.get(_TEMPLATE))
    values = dict(template) if isinstance(template, Mapping) else {}
    for prefix in _VARIABLES:
        values |= {
            name.removeprefix(prefix): value
            for name, value in span.attributes.items()
            if name.startswith(prefix)
        }
    return values


def _prompted(request: ChatRequest, step: Predict, env: Env) -> Record | None:
    """Read a step's inputs from the prompt that its adapter wrote.

    They count only if the adapter writes the same message of them again.
    """
    if not request.messages:
        return None
    last = request.messages[-1]
    for adapter in (*step.own_adapters, *ADAPTERS):
        cue = adapter.cue(step.signature.for_model)
        text = last.content.removesuffix(f"\n\n{cue}") if cue else last.content
        values = marked_values(text, step.signature.inputs, adapter)
        found = _bound(step, values) if values else None
        if found is None:
            continue
        params = env.params | {f"{step.name}.adapter": adapter.name}
        if predict_messages(step, Env(params), found)[-1] == last:
            return found
    return None


def _own_env(program: Program, name: str) -> Env:
    """Return the environment of a step under its own name."""
    step = program.predictors[name]
    defaults = program.defaults
    return Env(Record({f"{step.name}.{slot}": defaults[f"{name}.{slot}"] for slot in step.slots}))


def _bound(step: Predict, values: Mapping[str, Any]) -> Record | None:
    names = {field.name for field in step.signature.inputs}
    try:
        return step.signature.bind(step.name, {key: values[key] for key in values if key in names})
    except (LmflowError, ValueError):
        return None


def _step_outputs(
    call: ForeignCall | None, step: Predict, taken: Mapping[str, Any]
) -> Record | None:
    fields = step.signature.outputs
    given = {field.name: taken[field.name] for field in fields if field.name in taken}
    if len(given) == len(fields):
        try:
            return step.signature.outcome(step.name, given)
        except (LmflowError, ValueError):
            return None
    if call is None or not isinstance(call.outcome, ChatReply):
        return None
    for adapter in (*step.own_adapters, *ADAPTERS):
        if adapter.extraction is not None:
            continue
        try:
            return read_outputs(step.signature, call.outcome.text, adapter)
        except Unreadable:
            continue
    return None


def _fitting(program: Program, inputs: Mapping[str, Any]) -> Record | None:
    """Return the inputs as the program takes them, ``None`` if they don't fit."""
    try:
        return program.signature.bind(str(program), inputs)
    except (LmflowError, ValueError):
        return None


def _outputs(program: Program, outputs: Mapping[str, Any]) -> Record | None:
    names: Iterable[str] = (field.name for field in program.signature.outputs)
    if any(name not in outputs for name in names):
        return None
    try:
        return program.signature.outcome(str(program), Record(outputs))
    except (LmflowError, ValueError):
        return None

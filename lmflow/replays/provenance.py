"""Where an answer comes from: its calls, the version of each parameter, the demonstrations and
where they came from.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import UnknownVersion, short
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.programs.program import Program
from lmflow.replays.divergence import step_at
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.json_text import load
from lmflow.values.record import Record, canonical, pretty
from lmflow.versions.version import Version

Get = Callable[[str], Version]
SHORTEST = 2


@attrs.frozen
class Source:
    """A parameter, or one demonstration of it: since which version it is as it is, and what that
    version says made it.

    ``origin`` is ``None`` where nothing made it but a person or a default.
    """

    path: str
    version: str
    note: str
    value: Any
    origin: Any = None


@attrs.frozen
class Reason:
    """One call on the way to an answer: what it read of earlier replies, what it gave, and its
    parameters.

    ``demos`` are the demonstrations that it was shown: the step's own, and those that were chosen
    of its pool.
    """

    address: str
    step: str
    reads: tuple[str, ...]
    gave: str
    params: tuple[Source, ...]
    demos: tuple[Source, ...]
    reused: str = ""


@attrs.frozen
class Why:
    """The provenance of a trace: for each output the calls whose reply holds it, and every call in
    order.
    """

    trace: Trace
    outputs: Record
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "trace": self.trace.id,
            "version": self.trace.version.id,
            "inputs": self.trace.inputs,
            "outputs": self.trace.outputs,
            "failure": self.trace.failure,
            "from": self.outputs,
            "calls": [attrs.asdict(reason, recurse=True) for reason in self.reasons],
        }


def why(trace: Trace, get: Get, program: Program | None = None) -> Why:
    """The provenance of a trace's outputs, from the store alone. ``get`` finds a version by its id.

    What a call reads is told by its text: an earlier reply stands in its request. With the program,
    steps that share a name under different prefixes are told apart.
    """
    calls = sorted(trace.answers.values(), key=lambda call: (call.started, call.address))
    line = tuple(_line(trace.version, get))
    reasons = tuple(
        _reason(trace, call, calls[:position], line, program) for position, call in enumerate(calls)
    )
    outputs: Mapping[str, Any] = trace.outputs or {}
    return Why(
        trace, Record({name: _holders(value, calls) for name, value in outputs.items()}), reasons
    )


def since(line: tuple[Version, ...], path: str, holds: Callable[[Any], bool]) -> Version:
    """The oldest version of a line (newest first) from which on the value at a path holds, up to
    the newest.
    """
    found = line[0]
    for version in line:
        if path not in version.params or not holds(version.params[path]):
            break
        found = version
    return found


def _line(version: Version, get: Get) -> Iterator[Version]:
    """The version and its first parents, as far as they are kept."""
    yield version
    while version.parents:
        try:
            version = get(version.parents[0])
        except UnknownVersion:
            return
        yield version


def _reason(
    trace: Trace,
    call: CallAttempt,
    before: list[CallAttempt],
    line: tuple[Version, ...],
    program: Program | None,
) -> Reason:
    step = step_at(program, call.address) if program else _step(call.address, trace.version)
    paths = [path for path in trace.version.params if path.rpartition(".")[0] == step]
    lists = [path for path in paths if path.endswith((".demos", ".pool"))]
    slots = [path for path in paths if path not in lists]
    turns = list(_turns(call.request)) if isinstance(call.request, ChatRequest) else None
    return Reason(
        call.address,
        step,
        tuple(other.address for other in before if _reads(call, other)),
        _gave(call),
        tuple(_slot(line, path) for path in slots),
        ()
        if turns is None
        else tuple(found for path in lists for found in _demos(line, path, turns)),
        call.source,
    )


def _slot(line: tuple[Version, ...], path: str) -> Source:
    value = line[0].params[path]
    version = since(line, path, lambda held: canonical(held) == canonical(value))
    return Source(path, version.id, version.note, value, version.origin.get(path))


def _demos(line: tuple[Version, ...], path: str, turns: list[str]) -> Iterator[Source]:
    for position, demo in enumerate(line[0].params[path]):
        if path.endswith(".pool") and not any(_shows(turn, demo) for turn in turns):
            continue
        name = canonical(demo)
        version = since(line, path, functools.partial(_has, name))
        place = [canonical(other) for other in version.params[path]].index(name)
        yield Source(
            f"{path}[{position}]",
            version.id,
            version.note,
            demo,
            _of_demo(version.origin, path, place),
        )


def _turns(request: ChatRequest) -> Iterator[str]:
    """What each reply in a conversation answered, and the reply, as one text."""
    for asked, said in itertools.pairwise(request.messages):
        if said.role == "assistant":
            yield f"{asked.content}\n{said.content}"


def _shows(turn: str, demo: Any) -> bool:
    return all(text in turn for text in _leaves(demo))


def _has(name: str, demos: Any) -> bool:
    return name in map(canonical, demos)


def _of_demo(origin: Record, path: str, place: int) -> Any:
    """What made one demonstration: its own entry, else its share of the list's, else the list's."""
    if (own := origin.get(f"{path}[{place}]")) is not None:
        return own
    whole = origin.get(path)
    return whole[place] if isinstance(whole, tuple) and place < len(whole) else whole


def _step(address: str, version: Version) -> str:
    frames = [part.partition("[")[0] for part in address.split("/")[:-1]]
    names = {path.rpartition(".")[0] for path in version.params}
    ends = [".".join(frames[start:]) for start in range(len(frames))]
    return next((name for name in ends if name in names), frames[-1] if frames else "")


def _reads(call: CallAttempt, other: CallAttempt) -> bool:
    text = _asked(call)
    return any(len(part) >= SHORTEST and part in text for part in _texts(other))


def _asked(call: CallAttempt) -> str:
    if isinstance(call.request, ChatRequest):
        *before, last = call.request.messages
        return "\n".join(
            [*(message.readable for message in before if message.role == "tool"), last.readable]
        )
    return (
        pretty(call.request.inputs)
        if isinstance(call.request, ToolRequest)
        else "\n".join(call.request.texts)
    )


def _texts(call: CallAttempt) -> tuple[str, ...]:
    """The texts that a reply gives to what follows it."""
    match call.outcome:
        case ChatReply(text=text, calls=calls):
            return (text.strip(), *(word for use in calls for word in _words(use.arguments)))
        case ToolReply(value=value):
            return tuple(_leaves(value))
        case Failure():
            return (str(call.outcome.error()),)
    return ()


def _words(arguments: str) -> tuple[str, ...]:
    """The texts in the arguments of a call that a model asks for."""
    try:
        return tuple(_leaves(load(arguments)))
    except ValueError:
        return (arguments,)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield pretty(value)


def _holders(value: Any, calls: list[CallAttempt]) -> tuple[str, ...]:
    """The calls whose reply holds an output, the last of each text."""
    texts = [text.strip() for text in _leaves(value) if text.strip()]
    found = [
        next((c.address for c in reversed(calls) if any(t in held for held in _texts(c))), "")
        for t in texts
    ]
    return tuple(dict.fromkeys(address for address in found if address))


def _gave(call: CallAttempt) -> str:
    match call.outcome:
        case ChatReply() as reply:
            return reply.readable
        case ToolReply(value=value):
            return pretty(value)
        case EmbedReply(vectors=vectors):
            return f"{len(vectors)} vectors"
        case Failure():
            return str(call.outcome.error())
    return ""


def _lines(found: Why) -> Iterator[str]:
    trace = found.trace
    yield f"trace {trace.id}  version {short(trace.version.id)}  {trace.version.note}".rstrip()
    for name, value in (trace.outputs or {}).items():
        yield f"{name}: {_brief(value)}"
        yield f"  from {', '.join(found.outputs[name]) or 'no reply by its text: it was computed'}"
    if trace.failure:
        yield f"failed  {trace.failure.kind}: {_brief(trace.failure.text)}"
    for reason in found.reasons:
        yield f"{reason.address}  {f'reused from {reason.reused}  ' if reason.reused else ''}→ {_brief(reason.gave)}"
        if reason.reads:
            yield f"  reads {', '.join(reason.reads)}"
        for source in (*reason.params, *reason.demos):
            if source.value not in ("", (), Record()):
                made = f"  made by {_brief(source.origin)}" if source.origin is not None else ""
                yield f"  {source.path} since {short(source.version)} {source.note}: {_brief(source.value)}{made}"


def _brief(value: Any, width: int = 90) -> str:
    text = " ".join((value if isinstance(value, str) else pretty(value)).split())
    return text if len(text) <= width else f"{text[: width - 1]}…"

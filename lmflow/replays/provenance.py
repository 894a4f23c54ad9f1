"""Explains where an answer comes from: its calls, their parameters and demonstrations."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors.versioning import UnknownVersion
from lmflow.errors.words import short
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.programs.program import Program
from lmflow.replays.addresses import step_of_address
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.json_text import load
from lmflow.values.record import Record, canonical, pretty
from lmflow.versions.blame import demo_origin
from lmflow.versions.version import Version

GetVersion = Callable[[str], Version]

SHORTEST_READ = 2
"""The fewest characters of a reply that count as read if a later request contains them."""


@attrs.frozen
class Source:
    """A parameter or one of its demonstrations, with the version that gave it its present value.

    ``note`` is that version's. ``origin`` says what made the value, ``None`` if a person or a
    default did.
    """

    path: str
    version: str
    note: str
    value: Any
    origin: Any = None


@attrs.frozen
class Reason:
    """A call on the way to an answer, with the earlier calls that it read and its parameters.

    ``gave`` is its reply as text. ``demos`` are the demonstrations that the request showed: the
    step's own and those chosen from its pool. ``reused`` is the trace that the reply comes from.
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
    """The provenance of a trace.

    ``outputs`` maps each output to the addresses of the calls whose reply contains it; ``reasons``
    has every call, in order.
    """

    trace: Trace
    outputs: Record
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def to_json(self) -> dict[str, Any]:
        """Return the provenance as JSON values."""
        return {
            "trace": self.trace.id,
            "version": self.trace.version.id,
            "inputs": self.trace.inputs,
            "outputs": self.trace.outputs,
            "failure": self.trace.failure,
            "from": self.outputs,
            "calls": [attrs.asdict(reason, recurse=True) for reason in self.reasons],
        }


def why(trace: Trace, get: GetVersion, program: Program | None = None) -> Why:
    """Explain where a trace's outputs come from, from the store alone.

    A call reads an earlier reply if its request contains that reply's text.

    Args:
        trace: The execution.
        get: Finds a version by its id; raises ``UnknownVersion`` for one that isn't stored.
        program: The program that was recorded. With it steps are named by the program; without it
            by the version's paths, in which steps without parameters (tools) don't occur.

    Returns:
        The provenance of the outputs and of each call.
    """
    calls = sorted(trace.answers.values(), key=lambda call: (call.started, call.address))
    line = tuple(_first_parents(trace.version, get))
    steps = program or dict.fromkeys(path.rpartition(".")[0] for path in trace.version.params)
    reasons = tuple(
        _reason(call, calls[:position], line, step_of_address(steps, call.address))
        for position, call in enumerate(calls)
    )
    outputs: Mapping[str, Any] = trace.outputs or {}
    sources = {name: _calls_with(value, calls) for name, value in outputs.items()}
    return Why(trace, Record(sources), reasons)


def since(line: tuple[Version, ...], path: str, holds: Callable[[Any], bool]) -> Version:
    """Return the oldest version of a line from which on the value at a path always ``holds``.

    The line has the newest version first; that one is returned if no older one fits.
    """
    oldest = line[0]
    for version in line:
        if path not in version.params or not holds(version.params[path]):
            break
        oldest = version
    return oldest


def _first_parents(version: Version, get: GetVersion) -> Iterator[Version]:
    """Yield the version and its line of first parents, as far as they are stored."""
    yield version
    while version.parents:
        try:
            version = get(version.parents[0])
        except UnknownVersion:
            return
        yield version


def _reason(
    call: CallAttempt, earlier: list[CallAttempt], line: tuple[Version, ...], step: str
) -> Reason:
    paths = [path for path in line[0].params if path.rpartition(".")[0] == step]
    demo_paths = [path for path in paths if path.endswith((".demos", ".pool"))]
    demos: list[Source] = []
    if isinstance(call.request, ChatRequest):
        turns = list(_turns(call.request))
        for path in demo_paths:
            demos += _demo_sources(line, path, turns)
    return Reason(
        call.address,
        step,
        tuple(other.address for other in earlier if _reads(call, other)),
        _reply_text(call),
        tuple(_param_source(line, path) for path in paths if path not in demo_paths),
        tuple(demos),
        call.source,
    )


def _param_source(line: tuple[Version, ...], path: str) -> Source:
    value = line[0].params[path]
    version = since(line, path, lambda other: canonical(other) == canonical(value))
    return Source(path, version.id, version.note, value, version.origin.get(path))


def _demo_sources(line: tuple[Version, ...], path: str, turns: list[str]) -> Iterator[Source]:
    """Yield the source of each demonstration; of a pool only of those that a turn shows."""
    for position, demo in enumerate(line[0].params[path]):
        if path.endswith(".pool") and not any(_shows(turn, demo) for turn in turns):
            continue
        text = canonical(demo)
        version = since(line, path, functools.partial(_contains, text))
        place = [canonical(other) for other in version.params[path]].index(text)
        origin = demo_origin(version.origin, path, place)
        yield Source(f"{path}[{position}]", version.id, version.note, demo, origin)


def _turns(request: ChatRequest) -> Iterator[str]:
    """Yield each assistant message of a request after the message that it answers, as one text."""
    for message, answer in itertools.pairwise(request.messages):
        if answer.role == "assistant":
            yield f"{message.content}\n{answer.content}"


def _shows(turn: str, demo: Any) -> bool:
    return all(text in turn for text in _leaf_texts(demo))


def _contains(text: str, demos: Any) -> bool:
    return text in map(canonical, demos)


def _reads(call: CallAttempt, earlier: CallAttempt) -> bool:
    text = _request_text(call)
    return any(len(part) >= SHORTEST_READ and part in text for part in _reply_texts(earlier))


def _request_text(call: CallAttempt) -> str:
    """Return the text of a request that can hold earlier replies: no instruction, no demos."""
    if isinstance(call.request, ChatRequest):
        *before, last = call.request.messages
        tool_messages = (message for message in before if message.role == "tool")
        return "\n".join(message.readable for message in (*tool_messages, last))
    if isinstance(call.request, ToolRequest):
        return pretty(call.request.inputs)
    return "\n".join(call.request.texts)


def _reply_texts(call: CallAttempt) -> tuple[str, ...]:
    """Return the texts of a reply that later requests may contain."""
    match call.outcome:
        case ChatReply(text=text, calls=calls):
            arguments = (word for use in calls for word in _argument_texts(use.arguments))
            return (text.strip(), *arguments)
        case ToolReply(value=value):
            return tuple(_leaf_texts(value))
        case Failure():
            return (str(call.outcome.error()),)
    return ()


def _argument_texts(arguments: str) -> tuple[str, ...]:
    try:
        return tuple(_leaf_texts(load(arguments)))
    except ValueError:
        return (arguments,)


def _leaf_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaf_texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaf_texts(item)
    elif value is not None:
        yield pretty(value)


def _calls_with(value: Any, calls: list[CallAttempt]) -> tuple[str, ...]:
    """Return the addresses of the calls whose reply contains an output: of each text the last."""
    addresses = []
    for leaf in _leaf_texts(value):
        text = leaf.strip()
        for call in reversed(calls):
            if text and any(text in reply for reply in _reply_texts(call)):
                addresses.append(call.address)
                break
    return tuple(dict.fromkeys(addresses))


def _reply_text(call: CallAttempt) -> str:
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


def _lines(provenance: Why) -> Iterator[str]:
    trace = provenance.trace
    yield f"trace {trace.id}  version {short(trace.version.id)}  {trace.version.note}".rstrip()
    for name, value in (trace.outputs or {}).items():
        sources = ", ".join(provenance.outputs[name])
        yield f"{name}: {_brief(value)}"
        yield f"  from {sources or 'no reply by its text: it was computed'}"
    if trace.failure:
        yield f"failed  {trace.failure.kind}: {_brief(trace.failure.text)}"
    for reason in provenance.reasons:
        reused = f"reused from {reason.reused}  " if reason.reused else ""
        yield f"{reason.address}  {reused}→ {_brief(reason.gave)}"
        if reason.reads:
            yield f"  reads {', '.join(reason.reads)}"
        for source in (*reason.params, *reason.demos):
            if source.value not in ("", (), Record()):
                yield f"  {_source_text(source)}"


def _source_text(source: Source) -> str:
    origin = f"  made by {_brief(source.origin)}" if source.origin is not None else ""
    version = f"{short(source.version)} {source.note}"
    return f"{source.path} since {version}: {_brief(source.value)}{origin}"


def _brief(value: Any, width: int = 90) -> str:
    text = " ".join((value if isinstance(value, str) else pretty(value)).split())
    return text if len(text) <= width else f"{text[: width - 1]}…"

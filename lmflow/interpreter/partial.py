"""Outputs of a streamed reply, read piece by piece."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from lmflow.adapters.fences import fence_after
from lmflow.adapters.markers import indentation, is_terminator
from lmflow.adapters.thinking import has_signs, may_begin, without_thinking
from lmflow.interpreter.predict import Unreadable, read_outputs
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest, Request
from lmflow.programs.program import Program
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

_MARKER = re.compile(r"[ \t]*\[\[[ \t#]*([^\W\d]\w*)[ \t#]*\]\][ \t]*:?[ \t]*")


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)


_CUT_ESCAPE = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2})?\\(u[0-9a-fA-F]{0,3})?$|\\u[dD][89abAB][0-9a-fA-F]{2}$"
)


_LONGEST_TAG = 40
_DEPTH_CHANGES = {"{": 1, "[": 1, "}": -1, "]": -1}
_EXPECTED_AFTER: dict[str, Literal["name", "value"]] = {":": "value", ",": "name"}


_CLOSED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


_MARKER_START = re.compile(r"[ \t]*(\[(\[[ \t#]*\w*[ \t#]*\]?)?)?")


@attrs.frozen
class Partial:
    """A piece of an output's text.

    Args:
        address: The address of the step.
        field: The name of the output.
        text: The piece.
        anew: Whether the pieces that came of this output before are void: the call was retried, or
            what looked like the output was a preamble.
    """

    address: str
    field: str
    text: str
    anew: bool = False


@attrs.frozen
class ReplySource:
    """The origin of a reply's pieces: the step, its request, and the attempt of the call.

    ``wanted`` is the signature of the outputs asked for, ``None`` for all of the step's.
    """

    step: Program
    request: Request
    address: str
    attempt: int = 0
    wanted: Signature | None = None

    @property
    def signature(self) -> Signature:
        """The signature whose outputs the reply must hold."""
        signature: Signature = self.wanted or self.step.signature.for_model
        return signature


@attrs.frozen
class MarkerReader:
    """A reply in marked sections as far as it has been read.

    ``feed`` returns the next reader, with the pieces that are certain by then. However the reply is
    split, the pieces of a field put together are the text that the whole reply holds for it: if the
    whole is read in a way that no piece shows (markers within a line, labels), the field is begun
    anew at the end.
    """

    address: str
    signature: Signature
    text: str = ""
    reply: str = ""
    """The text without thinking."""
    fields: Record = attrs.field(factory=Record)
    """The text of each field so far."""
    pending: str = ""
    """The end of the reply, which hasn't been read yet."""
    line: str = ""
    """The beginning of the line at whose end ``pending`` stands."""
    fence: str = ""
    """The mark of the code fence that is open, empty if none is."""
    at_line_start: bool = True
    section: str | None = None
    """The field of the open section, empty for a section of no output, ``None`` before any."""
    shown: tuple[str, ...] = ()
    """The fields that pieces came of."""
    opened: tuple[str, ...] = ()
    """The fields whose section has been opened."""
    has_text: bool = False
    """Whether the open section holds more than space."""
    space: str = ""
    """Space at the end of the open section: it counts only if more text follows.

    Before the section's first text only the indentation of that counts.
    """

    def feed(self, piece: str, *, last: bool = False) -> tuple[MarkerReader, tuple[Partial, ...]]:
        """Read one more piece; after the ``last`` nothing is held back."""
        text = self.text + piece
        reply = _reply_so_far(self.text, self.reply, piece, last=last)
        reader, parts = self, list[Partial]()
        if not reply.startswith(self.reply):
            # What was shown has turned out to be thinking: the reply begins anew.
            parts += [Partial(self.address, name, "", anew=True) for name in self.shown]
            reader = MarkerReader(self.address, self.signature)
        new = reply[len(reader.reply) :]
        reader = attrs.evolve(reader, text=text, reply=reply, pending=reader.pending + new)
        while reader.pending:
            step = reader.step(last=last)
            if step is None:
                break
            reader, new_parts = step
            parts += new_parts
        reader = attrs.evolve(reader, fields=_fields_after(self.fields, parts))
        if last:
            parts += reader.corrections()
        return reader, tuple(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(field.name for field in self.signature.outputs)

    def corrections(self) -> Iterator[Partial]:
        """The texts that the whole reply holds, if they differ from the pieces put together."""
        for name, value in _texts_in(self.signature, self.text).items():
            if value != self.fields.get(name, ""):
                yield Partial(self.address, name, value, anew=True)

    def step(self, *, last: bool) -> tuple[MarkerReader, list[Partial]] | None:
        """Read the next line or marker; ``None`` if more text is needed to tell which it is."""
        if self.at_line_start and not self.fence:
            marker = _MARKER.match(self.pending)
            if not last and _may_go_on(self.pending, marker):
                return None
            if marker and self.is_own(marker[1].lower()):
                rest = self.pending[marker.end() :]
                reader = attrs.evolve(self, pending=rest, line=marker[0], at_line_start=False)
                return reader.open_section(marker[1].lower())
        text, end, rest = self.pending.partition("\n")
        reader = attrs.evolve(self, pending=rest, line=self.line + text, at_line_start=bool(end))
        if end:
            fence = fence_after(self.fence, reader.line)
            reader = attrs.evolve(reader, line="", fence=fence)
        return reader.read_text(text + end)

    def is_own(self, name: str) -> bool:
        """Tell whether a marker is one of the step's own: all others are text."""
        if is_terminator(name) and self.opened:
            return True
        if self.signature.is_free_text:
            return name in self.names
        return name in self.names or name in {field.name for field in self.signature.inputs}

    def open_section(self, name: str) -> tuple[MarkerReader, list[Partial]]:
        """Open the section of a name: only an output's first section counts."""
        counts = name in self.names and name not in self.opened
        reader = attrs.evolve(self, section=name if counts else "", has_text=False, space="")
        if not counts:
            return reader, []
        void = [Partial(self.address, name, "", anew=True)] if name in self.shown else []
        return attrs.evolve(reader, opened=(*self.opened, name)), void

    def read_text(self, text: str) -> tuple[MarkerReader, list[Partial]]:
        """Add text to the open section, without the space around the section."""
        is_only_output = self.section is None and len(self.names) == 1
        name = self.names[0] if is_only_output else self.section
        text = self.space + text
        body = text.rstrip()
        reader = attrs.evolve(self, space=text[len(body) :])
        if not name or not body:
            return reader, []
        if not self.has_text:
            lead = body[: len(body) - len(body.lstrip())]
            body = indentation(lead) + body.lstrip()
        reader = attrs.evolve(reader, has_text=True)
        shown = self.shown if name in self.shown else (*self.shown, name)
        return attrs.evolve(reader, shown=shown), [Partial(self.address, name, body)]


@attrs.frozen
class JsonReader:
    """A reply in JSON as far as it has been read: the members of its object, without escapes.

    The law of ``MarkerReader`` holds for texts; a number or word is shown once it is whole.
    """

    address: str
    signature: Signature
    text: str = ""
    reply: str = ""
    fields: Record = attrs.field(factory=Record)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(field.name for field in self.signature.outputs)

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields that pieces came of."""
        return tuple(self.fields)

    def feed(self, piece: str, *, last: bool = False) -> tuple[JsonReader, tuple[Partial, ...]]:
        """Read one more piece; after the ``last`` the whole reply is read."""
        text = self.text + piece
        reply = _reply_so_far(self.text, self.reply, piece, last=last)
        members = {name: value for name, value in _members(reply) if name in self.names and value}
        if last:
            members |= _texts_in(self.signature, text, "json")
        parts = tuple(self.changes(members))
        fields = Record({**dict.fromkeys(self.fields, ""), **members})
        return attrs.evolve(self, text=text, reply=reply, fields=fields), parts

    def changes(self, members: Mapping[str, str]) -> Iterator[Partial]:
        """The pieces that turn the fields into ``members``."""
        for name in {**self.fields, **members}:
            before, now = self.fields.get(name, ""), members.get(name, "")
            if not now.startswith(before):
                yield Partial(self.address, name, now, anew=True)
            elif now != before:
                yield Partial(self.address, name, now[len(before) :])


def new_reader(source: ReplySource) -> MarkerReader | JsonReader:
    """Make the reader of a reply: in JSON if the request has a schema, else in marked sections.

    Text beside calls of functions is the first output.
    """
    signature, request = source.signature, source.request
    address = source.address.rpartition("/")[0]
    if isinstance(request, ChatRequest) and request.tools:
        return MarkerReader(address, attrs.evolve(signature, outputs=signature.outputs[:1]))
    if isinstance(request, ChatRequest) and request.schema is not None:
        return JsonReader(address, signature)
    return MarkerReader(address, signature)


def restart_reader(
    before: MarkerReader | JsonReader, source: ReplySource
) -> tuple[MarkerReader | JsonReader, tuple[Partial, ...]]:
    """Make the reader of a reply that replaces another one, and void that one's pieces."""
    reader = new_reader(source)
    void = [name for name in before.shown if name in reader.names]
    return reader, tuple(Partial(before.address, name, "", anew=True) for name in void)


def reply_pieces(reply: ChatReply) -> list[str]:
    """Split a reply into the pieces in which it came; one that didn't stream is one piece."""
    borders = list(itertools.accumulate(reply.chunks, initial=0))
    if borders[-1] != len(reply.text):
        return [reply.text]
    return [reply.text[start:end] for start, end in itertools.pairwise(borders)]


def _reply_so_far(text: str, reply: str, piece: str, *, last: bool) -> str:
    """The reply without thinking, after one more piece.

    Most replies have no sign of thinking; for them only the end of the text is looked at, since a
    long reply comes in thousands of pieces.
    """
    whole = text + piece
    if not last and may_begin(whole):
        return ""
    if reply == text and text and not has_signs(whole[-len(piece) - _LONGEST_TAG :]):
        return whole
    return without_thinking(whole, whole=last)


def _texts_in(signature: Signature, text: str, adapter: str = "") -> dict[str, str]:
    """The text outputs that a whole reply holds."""
    try:
        outputs: Mapping[str, Any] = read_outputs(signature, text, adapter)
    except Unreadable as problem:
        outputs = problem.outputs
    return {name: value for name, value in outputs.items() if isinstance(value, str)}


def _may_go_on(text: str, marker: re.Match[str] | None) -> bool:
    """Tell whether more text could change the marker, or its absence, at the start of a line."""
    if marker:
        return marker.end() == len(text)
    return _MARKER_START.fullmatch(text) is not None


def _fields_after(fields: Record, parts: list[Partial]) -> Record:
    """The text of each field after some more pieces."""
    texts = dict(fields)
    for part in parts:
        texts[part.field] = part.text if part.anew else texts.get(part.field, "") + part.text
    return Record(texts)


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of the outermost object, each text as far as it goes.

    A number or word counts once another token follows, since it may go on before that.
    """
    depth, name = 0, ""
    expects: Literal["name", "value"] = "name"
    tokens = [match[0] for match in _TOKEN.finditer(text, max(text.find("{"), 0))]
    for position, token in enumerate(tokens):
        depth += _DEPTH_CHANGES.get(token, 0)
        if depth > 1:
            # What is nested belongs to the value of a member, until a comma at the outer level.
            expects = "value"
        elif token in _EXPECTED_AFTER:
            expects = _EXPECTED_AFTER[token]
        elif depth == 1 and token not in _DEPTH_CHANGES:
            is_text = token.startswith('"')
            if expects == "name" and is_text:
                name = _unescape(token)
            elif expects == "value" and (is_text or position + 1 < len(tokens)):
                yield name, _unescape(token) if is_text else token


def _unescape(token: str) -> str:
    """The text of a string that may not have ended; a part of an escape at its end is left out."""
    is_closed = len(token) > 1 and token.endswith('"') and _CLOSED.fullmatch(token) is not None
    body = token[1:-1] if is_closed else _CUT_ESCAPE.sub("", token[1:])
    with contextlib.suppress(ValueError):
        return str(json.loads(f'"{body}"', strict=False))
    return ""

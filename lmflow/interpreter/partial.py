"""Outputs of a streamed reply, read piece by piece."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

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
    fields: Record = attrs.field(factory=Record)
    """The text of each field so far."""
    pending: str = ""
    """The end of the text, which hasn't been read yet."""
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
    """Space at the end of the open section: it counts only if more text follows."""

    def feed(self, piece: str, *, last: bool = False) -> tuple[MarkerReader, tuple[Partial, ...]]:
        """Read one more piece; after the ``last`` nothing is held back."""
        reader = attrs.evolve(self, pending=self.pending + piece, text=self.text + piece)
        parts: list[Partial] = []
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
        try:
            outputs: Mapping[str, Any] = read_outputs(self.signature, self.text)
        except Unreadable as problem:
            outputs = problem.outputs
        for name, value in outputs.items():
            if isinstance(value, str) and value != self.fields.get(name, ""):
                yield Partial(self.address, name, value, anew=True)

    def step(self, *, last: bool) -> tuple[MarkerReader, list[Partial]] | None:
        """Read the next line or marker; ``None`` if more text is needed to tell which it is."""
        if self.at_line_start:
            marker = _MARKER.match(self.pending)
            if not last and _may_go_on(self.pending, marker):
                return None
            if marker:
                rest = self.pending[marker.end() :]
                return attrs.evolve(self, pending=rest, at_line_start=False).open_section(marker[1])
        line, end, rest = self.pending.partition("\n")
        return attrs.evolve(self, pending=rest, at_line_start=bool(end)).read_text(line + end)

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
        text = self.space + text if self.has_text else text.lstrip()
        if not name or not text:
            return self, []
        body = text.rstrip()
        reader = attrs.evolve(self, has_text=True, space=text[len(body) :])
        if not body:
            return reader, []
        shown = self.shown if name in self.shown else (*self.shown, name)
        return attrs.evolve(reader, shown=shown), [Partial(self.address, name, body)]


@attrs.frozen
class JsonReader:
    """A reply in JSON as far as it has been read: the members of its object, without escapes.

    The law of ``MarkerReader`` holds for texts; a number or word is shown once it is whole.
    """

    address: str
    names: tuple[str, ...]
    text: str = ""
    fields: Record = attrs.field(factory=Record)

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields that pieces came of."""
        return tuple(self.fields)

    def feed(self, piece: str, *, last: bool = False) -> tuple[JsonReader, tuple[Partial, ...]]:
        """Read one more piece."""
        del last
        text = self.text + piece
        members = {name: value for name, value in _members(text) if name in self.names and value}
        new = {name: value[len(self.fields.get(name, "")) :] for name, value in members.items()}
        parts = tuple(Partial(self.address, name, value) for name, value in new.items() if value)
        return attrs.evolve(self, text=text, fields=self.fields | members), parts


def new_reader(source: ReplySource) -> MarkerReader | JsonReader:
    """Make the reader of a reply: in JSON if the request has a schema, else in marked sections.

    Text beside calls of functions is the first output.
    """
    signature, request = source.signature, source.request
    address = source.address.rpartition("/")[0]
    if isinstance(request, ChatRequest) and request.tools:
        return MarkerReader(address, attrs.evolve(signature, outputs=signature.outputs[:1]))
    if isinstance(request, ChatRequest) and request.schema is not None:
        return JsonReader(address, tuple(field.name for field in signature.outputs))
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
    tokens = [match[0] for match in _TOKEN.finditer(text)]
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

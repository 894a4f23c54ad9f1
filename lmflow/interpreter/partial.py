"""Outputs of a streamed reply, read piece by piece."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.chat import CHAT
from lmflow.adapters.fences import fence_after
from lmflow.adapters.markers import indentation, is_terminator
from lmflow.adapters.registry import AnyAdapter
from lmflow.adapters.structured import JSON
from lmflow.adapters.thinking import has_signs, may_begin, without_thinking
from lmflow.interpreter.partial_json import json_members
from lmflow.interpreter.predict import Unreadable, read_outputs
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest, Request
from lmflow.programs.program import Program
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

_MARKER = re.compile(r"[ \t]*\[\[[ \t#]*([^\W\d]\w*)[ \t#]*\]\][ \t]*:?[ \t]*")


_LONGEST_TAG = 40

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

    ``wanted`` is the signature of the outputs asked for, ``None`` for all of the step's, and
    ``adapter`` the form in which they were asked for, ``None`` for that which the request shows.
    """

    step: Program
    request: Request
    address: str
    attempt: int = 0
    wanted: Signature | None = None
    adapter: Adapter | None = None

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
class TextReader:
    """A reply as far as it has been read, by a function that finds the outputs' texts in it anew.

    The law of ``MarkerReader`` holds for texts. ``adapter`` reads the whole reply in the end.
    """

    address: str
    signature: Signature
    adapter: Adapter
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

    def feed(self, piece: str, *, last: bool = False) -> tuple[TextReader, tuple[Partial, ...]]:
        """Read one more piece; after the ``last`` the whole reply is read."""
        text, reply = self.text + piece, self.reply
        if self.adapter is JSON:
            reply = _reply_so_far(self.text, self.reply, piece, last=last)
        members = self.members(text, reply)
        if last and self.adapter.extraction is None:
            members |= _texts_in(self.signature, text, self.adapter)
        parts = tuple(self.changes(members))
        fields = Record({**dict.fromkeys(self.fields, ""), **members})
        return attrs.evolve(self, text=text, reply=reply, fields=fields), parts

    def members(self, text: str, reply: str) -> dict[str, str]:
        """The texts of outputs in a part of a reply; JSON is read without its thinking."""
        if self.adapter is JSON:
            found: Iterable[tuple[str, str]] = json_members(reply)
        else:
            partial = self.adapter.partial
            found = partial(self.signature, text).items() if partial is not None else ()
        return {name: value for name, value in found if name in self.names and value}

    def changes(self, members: Mapping[str, str]) -> Iterator[Partial]:
        """The pieces that turn the fields into ``members``."""
        for name in {**self.fields, **members}:
            before, now = self.fields.get(name, ""), members.get(name, "")
            if not now.startswith(before):
                yield Partial(self.address, name, now, anew=True)
            elif now != before:
                yield Partial(self.address, name, now[len(before) :])


Reader = MarkerReader | TextReader


def new_reader(source: ReplySource) -> Reader:
    """Make the reader of a reply: in JSON if the request has a schema, else as its adapter writes.

    Text beside calls of functions is the first output.
    """
    signature, request = source.signature, source.request
    address = source.address.rpartition("/")[0]
    if isinstance(request, ChatRequest) and request.tools:
        return MarkerReader(address, attrs.evolve(signature, outputs=signature.outputs[:1]))
    adapter = source.adapter
    if adapter is None or adapter.shipped:
        has_schema = isinstance(request, ChatRequest) and request.schema is not None
        adapter = JSON if has_schema else adapter
    if adapter is None or adapter is CHAT:
        return MarkerReader(address, signature)
    return TextReader(address, signature, adapter)


def restart_reader(before: Reader, source: ReplySource) -> tuple[Reader, tuple[Partial, ...]]:
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


def _texts_in(signature: Signature, text: str, adapter: AnyAdapter = "") -> dict[str, str]:
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

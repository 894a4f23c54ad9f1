"""Outputs as they come: the texts of a reply's fields, read piece by piece."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.interpreter.predict import Unreadable, parse
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest, Request
from lmflow.programs.program import Program
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

_MARKER = re.compile(r"[ \t]*\[\[[ \t#]*([^\W\d]\w*)[ \t#]*\]\][ \t]*:?[ \t]*")


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)


_CUT = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2})?\\(u[0-9a-fA-F]{0,3})?$|\\u[dD][89abAB][0-9a-fA-F]{2}$"
)


_CLOSED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


_BEGUN = re.compile(r"[ \t]*(\[(\[[ \t#]*\w*[ \t#]*\]?)?)?")


@attrs.frozen
class Partial:
    """A piece of an output's text. ``address`` is the step's; ``anew``: what came of this field
    before is void.

    A field is begun anew where the call is asked again, or where what looked like the answer was a
    preamble.
    """

    address: str
    field: str
    text: str
    anew: bool = False


@attrs.frozen
class Source:
    """Where pieces of a reply come from: whose step asked for what, in which attempt of which call,
    and which outputs are ``wanted``, all of the step's where it doesn't say.
    """

    step: Program
    request: Request
    address: str
    attempt: int = 0
    wanted: Signature | None = None

    @property
    def signature(self) -> Signature:
        """What the reply is to hold."""
        found: Signature = self.wanted or self.step.signature.asked
        return found


@attrs.frozen
class MarkerReader:
    """A reply in marked sections as far as it has been read: ``fed`` gives the next one, with what
    is certain by then.

    For any cut into pieces, the pieces of a field, put together, are the text that the whole reply
    holds for it: where that is read in a way that no piece shows (markers within a line, labels),
    the field is begun anew at the end.
    """

    address: str
    signature: Signature
    text: str = ""
    told: Record = attrs.field(factory=Record)
    held: str = ""
    fresh: bool = True
    field: str | None = None
    shown: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    begun: bool = False
    space: str = ""

    def fed(self, piece: str, *, last: bool = False) -> tuple[MarkerReader, tuple[Partial, ...]]:
        """The reading after a piece, and what that showed. ``last``: nothing follows, so nothing is
        held back.
        """
        now, parts = attrs.evolve(self, held=self.held + piece, text=self.text + piece), []
        while now.held and (step := now.step(last=last)) is not None:
            now, found = step
            parts += found
        now = attrs.evolve(now, told=_folded(self.told, parts))
        return now, (*parts, *(now.settled() if last else ()))

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs."""
        return tuple(field.name for field in self.signature.outputs)

    def settled(self) -> Iterator[Partial]:
        """The texts of the whole reply that are not what was told of them."""
        try:
            found: Mapping[str, Any] = parse(self.signature, self.text)
        except Unreadable as problem:
            found = problem.found
        for name, value in found.items():
            if isinstance(value, str) and value != self.told.get(name, ""):
                yield Partial(self.address, name, value, anew=True)

    def step(self, *, last: bool) -> tuple[MarkerReader, list[Partial]] | None:
        """The reading after the next line or marker, ``None`` where that isn't certain yet."""
        if self.fresh:
            marker = _MARKER.match(self.held)
            if not last and (
                marker.end() == len(self.held) if marker else _BEGUN.fullmatch(self.held)
            ):
                return None
            if marker:
                return attrs.evolve(self, held=self.held[marker.end() :], fresh=False).opening(
                    marker[1]
                )
        line, end, rest = self.held.partition("\n")
        return attrs.evolve(self, held=rest, fresh=bool(end)).showing(line + end)

    def opening(self, name: str) -> tuple[MarkerReader, list[Partial]]:
        """The section of that name; the first of a name counts, and those that nobody asked for
        don't.
        """
        known = name in self.names and name not in self.closed
        now = attrs.evolve(self, field=name if known else "", begun=False, space="")
        if not known:
            return now, []
        void = [Partial(self.address, name, "", anew=True)] if name in self.shown else []
        return attrs.evolve(now, closed=(*self.closed, name)), void

    def showing(self, text: str) -> tuple[MarkerReader, list[Partial]]:
        """More text of the open section, without the space around it."""
        name = self.names[0] if self.field is None and len(self.names) == 1 else self.field
        text = self.space + text if self.begun else text.lstrip()
        if not name or not text:
            return self, []
        body = text.rstrip()
        now = attrs.evolve(self, begun=True, space=text[len(body) :])
        if not body:
            return now, []
        shown = self.shown if name in self.shown else (*self.shown, name)
        return attrs.evolve(now, shown=shown), [Partial(self.address, name, body)]


@attrs.frozen
class JsonReader:
    """A reply in JSON as far as it has been read: the texts among the members of its object,
    without their escapes.

    The law of ``MarkerReader`` holds for texts; what is no text is given when it is whole.
    """

    address: str
    names: tuple[str, ...]
    held: str = ""
    texts: Record = attrs.field(factory=Record)

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields that something was shown of."""
        return tuple(self.texts)

    def fed(self, piece: str, *, last: bool = False) -> tuple[JsonReader, tuple[Partial, ...]]:
        """The reading after a piece, and what that showed."""
        del last
        held = self.held + piece
        found = {name: text for name, text in _members(held) if name in self.names and text}
        new = ((name, text[len(self.texts.get(name, "")) :]) for name, text in found.items())
        parts = tuple(Partial(self.address, name, text) for name, text in new if text)
        return attrs.evolve(self, held=held, texts=self.texts | found), parts


def reading(source: Source) -> MarkerReader | JsonReader:
    """The beginning of a reply: in JSON where the request says so, else in marked sections.

    What is said beside calls of functions is the first output.
    """
    signature, request = source.signature, source.request
    address, names = (
        source.address.rpartition("/")[0],
        tuple(field.name for field in signature.outputs),
    )
    if isinstance(request, ChatRequest) and request.tools:
        return MarkerReader(address, attrs.evolve(signature, outputs=signature.outputs[:1]))
    in_json = isinstance(request, ChatRequest) and request.schema is not None
    return JsonReader(address, names) if in_json else MarkerReader(address, signature)


def again(
    before: MarkerReader | JsonReader, source: Source
) -> tuple[MarkerReader | JsonReader, tuple[Partial, ...]]:
    """The beginning of another reply in place of one: what that one showed of the same outputs is
    void.
    """
    now = reading(source)
    return now, tuple(
        Partial(before.address, name, "", anew=True) for name in before.shown if name in now.names
    )


def pieces(reply: ChatReply) -> list[str]:
    """The pieces in which a reply came, the whole where it didn't stream."""
    borders = list(itertools.accumulate(reply.chunks, initial=0))
    if borders[-1] != len(reply.text):
        return [reply.text]
    return [reply.text[start:end] for start, end in itertools.pairwise(borders)]


def _folded(told: Record, parts: list[Partial]) -> Record:
    """What stands in each field after these pieces."""
    fields = dict(told)
    for part in parts:
        fields[part.field] = part.text if part.anew else fields.get(part.field, "") + part.text
    return Record(fields)


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of the outermost object: each text as far as it goes, each number or word once it
    has ended.
    """
    depth, name, value = 0, "", False
    marks = [match[0] for match in _TOKEN.finditer(text)]
    for position, mark in enumerate(marks):
        depth += (mark in "{[") - (mark in "}]")
        if depth == 1 and value and mark not in "{}[]:,":
            if mark.startswith('"'):
                yield name, _unescaped(mark)
            elif position + 1 < len(marks):
                yield name, mark
        if depth == 1 and mark.startswith('"') and not value:
            name = _unescaped(mark)
        value = depth > 1 or mark == ":" or (value and mark != ",")


def _unescaped(mark: str) -> str:
    """The text of a string that may not have ended: an escape that is cut off is left for later."""
    ended = len(mark) > 1 and mark.endswith('"') and _CLOSED.fullmatch(mark) is not None
    body = mark[1:-1] if ended else _CUT.sub("", mark[1:])
    with contextlib.suppress(ValueError):
        return str(json.loads(f'"{body}"', strict=False))
    return ""

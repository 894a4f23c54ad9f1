"""Adapters as values: how a step asks a model for outputs, and how it reads them from a reply."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.adapters.base import BRACKETS, Marks
from lmflow.signatures.signature import Signature
from lmflow.values.attributes import uncached
from lmflow.values.canonical_text import Leaf
from lmflow.values.functions import function_of
from lmflow.values.record import Record, digest

SHIPPED = ("chat", "json", "xml", "two_step", "native")
"""The names that lmflow's own forms have."""

_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
_DIGITS = 12


def no_cue(_: Signature) -> str:
    """Repeat nothing below the inputs."""
    return ""


def no_schema(_: Signature) -> None:
    """Ask an endpoint to hold a reply to no schema."""


@attrs.frozen
class Extraction:
    """The second call of a step: a model reads the outputs from the first call's free text.

    ``model`` is empty for the model of the first call.
    """

    adapter: Adapter
    model: str = ""


@attrs.frozen(eq=False, slots=False)
class Adapter(Leaf):
    """One way to ask a model for outputs, given as a value wherever an adapter is named.

    Recordings and versions hold its ``ref``: the name and a hash of its functions, so that a
    replay finds out if they have changed.

    Args:
        name: Lower case letters, digits and ``_``.
        form: Tells the model, in the system message, what to reply with; may be empty.
        cue: Repeats that in short below the inputs, where small models heed it.
        answer: Writes outputs as the reply that is asked for, for demonstrations and earlier turns.
            Of a demonstration some outputs may be missing.
        read: Reads the outputs from a reply, told whether the reply is whole (not cut at the token
            limit). It raises nothing but ``Unreadable``.
        schema: The JSON schema that an endpoint may hold the reply to, ``None`` for none.
        marks: What stands around each input's value.
        partial: The texts of the outputs that a part of a reply holds so far, for streams; without
            it a stream shows the outputs once the reply is whole.
        version: Identifies functions whose source doesn't say what they do, such as closures.
        extraction: A second call that reads the outputs from the reply to the first.
        shipped: Whether the adapter is lmflow's own, which is known by its name alone.

    Raises:
        ValueError: The name is invalid, or one of lmflow's own adapters has it.
        Unidentified: A function has no identity, and no ``version`` is named.

    Example:
        >>> shout = Adapter("shout", form=lambda s: "SHOUT.", answer=str, read=None, version="1")
        >>> shout.ref.partition("@")[0]
        'shout'
    """

    name: str
    form: Callable[[Signature], str] = attrs.field(repr=False)
    cue: Callable[[Signature], str] = attrs.field(default=no_cue, repr=False)
    answer: Callable[[Signature, Mapping[str, Any]], str] = attrs.field(kw_only=True, repr=False)
    read: Callable[[Signature, str, bool], Record] = attrs.field(kw_only=True, repr=False)
    schema: Callable[[Signature], Record | None] = attrs.field(
        default=no_schema, kw_only=True, repr=False
    )
    marks: Marks = attrs.field(default=BRACKETS, kw_only=True, repr=False)
    partial: Callable[[Signature, str], Mapping[str, str]] | None = attrs.field(
        default=None, kw_only=True, repr=False
    )
    version: str | None = attrs.field(default=None, kw_only=True, repr=False)
    extraction: Extraction | None = attrs.field(default=None, kw_only=True, repr=False)
    shipped: bool = attrs.field(default=False, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if not self.shipped:
            _check_name(self.name)
            _ = self.ref

    def __str__(self) -> str:
        return self.ref

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    @functools.cached_property
    def ref(self) -> str:
        """The name in recordings and versions: with the hash of the functions if it is not
        lmflow's own.
        """
        if self.shipped:
            return self.name
        functions = (self.form, self.cue, self.answer, self.read, self.schema, self.partial)
        parts = [_identity(function, self.version) for function in functions]
        inner = self.extraction and [self.extraction.adapter.ref, self.extraction.model]
        value = [self.name, parts, attrs.astuple(self.marks), inner]
        return f"{self.name}@{digest('adapter', value).rpartition(':')[2][:_DIGITS]}"

    def json(self) -> str:
        """The adapter in versions and recordings: its ``ref``."""
        return self.ref


def _identity(function: Callable[..., Any] | None, version: str | None) -> str:
    return "" if function is None else function_of(function, version).identity


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        msg = f"an adapter's name has lower case letters, digits and _, found {name!r}"
        raise ValueError(msg)
    if name in SHIPPED:
        msg = f"{name!r} is one of lmflow's own adapters, {', '.join(SHIPPED)}: choose another name"
        raise ValueError(msg)

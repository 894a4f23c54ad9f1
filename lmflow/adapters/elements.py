"""Values as XML elements: written, sketched, and read from what models write in their place.

A list's items are ``<item>`` elements, an object's members elements of their names, and a member
whose name can't be a tag is ``<entry key="...">``. Replies are rarely well-formed XML, so they are
scanned for tags instead of parsed: any ``<`` that begins no tag is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Union

import attrs

from lmflow.signatures.description import type_in_words
from lmflow.signatures.fields import Field, fields_of, nullable, origin_and_args, unwrap_annotated
from lmflow.signatures.parsing import interpret
from lmflow.signatures.wire_types import SEQUENCES
from lmflow.values.json_text import load_strict
from lmflow.values.record import plain, pretty

ITEM, ENTRY = "item", "entry"
_NULLS = {"", "null", "none", "n/a"}
_DEEPEST = 40
_TAG = re.compile(
    r"<(?P<end>/?)(?P<name>[A-Za-z_][\w.-]*)(?P<key>\s+key\s*=\s*(?:\"[^\"]*\"|'[^']*'))?"
    r"(?:\s[^<>]*?)?(?P<empty>/?)>"
)
_TAG_LIKE = re.compile(r"<(?=[A-Za-z_/!])")
_ENTITY_LIKE = re.compile(r"&(?=(?:amp|lt|gt|quot|apos);)")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_CHARACTERS = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_CDATA = re.compile(r"\s*<!\[CDATA\[(.*?)\]\]>\s*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w.-]*\Z")


@attrs.frozen
class Element:
    """An element: its name, the key of an entry, and the text between its tags."""

    name: str
    content: str
    key: str | None = None

    @property
    def member(self) -> str:
        """The name of the member that the element stands for."""
        return self.name if self.key is None else self.key


def escape(text: str) -> str:
    """Escape what would be read as a tag or an entity; any other ``<`` and ``&`` stays."""
    return _TAG_LIKE.sub("&lt;", _ENTITY_LIKE.sub("&amp;", text))


def unescape(text: str) -> str:
    """The text that an element's content stands for."""
    if section := _CDATA.fullmatch(text):
        return section[1]
    return _ENTITY.sub(lambda entity: _CHARACTERS[entity[1]], text) if "&" in text else text


def element(tag: str, value: Any, key: str | None = None) -> str:
    """Write a value as an element."""
    head = tag if key is None else f'{tag} key="{_quoted(key)}"'
    if value is None:
        return f"<{head}/>"
    if value in ([], {}):  # written as JSON, since nothing at all may mean null
        return f"<{head}>{pretty(value)}</{tag}>"
    if isinstance(value, list):
        return f"<{head}>{''.join(element(ITEM, item) for item in value)}</{tag}>"
    if isinstance(value, dict):
        members = (_member(str(name), item) for name, item in value.items())
        return f"<{head}>{''.join(members)}</{tag}>"
    return f"<{head}>{escape(value if isinstance(value, str) else pretty(value))}</{tag}>"


def sketch(tag: str, kind: Any, words: str = "", inside: tuple[Any, ...] = ()) -> str:
    """Sketch a type as an element: ``<items><item>a whole number</item></items>``."""
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    others = [arg for arg in args if arg is not type(None)]
    if origin is Union and len(others) == 1:
        return sketch(tag, others[0], words, inside)
    if (origin or inner) in SEQUENCES and inner not in inside:
        return f"<{tag}>{sketch(ITEM, args[0] if args else Any, '', inside)}...</{tag}>"
    if origin is dict:
        entry = sketch(ENTRY, args[1], "", inside).replace(f"<{ENTRY}>", f'<{ENTRY} key="...">', 1)
        return f"<{tag}>{entry}...</{tag}>"
    fields = fields_of(inner)
    if fields is not None and inner not in inside:
        members = (_field_sketch(field, (*inside, inner)) for field in fields)
        return f"<{tag}>{''.join(members)}</{tag}>"
    text = words or (type_in_words(kind) if fields is None else "")
    return f"<{tag}>{text or '...'}</{tag}>"


def elements(text: str) -> Iterator[Element]:
    """The outermost elements of a text. One without its end reaches to the end of the text."""
    position = 0
    while (tag := _TAG.search(text, position)) is not None:
        position = tag.end()
        if tag["end"]:
            continue
        key = unescape(tag["key"].partition("=")[2].strip()[1:-1]) if tag["key"] else None
        if tag["empty"]:
            yield Element(tag["name"], "", key)
            continue
        start, position = _end_of(text, tag["name"], position)
        yield Element(tag["name"], text[tag.end() : start], key)


def is_nested(kind: Any) -> bool:
    """Tell whether values of a type are written as elements within their own."""
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    others = [arg for arg in args if arg is not type(None)]
    if origin is Union:
        return any(map(is_nested, others))
    return (origin or inner) in {*SEQUENCES, dict} or fields_of(inner) is not None


def value_in(content: str, kind: Any, *, whole: bool) -> Any:
    """The JSON value that an element's content stands for, as its type tells."""
    return _value(content, kind, _Reading(whole))


@attrs.frozen
class _Reading:
    """How values are read: whether the reply is whole, and how many levels may still come."""

    whole: bool
    levels: int = _DEEPEST

    def deeper(self) -> _Reading:
        """The reading of a value within. ``ValueError`` if it is nested too deeply."""
        if self.levels == 0:
            msg = "it is nested too deeply"
            raise ValueError(msg)
        return attrs.evolve(self, levels=self.levels - 1)


def _value(content: str, kind: Any, outer: _Reading) -> Any:  # noqa: PLR0911 - one return a kind
    reading = outer.deeper()
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if inner is str:
        return unescape(content)
    text, children = content.strip(), list(elements(content))
    if text.lower() in _NULLS and inner is not Any and nullable(inner):
        return None
    if origin is Union:
        return _member_value(content, args, reading)
    if not children or text[:1] in {"[", "{", "`"}:
        return _text_value(text, kind, reading)
    if (origin or inner) in SEQUENCES:
        if _is_one_item(children, args):
            return [_value(content, args[0], reading)]
        return [_item(child, args, place, reading) for place, child in enumerate(children)]
    if origin is dict:
        return {child.member: _value(child.content, args[1], reading) for child in children}
    fields = fields_of(inner)
    if fields is not None:
        return _object_value(children, fields, reading)
    return _untyped(children, reading) if inner in {Any, dict} else interpret(unescape(text), kind)


def _quoted(text: str) -> str:
    return escape(text).replace('"', "&quot;")


def _member(name: str, value: Any) -> str:
    is_tag = _NAME.match(name) is not None and name not in {ITEM, ENTRY}
    return element(name, value) if is_tag else element(ENTRY, value, name)


def _field_sketch(field: Field, inside: tuple[Any, ...]) -> str:
    words = ", ".join(filter(None, (field.description, type_in_words_or_none(field.type, inside))))
    name = field.name if _NAME.match(field.name) else ENTRY
    return sketch(name, field.type, words, inside)


def type_in_words_or_none(kind: Any, inside: tuple[Any, ...]) -> str:
    """Describe a type that isn't sketched as elements; empty for any other."""
    inner = unwrap_annotated(kind)[0]
    return "" if is_nested(kind) or inner in inside else type_in_words(kind)


def _end_of(text: str, name: str, position: int) -> tuple[int, int]:
    """The span of the end tag that belongs to a tag, past elements of the same name within."""
    depth = 1
    for tag in _TAG.finditer(text, position):
        if tag["name"] == name and not tag["empty"]:
            depth += -1 if tag["end"] else 1
            if depth == 0:
                return tag.span()
    return len(text), len(text)


def _member_value(content: str, kinds: tuple[Any, ...], reading: _Reading) -> Any:
    """The value of a union's first member that fits: nested ones first if there are elements."""
    others = [kind for kind in kinds if kind is not type(None)]
    has_children = next(elements(content), None) is not None
    problems = []
    for kind in sorted(others, key=lambda kind: is_nested(kind) is not has_children):
        try:
            return _value(content, kind, reading)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; or ".join(dict.fromkeys(problems)))


def _text_value(text: str, kind: Any, reading: _Reading) -> Any:
    inner = unwrap_annotated(kind)[0]
    if not text and is_nested(kind):
        return {} if fields_of(inner) is not None or origin_and_args(inner)[0] is dict else []
    if inner is Any:
        try:
            return load_strict(unescape(text))
        except ValueError:
            return unescape(text)
    return interpret(unescape(text), kind, whole=reading.whole)


def _is_one_item(children: list[Element], args: tuple[Any, ...]) -> bool:
    """Tell whether the elements of a list are the members of its only item."""
    fields = fields_of(unwrap_annotated(args[0])[0]) if args else None
    names = {field.name for field in fields or ()} - {ITEM}
    return bool(names) and {child.member for child in children} <= names


def _item(child: Element, args: tuple[Any, ...], place: int, reading: _Reading) -> Any:
    has_own_types = len(args) > 1 and ... not in args
    kinds = args if has_own_types else args[:1]
    kind = kinds[min(place, len(kinds) - 1)] if kinds else Any
    return _value(child.content, kind, reading)


def _object_value(
    children: list[Element], fields: tuple[Field, ...], reading: _Reading
) -> dict[str, Any]:
    """The members of an object; a list may be written as several elements of its name."""
    types = {field.name: field.type for field in fields}
    value: dict[str, Any] = {}
    for name in dict.fromkeys(child.member for child in children):
        same = [child.content for child in children if child.member == name]
        kind = types.get(name, Any)
        if len(same) == 1:
            value[name] = _value(same[0], kind, reading)
        else:
            item = (origin_and_args(unwrap_annotated(kind)[0])[1] or (Any,))[0]
            value[name] = [_value(content, item, reading) for content in same]
    return value


def _untyped(children: list[Element], reading: _Reading) -> Any:
    """A value without a type: a list of items, else an object."""
    values = [plain(_value(child.content, Any, reading)) for child in children]
    if all(child.name == ITEM for child in children):
        return values
    return dict(zip([child.member for child in children], values, strict=True))

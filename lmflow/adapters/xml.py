"""The XML adapter: each output between tags of its name, nested values as elements within."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import (
    Marks,
    Unreadable,
    check_answered,
    collect_outputs,
    in_order,
    output_names,
    text_for_model,
)
from lmflow.adapters.chat import CHAT
from lmflow.adapters.elements import element, escape, is_nested, sketch, unescape, value_in
from lmflow.adapters.json_outputs import read_json_value
from lmflow.adapters.markers import trim
from lmflow.adapters.structured import JSON
from lmflow.adapters.thinking import is_thinking_tag, may_begin, without_thinking
from lmflow.signatures.fields import Field, nullable, unwrap_annotated
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, plain

_MASK = "\ue000"
"""A character of private use, which stands before the name of an output's own tag."""

_HELD_BACK = re.compile(r"(?:<[^<>]*|&\w{0,4}|\s+)\Z")
"""An end of a text that more text may turn into a tag or an entity, and space."""


def _form(signature: Signature) -> str:
    shown = [
        f"<{field.name}>\n{hint or '...'}\n</{field.name}>"
        if not is_nested(field.type)
        else sketch(field.name, field.type)
        for field, hint in zip(signature.outputs, signature.hints, strict=True)
    ]
    return "\n".join(["Reply in this form:", *shown])


def _cue(signature: Signature) -> str:
    tags = [f"<{field.name}>" for field in signature.outputs]
    return f"Reply with {', then '.join(tags)}." if len(tags) > 1 else ""


def _answer(signature: Signature, values: Mapping[str, Any]) -> str:
    present = [field for field in signature.outputs if field.name in values]
    return "\n".join(_written(field, plain(in_order(values[field.name]))) for field in present)


def _written(field: Field, value: Any) -> str:
    if is_nested(field.type) and isinstance(value, (list, dict)):
        return element(field.name, value)
    if value is None:
        return f"<{field.name}/>"
    return f"<{field.name}>\n{escape(text_for_model(value))}\n</{field.name}>"


def _read(signature: Signature, text: str, whole: bool) -> Record:  # noqa: FBT001 - the shape of Adapter.read
    reply = _without_thinking(signature, text, whole=whole)
    check_answered(text, reply)
    contents = _contents(signature, reply)
    if not contents:
        start = reply.lstrip("` \n")[:2]
        is_json = start[:1] in {"{", "["} and start != "[[" and not signature.is_free_text
        return (JSON if is_json else CHAT).read(signature, reply, whole)

    def read_content(content: str, kind: Any) -> Any:
        inner = unwrap_annotated(kind)[0]
        if inner is str:
            return unescape(trim(content))
        if not content.strip() and not nullable(kind) and not is_nested(kind):
            msg = "it is empty"
            raise Unreadable(msg)
        return read_json_value(value_in(trim(content), kind, whole=whole), kind)

    return collect_outputs(signature, contents, read_content)


def _without_thinking(signature: Signature, text: str, *, whole: bool) -> str:
    """The reply without thinking; the tag of an output called ``reasoning`` is none."""
    names = [name for name in output_names(signature) if is_thinking_tag(name)]
    if not names:
        return without_thinking(text, whole=whole)
    masked = _own_tags(names).sub(lambda tag: f"<{tag[1]}{_MASK}{tag[2]}", text)
    return without_thinking(masked, whole=whole).replace(_MASK, "")


def _contents(signature: Signature, reply: str) -> dict[str, str]:
    """The text between each output's tags, outside of other outputs; the first counts.

    An end that is missing is the beginning of the next output, or the end of the reply.
    """
    # Two passes: a list of all tags of a hostile reply is made in one go, in which no other call
    # gets a turn.
    pattern = _pattern(_names(signature))
    last_end = {tag["name"].lower(): tag.start() for tag in pattern.finditer(reply) if tag["end"]}
    contents: dict[str, str] = {}
    open_name, start, depth = "", 0, 0
    for tag in pattern.finditer(reply):
        name, is_end, is_empty = tag["name"].lower(), bool(tag["end"]), bool(tag["empty"])
        if name == open_name:
            if not is_empty:
                depth += -1 if is_end else 1
            if depth == 0:
                contents[open_name], open_name = reply[start : tag.start()], ""
            continue
        if is_end or last_end.get(open_name, -1) > tag.start():
            continue  # the end of nothing, or a tag within the open output
        if open_name:
            contents[open_name], open_name = reply[start : tag.start()], ""
        if name not in contents:
            open_name, start, depth = ("" if is_empty else name), tag.end(), 1
            contents |= {name: ""} if is_empty else {}
    if open_name:
        contents.setdefault(open_name, reply[start:])
    return contents


def _own_tags(names: list[str]) -> re.Pattern[str]:
    return re.compile(rf"<(/?)({'|'.join(names)})(?=[\s/>])", re.IGNORECASE)


def _names(signature: Signature) -> str:
    return "|".join(re.escape(field.name) for field in signature.outputs)


@functools.lru_cache(maxsize=256)
def _pattern(names: str) -> re.Pattern[str]:
    tag = rf"<(?P<end>/?)\s*(?P<name>{names})(?:\s[^<>]*?)?(?P<empty>/?)>"
    return re.compile(tag, re.IGNORECASE)


def _partial(signature: Signature, text: str) -> dict[str, str]:
    """The texts between tags so far, without an end that more text may change."""
    if may_begin(text) and text.lstrip()[:1] != "<":
        return {}
    reply = _without_thinking(signature, text, whole=False)
    texts = {}
    for name, content in _contents(signature, reply).items():
        is_open = reply.endswith(content)
        shown = _HELD_BACK.sub("", content) if is_open else content
        if shown.strip() and not _CDATA_START.match(shown):
            texts[name] = unescape(trim(shown))
    return texts


_CDATA_START = re.compile(r"\s*<!")

XML = Adapter(
    "xml",
    _form,
    _cue,
    answer=_answer,
    read=_read,
    marks=Marks("<{name}>\n", "\n</{name}>"),
    partial=_partial,
    shipped=True,
)
"""Outputs and inputs between tags, as DSPy's XMLAdapter writes them."""

"""An adapter of the user's: outputs as lines of ``name=value``, JSON escapes in texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import lmflow as lf


def form(signature: Any) -> str:
    """Ask for a line an output."""
    names = ", ".join(field.name for field in signature.outputs)
    return f"Reply with a line name=value, the value as JSON, for each of: {names}."


def answer(_: Any, values: Mapping[str, Any]) -> str:
    """Write a line an output."""
    return "\n".join(f"{name}={json.dumps(_plain(value))}" for name, value in values.items())


def read(signature: Any, text: str, whole: bool) -> lf.Record:  # noqa: FBT001 - the shape of read
    """Read the lines."""
    pairs = (line.partition("=") for line in text.split("\n"))
    texts = {name.strip(): _text(value) for name, equals, value in pairs if equals}
    return lf.read_texts(signature, texts, whole=whole)


def _plain(value: Any) -> Any:
    return lf.Record(x=value).to_dict()["x"]


def _text(value: str) -> str:
    try:
        loaded = json.loads(value)
    except ValueError:
        return value
    return loaded if isinstance(loaded, str) else value


PAIRS = lf.Adapter("pairs", form, answer=answer, read=read)

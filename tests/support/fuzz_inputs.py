"""Strategies for what comes from outside: texts, bytes and JSON values that break careless readers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

texts = st.text(st.characters(), max_size=30)  # lone surrogates too
odd_texts = st.sampled_from(
    [
        "",
        "\ufeff",
        "\ud83d",
        "\x00",
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 5000,
        "[" * 2000,
        '{"a":' * 2000,
        "[" * 300 + "]" * 300,
        '{"a":' * 300 + "1" + "}" * 300,
        "\r",
        "\u2028",
        '"',
        "{",
        "```json\n{",
        "data:image/png;base64,AA",
        "sha256:" + "0" * 64,
    ]
)
hostile_texts = texts | odd_texts | st.lists(texts | odd_texts, max_size=4).map("".join)
hostile_bytes = st.binary(max_size=60) | hostile_texts.map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


def _power(bits: int) -> int:
    """A number of up to 5,000 digits; as a value of a strategy it couldn't be printed."""
    power: int = 2**bits
    return -power if bits % 2 else power


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(17, 17_000).map(_power)
    | st.floats()
    | hostile_texts
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile_texts, inner, max_size=4),
    max_leaves=10,
)
rows = st.lists(st.dictionaries(hostile_texts, json_values, max_size=4) | json_values, max_size=4)


def dumped(value: Any) -> str:
    """A JSON text of a value, with what Python writes of numbers that JSON doesn't have."""
    return json.dumps(_written(value))


def _written(value: Any) -> Any:
    """The value without numbers that Python refuses to write."""
    if isinstance(value, dict):
        return {name: _written(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, int) and abs(value) > 10**4000:
        return 10**4000
    return value


json_texts = json_values.map(dumped) | hostile_texts


@st.composite
def mutations(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one part of it replaced, dropped or put under another name."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        rest = {key: item for key, item in value.items() if key != name}
        match draw(st.sampled_from(["inside", "drop", "rename"])):
            case "drop":
                return rest
            case "rename":
                return {**rest, draw(hostile_texts): value[name]}
        return {**value, name: draw(mutations(value[name]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(mutations(value[place])), *value[place + 1 :]]
    return draw(json_values)

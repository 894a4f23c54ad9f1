"""The laws of the JSON schema of outputs: what fits a type fits its schema, and strict means what
is documented.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_schemas import Size, Tree, fits
from strategies import Pair, typed

from lmflow.signatures.declaration import parse_signature
from lmflow.signatures.fields import Field
from lmflow.signatures.json_schema import is_strict, schema_of
from lmflow.values.record import Record, plain


@attrs.frozen
class Point:
    """A default and a description."""

    x: Annotated[int, Field(ge=0, description="east")]
    y: int = 0


def one(kind: Any, **more: Any) -> Any:
    """The schema of one output of a type, and whether it is strict."""
    schema = json.loads(json.dumps(plain(schema_of((Field(name="a", type=kind, **more),)))))
    return {"schema": schema, "strict": is_strict(schema)}


@given(typed, st.data())
def test_a_value_of_a_type_fits_its_schema(pair: Pair, data: st.DataObject) -> None:
    """The JSON of any value fits the schema of its type."""
    kind, values = pair
    assert fits({"a": plain(data.draw(values))}, one(kind)["schema"])


@given(typed)
def test_only_open_mappings_are_not_strict(pair: Pair) -> None:
    """A schema is strict, unless an object in it may have any keys; then it says so."""
    found = one(pair[0])
    assert found["strict"] is ('"additionalProperties": {' not in json.dumps(found))


@pytest.mark.parametrize(
    ("expected", "kind"),
    [
        ({"type": "string", "enum": ["b", "a"]}, Literal["b", "a"]),
        (
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]},
            Literal["a", 1],
        ),
        ({"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}, Literal["a", None]),  # noqa: PYI061
        ({"type": "string", "enum": ["s", "l"]}, Size),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, int | None),
        (
            {"type": "integer", "minimum": 0, "exclusiveMaximum": 5},
            Annotated[int, Field(ge=0, lt=5)],
        ),
        ({"type": "string", "pattern": "^a$"}, Annotated[str, Field(pattern="^a$")]),
        ({"type": "string"}, Annotated[str, Field(pattern="a", max_length=3)]),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            Annotated[list[str], Field(max_length=2)],
        ),
        (
            {
                "type": "array",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "minItems": 2,
                "maxItems": 2,
            },
            tuple[int, str],
        ),
        (
            {
                "type": "object",
                "properties": {
                    "x": {"type": "integer", "minimum": 0, "description": "east"},
                    "y": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                },
                "required": ["x", "y"],
                "additionalProperties": False,
            },
            Point,
        ),
    ],
)
def test_a_type_has_one_schema(expected: Any, kind: Any) -> None:
    """A type's schema, in the order of the type, without what strict endpoints refuse."""
    found = one(kind)
    assert (expected, True) == (found["schema"]["properties"]["a"], found["strict"])


def test_a_class_that_holds_itself_is_defined_once() -> None:
    """A recursive class is a definition that is referred to."""
    schema = one(Tree)["schema"]
    assert {"$ref": "#/$defs/Tree"} == schema["properties"]["a"]
    assert {"$ref": "#/$defs/Tree"} == schema["$defs"]["Tree"]["properties"]["inside"]["anyOf"][0][
        "items"
    ]


def test_a_described_reference_stands_alone() -> None:
    """No word stands beside a reference, which strict endpoints refuse."""
    found = one(Tree, description="a tree")["schema"]["properties"]["a"]
    assert {"anyOf": [{"$ref": "#/$defs/Tree"}], "description": "a tree"} == found


@pytest.mark.parametrize("kind", [dict[str, int], dict, list[dict[str, str]], Any, list])
def test_what_is_open_is_not_strict(kind: Any) -> None:
    """Open mappings and values of any type are recorded as not strict."""
    assert one(kind)["strict"] is False


def test_the_documented_bounds_are_kept() -> None:
    """More levels, choices or fields than a strict schema may have make it not strict."""
    deep: Any = int
    for _ in range(11):
        deep = list[deep]
    literal: Any = Literal
    many, long = literal[tuple(f"n{number}" for number in range(1001))], literal["x" * 120_001]
    assert [False] * 3 == [one(kind)["strict"] for kind in (deep, many, long)]


def test_an_output_with_a_default_may_be_null() -> None:
    """All outputs are required; null stands for a default."""
    schema = plain(parse_signature("q -> a: int = 3, b").schema)
    assert (["a", "b"], {"anyOf": [{"type": "integer"}, {"type": "null"}]}) == (
        schema["required"],
        schema["properties"]["a"],
    )


def test_the_schema_of_a_signature_is_a_value() -> None:
    """A signature's schema is a record of the object that holds the outputs."""
    found = parse_signature("q -> a").schema
    assert isinstance(found, Record)
    assert ("object", ("a",)) == (found.type, found.required)

"""The laws of schemas that others wrote: any of them gives a signature, whose inputs go back under
their own names.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import BadSignature
from lmflow.interpreter.tools import arguments_of
from lmflow.programs.factories import tool
from lmflow.signatures.fields import Field, type_text
from lmflow.signatures.from_json_schema import import_schema, valid_names
from lmflow.signatures.signature import Signature
from lmflow.values.record import plain

OUT = (Field(name="result", type=Any),)


def kind(told: dict[str, Any], *, required: bool = True) -> str:
    """The type of a property."""
    schema = {"properties": {"x": told}, "required": ["x"] if required else []}
    return str(Signature(import_schema(schema).fields, OUT)).removesuffix(" -> result: Any")


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"type": "string"}, "x"),
        ({"type": "integer", "minimum": 1}, "x: int"),
        ({"type": "number"}, "x: float"),
        ({"type": "boolean"}, "x: bool"),
        ({"type": "array", "items": {"type": "integer"}}, "x: list[int]"),
        ({"type": "array"}, "x: list[Any]"),
        ({"type": "object", "properties": {"y": {"type": "string"}}}, "x: dict[str, Any]"),
        ({"enum": ["a", "b"]}, "x: Literal['a', 'b']"),
        ({"const": 3}, "x: Literal[3]"),
        ({"enum": [{"a": 1}]}, "x: Any"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x: int | None"),
        ({"type": ["string", "null"]}, "x: str | None"),
        ({"oneOf": [{"type": "string"}, {"$ref": "#/$defs/Y"}]}, "x: Any"),
        ({"$ref": "#/$defs/Y"}, "x: Any"),
        ({}, "x: Any"),
    ],
)
def test_types_go_as_far_as_they_can_be_said(told: dict[str, Any], text: str) -> None:
    """A schema's type is the nearest one of a signature; what can't be said is left to its owner."""
    assert text == kind(told)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"type": "integer", "default": 3}, "x: int = 3"),
        ({"type": "integer"}, "x: int | None = null"),
        ({"type": "integer", "default": "three"}, "x: int | None = null"),
        ({"type": "integer", "default": None}, "x: int | None = null"),
    ],
)
def test_what_is_not_required_may_be_left_out(told: dict[str, Any], text: str) -> None:
    """It has its default where that fits its type, else null, which means that it isn't sent."""
    assert text == kind(told, required=False)


def test_inputs_go_back_under_their_own_names() -> None:
    """Names are made lmflow's in the signature and in the schema that a model is told; the owner
    gets its own.
    """
    schema = {
        "properties": {
            "maxResults": {"type": "integer"},
            "class": {"type": "string"},
            "a-b": {},
            "a.b": {},
        },
        "required": ["maxResults"],
        "additionalProperties": False,
    }
    found = import_schema(schema)
    assert ["max_results", "class_", "a_b", "a_b_2"] == [field.name for field in found.fields]
    assert ["max_results", "class_", "a_b", "a_b_2"] == list(plain(found.schema)["properties"])
    assert (["max_results"], False) == (
        plain(found.schema)["required"],
        found.schema.additionalProperties,
    )
    inputs = {"max_results": 1, "class_": None, "a_b": 2, "a_b_2": 3}
    assert {"maxResults": 1, "a-b": 2, "a.b": 3} == found.owned(inputs)


@pytest.mark.parametrize(
    "schema", [{}, {"type": "object"}, {"properties": None}, {"properties": {}, "required": None}]
)
def test_a_tool_may_take_nothing(schema: dict[str, Any]) -> None:
    """A schema without properties has no fields."""
    assert () == import_schema(schema).fields


@given(st.lists(st.text(max_size=8), unique=True, max_size=8))
def test_names_are_taken_and_apart(names: list[str]) -> None:
    """Any names become names that a signature takes, as many, no two the same."""
    found = valid_names(names)
    assert len(names) == len(set(found))
    _ = Signature(tuple(Field(name=name) for name in found), (Field(name="result_of_it"),))


schemas = st.recursive(
    st.sampled_from(
        [{"type": name} for name in ("string", "integer", "number", "boolean", "null", "odd")]
    )
    | st.builds(
        lambda values: {"enum": values},
        st.lists(st.text(max_size=3) | st.integers() | st.booleans(), min_size=1),
    ),
    lambda inner: (
        st.builds(lambda item: {"type": "array", "items": item}, inner)
        | st.builds(lambda items: {"anyOf": items}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (True, "x: Any"),
        ({"anyOf": [True, {"type": "null"}]}, "x: Any"),
        ({"anyOf": [False, {"type": "integer"}]}, "x: int"),
        ({"$ref": "#/$defs/Name"}, "x"),
        ({"$ref": "#/$defs/Tree"}, "x: dict[str, Any]"),
        ({"$ref": "#/$defs/Loop"}, "x: Any"),
        ({"allOf": [{"$ref": "#/$defs/Name"}, {"minLength": 1}]}, "x"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "x: dict[str, int]"),
        ({"type": ["integer", "null"]}, "x: int | None"),
        ({"enum": ["a", 1, None]}, "x: Literal['a', 1, None]"),
        ({"enum": [1.5, "a"]}, "x: Any"),
        ({"const": None}, "x: Literal[None]"),
        ({"properties": {"y": {}}}, "x: dict[str, Any]"),
        ({"type": "array", "items": True}, "x: list[Any]"),
    ],
)
def test_any_legal_schema_is_a_type(told: Any, text: str) -> None:
    """References are followed, `true` takes any value, and what isn't a type here is `Any`."""
    defs = {
        "Name": {"type": "string"},
        "Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}},
        "Loop": {"$ref": "#/$defs/Loop"},
    }
    schema = {"$defs": defs, "properties": {"x": told}, "required": ["x"]}
    assert f"{text} -> result: Any" == str(Signature(import_schema(schema).fields, OUT))


Q = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
N = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"$defs": {"Q": Q}, "$ref": "#/$defs/Q"}, "q"),
        ({"allOf": [Q, N]}, "q, n: int | None = null"),
        ({"anyOf": [Q, {"type": "null"}]}, "q"),
        ({"oneOf": [Q, N]}, "q: str | None = null, n: int | None = null"),
        ({**N, "allOf": [{"required": ["n"]}]}, "n: int"),
        ({"type": "object", "additionalProperties": True}, "arguments: dict[str, Any] = {}"),
        ({"properties": {"q": False, "n": {"type": "integer"}}}, "n: int | None = null"),
        (True, ""),
    ],
)
def test_the_root_may_be_any_schema_of_an_object(schema: Any, text: str) -> None:
    """References, alternatives and open objects at the root become fields."""
    assert (
        f"{text} -> result: Any".strip()
        == str(Signature(import_schema(schema).fields, OUT)).strip()
    )


def test_an_open_object_takes_any_arguments() -> None:
    """A tool that names no arguments and takes all gets those of its one input, by their names."""
    imported = import_schema({"type": "object", "additionalProperties": {"type": "string"}})
    assert {"a": "1"} == imported.owned({"arguments": {"a": "1"}})
    assert {} == imported.owned({"arguments": {}})


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (False, "no object fits"),
        (3, "no object fits"),
        ({"type": "string"}, "its type is 'string'"),
        ({"$ref": "#/$defs/Q"}, "#/$defs/Q"),
        ({"$ref": "https://example.org/q.json"}, "https://example.org/q.json"),
        ({"$ref": "#"}, "refers to itself"),
        ({"properties": {"q": False}, "required": ["q"]}, "no value fits it"),
        ({"properties": ["q"]}, "properties"),
    ],
)
def test_what_is_no_object_is_refused_by_its_name(schema: Any, words: str) -> None:
    """A schema that no arguments fit says which part of it is at fault."""
    with pytest.raises(BadSignature, match=re.escape(words)):
        import_schema(schema)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), schemas),
    st.sets(st.sampled_from(["a", "b", "c"])),
)
def test_any_schema_gives_a_signature(properties: dict[str, Any], required: set[str]) -> None:
    """Whatever types a schema combines, its fields make a signature; optional ones that are left
    out aren't sent.
    """
    found = import_schema(
        {"properties": properties, "required": sorted(required & properties.keys())}
    )
    signature = Signature(found.fields, OUT)
    assert set(found.names) == {field.name for field in signature.inputs}
    optional = {field.name: field.default for field in signature.inputs if not field.required}
    assert {} == found.owned(dict.fromkeys(optional))
    assert all(type_text(field.type) for field in signature.inputs)


def test_models_arguments_are_read_by_it() -> None:
    """A tool with such a signature takes what a model writes, laxly."""
    fields = import_schema({"properties": {"n": {"type": "integer"}}, "required": ["n"]}).fields
    made = tool("x", Signature(fields, OUT), lambda n: n, version="1")
    assert {"n": 3} == dict(arguments_of(made.signature, {"n": "3"}))


@pytest.mark.parametrize("keyword", ["allOf", "anyOf"])
def test_references_that_multiply_end_soon(keyword: str) -> None:
    """Definitions that refer to each other twice are refused, or any value, not followed for ever."""
    names = [f"#/$defs/{n}" for n in range(40)]
    inner = {str(n): {keyword: [{"$ref": name}] * 2} for n, name in enumerate(names[1:])}
    definitions = {**inner, "39": {"type": "object", "properties": {"q": {"type": "string"}}}}
    with pytest.raises(BadSignature, match="1000 references"):
        import_schema({"$defs": definitions, "$ref": names[0]})
    fields = import_schema({"$defs": definitions, "properties": {"x": {"$ref": names[0]}}}).fields
    assert [Any] == [field.type for field in fields]

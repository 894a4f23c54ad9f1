"""The laws of the OpenAPI document: a server's schemas are its signatures', and what fits them is
taken.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_schemas import Size, Tree, fits
from serving import ANSWER, Client, served
from strategies import Pair, fields, typed

import lmflow as lf
from lmflow.errors import WrongType
from lmflow.serve.openapi import curl, document, inputs_of, outputs_of, sample
from lmflow.signatures.fields import REQUIRED, Field
from lmflow.signatures.json_schema import schema_of
from lmflow.signatures.signature import Signature
from lmflow.values.record import plain


@attrs.frozen
class Order:
    """A class with a default."""

    item: str
    count: Annotated[int, Field(ge=1, le=9)] = 1


ORDER = lf.predict(
    "order",
    Signature(
        (
            Field(name="order", type=Order, description="what to bring"),
            Field(name="size", type=Size),
            Field(name="note", type=str, default="none", max_length=20),
            Field(name="tags", type=dict[str, int], default={}, max_length=3),
        ),
        (Field(name="tree", type=Tree), Field(name="price", type=float | None, default=None)),
    ),
)


def references(node: Any) -> list[str]:
    """Every reference in a document."""
    if isinstance(node, Mapping):
        return (
            [node["$ref"], *[]]
            if "$ref" in node
            else [ref for part in node.values() for ref in references(part)]
        )
    return [ref for part in node for ref in references(part)] if isinstance(node, list) else []


def test_what_may_be_left_out_is_not_required() -> None:
    """Of inputs only those without default are required, in classes too; their defaults and all
    limits are told.
    """
    assert {
        "type": "object",
        "properties": {
            "order": {
                "type": "object",
                "properties": {
                    "item": {"type": "string"},
                    "count": {"type": "integer", "minimum": 1, "maximum": 9},
                },
                "required": ["item"],
                "additionalProperties": False,
                "description": "what to bring",
            },
            "size": {"type": "string", "enum": ["s", "l"]},
            "note": {"type": "string", "maxLength": 20, "default": "none"},
            "tags": {
                "type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3, "default": {},
            },
        },
        "required": ["order", "size"],
        "additionalProperties": False,
    } == inputs_of(ORDER)  # fmt: skip


def test_what_is_given_is_whole() -> None:
    """Of outputs all are required; null is allowed only where the type says so."""
    schema = outputs_of(lf.predict("a", "q -> n: int = 3, m: int | None = None"))
    assert (["n", "m"], {"type": "integer"}) == (schema["required"], schema["properties"]["n"])
    assert {"anyOf": [{"type": "integer"}, {"type": "null"}]} == schema["properties"]["m"]


@given(typed, st.data())
def test_a_value_of_a_type_fits_both_schemas(pair: Pair, data: st.DataObject) -> None:
    """The JSON of any value fits the schema of what is taken and of what is given."""
    kind, values = pair
    fields = (Field(name="a", type=kind),)
    value = {"a": plain(data.draw(values))}
    taken, given_ = (plain(schema_of(fields, side)) for side in ("taken", "given"))
    assert fits(value, taken)
    assert fits(value, given_)
    Signature(fields, (Field(name="b"),)).bind("x", value)


@given(fields(st.just(REQUIRED)))
def test_a_sample_of_inputs_is_taken(field: Field) -> None:
    """What is shown as an example is what the program takes."""
    program = lf.predict("step", Signature((field,), (Field(name="made_up_output"),)))
    program(**sample(inputs_of(program)))


@pytest.mark.parametrize(
    ("expected", "kind"),
    [
        ("...", str), (1, int), (3, Annotated[int, Field(ge=3)]), (4, Annotated[int, Field(gt=3)]), (True, bool),
        ("s", Size), (["..."], list[str]), ([1, 1], Annotated[list[int], Field(min_length=2)]),
        ({"item": "..."}, Order), ({"name": "..."}, Tree), ("b", Literal["b", "a"]), (1, int | None), ({}, dict),
    ],
)  # fmt: skip
def test_a_sample_shows_the_type(expected: Any, kind: Any) -> None:
    """An example of a type is the least that it takes."""
    assert {"a": expected} == sample(plain(schema_of((Field(name="a", type=kind),), "taken")))


def test_every_reference_leads_somewhere() -> None:
    """A recursive class is a schema of the document, and every reference is to one that there is."""
    found = document({"order": ORDER, "answer": ANSWER})
    assert "order.Outputs.Tree" in found["components"]["schemas"]
    for ref in references(found):
        assert ref.removeprefix("#/components/schemas/") in found["components"]["schemas"]


def test_one_program_is_at_run_and_several_under_their_names() -> None:
    """Paths are those that the server has."""
    assert ["/run", "/healthz"] == list(document({"answer": ANSWER})["paths"])
    assert ["/run/order", "/run/answer", "/healthz"] == list(
        document({"order": ORDER, "answer": ANSWER})["paths"]
    )


def test_the_version_of_the_document_changes_with_the_programs() -> None:
    """Another program is another version of the document; the same one is the same."""
    first, again, other = (document({"a": p})["info"]["version"] for p in (ANSWER, ANSWER, ORDER))
    assert (True, False) == (first == again, first == other)


def test_it_is_valid_by_the_schema_of_schemas() -> None:
    """Each schema is one by JSON Schema 2020-12, which OpenAPI 3.1 takes."""
    jsonschema = pytest.importorskip("jsonschema", reason="comes with the extra mcp")
    for schema in document({"order": ORDER, "answer": ANSWER})["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@given(typed, st.data())
def test_what_does_not_fit_is_refused(pair: Pair, data: st.DataObject) -> None:
    """A JSON value that a validator refuses by the schema, the program refuses too, but for limits
    of formats.
    """
    jsonschema = pytest.importorskip("jsonschema", reason="comes with the extra mcp")
    signature = Signature((Field(name="a", type=pair[0]),), (Field(name="b"),))
    scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
    value: Any = data.draw(scalars | st.builds(list) | st.builds(dict))
    valid = jsonschema.Draft202012Validator(plain(schema_of(signature.inputs, "taken"))).is_valid(
        {"a": value}
    )
    try:
        signature.bind("x", {"a": value})
    except WrongType:
        return
    assert valid


def test_the_line_that_asks_is_one_of_a_shell() -> None:
    """Quotes in examples are escaped, and the token is named, not told."""
    program = lf.predict(
        "a", Signature((Field(name="q", type=Literal["it's"]),), (Field(name="b"),))
    )
    words = shlex.split(curl(program, "http://127.0.0.1:1/run", "TOKEN"))
    assert {"q": "it's"} == json.loads(words[words.index("-d") + 1])
    assert "Authorization: Bearer $TOKEN" in words


async def test_the_server_answers_by_its_own_document() -> None:
    """The document is served, and what it says of inputs and outputs holds for a request."""
    jsonschema = pytest.importorskip("jsonschema", reason="comes with the extra mcp")
    reply = '{"tree": {"name": "oak", "inside": [{"name": "nut", "inside": []}]}, "price": null}'
    step = attrs.evolve(ORDER, adapter="json")
    async with (
        lf.Executor(lf.scripted(lambda _: reply)) as ex,
        served(lf.serve.app(step, ex)) as client,
    ):
        found: dict[str, Any] = (await client.get("/openapi.json")).json
        got = await ordered(client, found)
    assert REQUIRED not in found.values()
    root = {"$ref": "#/components/schemas/order.Answer", "components": found["components"]}
    jsonschema.Draft202012Validator(root).validate(got)


async def ordered(client: Client, found: Mapping[str, Any]) -> Any:
    """The answer to the sample of the document's inputs."""
    got = await client.ask(sample(found["components"]["schemas"]["order.Inputs"]))
    assert 200 == got.status, got.text
    return got.json

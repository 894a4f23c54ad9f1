"""The laws of signatures: reading, writing, binding."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

import attrs
import pytest
from hypothesis import given
from strategies import signatures, texts

from lmflow.errors import BadSignature, MissingInput, UnknownInput, WrongType
from lmflow.signatures.declaration import from_function, parse_signature, signature_of
from lmflow.signatures.fields import REQUIRED, Field
from lmflow.signatures.signature import Signature, first_missing
from lmflow.values.record import Record


@attrs.frozen
class Point:
    """A type given by name."""

    x: int
    y: int = 0


class Both(TypedDict):
    """Two outputs."""

    label: str
    score: float


def annotated(question: str, n: int = 3) -> str:
    """Ask."""
    return question * n


def described(
    query: Annotated[str, Field(description="one query")], note: Annotated[str, "a note"] = ""
) -> Both:
    """Ask for two."""
    return {"label": query + note, "score": 0.0}


def no_result(question: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Ask."""
    return question


def no_type(question) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Ask."""
    return str(question)


def starred(*question: str) -> str:
    """Ask."""
    return question[0]


@given(signatures)
def test_a_signature_reads_what_it_writes(signature: Signature) -> None:
    """Reading a signature's text gives the signature."""
    assert signature == parse_signature(str(signature))


@given(signatures)
def test_a_signature_pickles(signature: Signature) -> None:
    """A pickled signature is equal, and its required fields stay required."""
    again = pickle.loads(pickle.dumps(signature))  # noqa: S301
    assert (signature, signature.identity) == (again, again.identity)


@given(texts)
def test_any_text_is_read_or_refused(text: str) -> None:
    """A text is a signature, or refused by a BadSignature."""
    with contextlib.suppress(BadSignature):
        assert parse_signature(text).outputs


def test_fields_have_types_and_defaults() -> None:
    """Types and defaults stand in the text; the type is str where it isn't said."""
    assert Signature(
        (Field(name="question"), Field(name="n", type=int, default=3)),
        (Field(name="label", type=Literal["a", "b"]), Field(name="why")),
    ) == parse_signature("question, n: int = 3 -> label: Literal['a', 'b'], why")


def test_an_arrow_in_a_literal_is_no_border() -> None:
    """The arrow between the sides is the one outside of texts."""
    assert Literal["a->b"] == parse_signature("x: Literal['a->b'] -> y").inputs[0].type


def test_types_are_looked_up_by_name() -> None:
    """A type that isn't built in is given by name."""
    assert list[Point] == parse_signature("xs: list[Point] -> y", {"Point": Point}).inputs[0].type


def test_annotated_text_is_a_description() -> None:
    """Annotated with a text describes the field."""
    assert (
        Field(name="y", description="a word")
        == parse_signature("x -> y: Annotated[str, 'a word']").outputs[0]
    )


def test_descriptions_are_no_part_of_the_identity() -> None:
    """Two signatures that differ in descriptions have one identity."""
    assert (
        parse_signature("x -> y").identity
        == parse_signature("x -> y: Annotated[str, 'a word']").identity
    )


def test_defaults_are_part_of_the_identity() -> None:
    """1, 1.0 and True as defaults have three identities."""
    assert 3 == len(
        {str(parse_signature(f"x = {default} -> y").identity) for default in ("1", "1.0", "True")}
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("question, answer", "no '->'"),
        ("question ->", "no outputs"),
        ("a b -> c", "can't be read"),
        ("a, a -> b", "'a' appears twice"),
        ("a -> b, b", "'b' appears twice"),
        ("A -> b", "'A' can't be a field name"),
        ("items -> b", "'items' can't be a field name"),
        ("a -> digest", "'digest' can't be a field name"),
        ("class -> b", "can't be read"),
        ("a: Strin -> b", "the type 'Strin', which isn't known"),
        ("a: list[strr] -> b", "the type 'strr', which isn't known"),
        ("a: os.system -> b", "which isn't known"),
        ("a: print() -> b", "which isn't known"),
        ("a = f() -> b", "no literal"),
        ("*a -> b", "can't be read"),
        ("a, **b -> c", "only names, types and defaults"),
        ("a -> b -> c", "can't be read"),
    ],
)
def test_a_malformed_signature_is_refused(text: str, problem: str) -> None:
    """Each malformed thing is refused by a sentence that names it."""
    with pytest.raises(BadSignature) as caught:
        parse_signature(text)
    assert problem in str(caught.value)


def test_a_near_type_is_suggested() -> None:
    """An unknown type names the near one."""
    with pytest.raises(BadSignature, match="Did you mean 'float'"):
        parse_signature("a: flot -> b")


def test_an_unknown_type_names_the_way_to_give_it() -> None:
    """A type that nothing is near to is asked for by name."""
    with pytest.raises(BadSignature, match=r"types=\{'Quux': Quux\}"):
        parse_signature("a: Quux -> b")


def test_an_annotated_function_is_a_signature() -> None:
    """Parameters are inputs, the result is an output named as the function."""
    assert parse_signature("question, n: int = 3 -> annotated") == from_function(annotated)


def test_a_typed_dict_is_several_outputs() -> None:
    """A TypedDict as result gives one output a key; Field and text describe parameters."""
    signature = from_function(described)
    assert 'query, note = "" -> label, score: float' == str(signature)
    assert ["one query", "a note"] == [field.description for field in signature.inputs]


@pytest.mark.parametrize("function", [no_result, no_type, starred])
def test_a_function_without_types_is_refused(function: Callable[..., Any]) -> None:
    """Parameters and result need annotations."""
    with pytest.raises(BadSignature):
        from_function(function)


def test_a_signature_is_itself() -> None:
    """A signature stands for itself, a text for what it says, a function for its annotations."""
    signature = parse_signature("question, n: int = 3 -> annotated")
    assert [signature] * 3 == [
        signature_of(source) for source in (signature, str(signature), annotated)
    ]


def test_binding_fills_defaults_in() -> None:
    """Inputs that aren't given take their defaults."""
    assert Record(x="a", n=3) == parse_signature("x, n: int = 3 -> y").bind("step", {"x": "a"})


def test_binding_makes_values_immutable() -> None:
    """A list input is bound as a tuple."""
    assert ("a",) == parse_signature("xs: list[str] -> y").bind("step", {"xs": ["a"]}).xs


def test_a_missing_input_names_the_near_one() -> None:
    """An input that isn't given is named, as are those that are."""
    with pytest.raises(MissingInput, match="step needs the input 'b'; given: `a`"):
        parse_signature("a, b -> c").bind("step", {"a": ""})


def test_an_unknown_input_names_the_near_one() -> None:
    """An input that the signature lacks is refused, with the near one."""
    with pytest.raises(UnknownInput, match=r"no input 'questoin'.*Did you mean 'question'"):
        parse_signature("question -> c").bind("step", {"questoin": ""})


@pytest.mark.parametrize(
    ("kind", "value"), [("int", "3"), ("int", True), ("str", 3), ("list[str]", [1]), ("str", None)]
)
def test_a_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    """Inputs are not coerced: a value that doesn't fit is named, with its field and type."""
    with pytest.raises(WrongType) as caught:
        parse_signature(f"x: {kind} -> y").bind("step", {"x": value})
    assert ("step.x", kind) == (caught.value.where, caught.value.expected)


def test_a_live_object_is_no_input() -> None:
    """A value without canonical form doesn't fit any type."""
    with pytest.raises(WrongType):
        parse_signature("x: dict -> y").bind("step", {"x": object()})


def test_one_output_may_be_a_bare_value() -> None:
    """The result of a function with one output is its value, or a mapping that holds it."""
    signature = parse_signature("x -> n: int")
    assert Record(n=3) == signature.outcome("f", 3) == signature.outcome("f", {"n": 3})


def test_several_outputs_are_a_mapping() -> None:
    """The result of a function with several outputs must be a mapping of all."""
    signature = parse_signature("x -> a, b")
    with pytest.raises(WrongType, match="a mapping with a, b"):
        signature.outcome("f", "text")
    with pytest.raises(MissingInput, match="'b'"):
        signature.outcome("f", {"a": "text"})


def test_prepending_puts_an_output_first() -> None:
    """A prepended output stands before the others, the inputs stay."""
    assert parse_signature("x -> why, y") == parse_signature("x -> y").prepending(Field(name="why"))


def test_the_first_missing_field_has_no_default() -> None:
    """Only fields without default can be missing."""
    fields = parse_signature("a = 1, b, c -> d").inputs
    assert ("b", "c", None) == tuple(
        first_missing(fields, given) for given in ((), ("b",), ("b", "c"))
    )


def test_required_survives_pickling() -> None:
    """The mark of a required field is one object."""
    assert pickle.loads(pickle.dumps(REQUIRED)) is REQUIRED  # noqa: S301


LIMITED = 'q -> n: Annotated[int, Field(ge=0, le=5)], w: Annotated[str, Field(pattern="^a", max_length=3)]'


def test_limits_are_read_and_written() -> None:
    """Limits stand in a signature's text, are part of its identity, and are read back."""
    signature = parse_signature(LIMITED)
    assert signature == parse_signature(str(signature))
    assert signature.identity != parse_signature("q -> n: int, w").identity


def test_limits_on_a_field_are_limits_of_its_type() -> None:
    """A field with limits and one whose type has them are one."""
    inline = Signature((), (Field(name="n", type=int, ge=0, description="stars"),))
    annotated_too = Signature(
        (), (Field(name="n", type=Annotated[int, Field(ge=0, description="stars")]),)
    )
    assert inline == annotated_too


def test_limits_are_checked_where_inputs_are_bound() -> None:
    """An input beyond a limit is a WrongType that names the limit."""
    with pytest.raises(WrongType, match="<= 5"):
        parse_signature("n: Annotated[int, Field(le=5)] -> y").bind("step", {"n": 6})


def test_only_literal_limits_are_read() -> None:
    """Annotated takes a text or Field with literal limits, nothing else."""
    for extra in ("Field(name='x')", "Other(ge=0)", "Field(0)"):
        with pytest.raises(BadSignature, match="isn't known"):
            parse_signature(f"q -> n: Annotated[int, {extra}]")


def test_stored_values_are_typed_again() -> None:
    """JSON that was stored becomes values of the types again; fields that the signature lacks stay."""
    signature = parse_signature("p: Point -> q: list[Point]", {"Point": Point})
    stored = {"p": {"x": 1, "y": 0}, "q": [{"x": 2}], "note": "n"}
    assert Record(p=Point(1), q=(Point(2),), note="n") == signature.typed(stored)
    assert isinstance(signature.typed(stored).q[0], Point)


def test_a_type_that_cannot_be_said_is_refused() -> None:
    """A field of a type without JSON is a BadSignature that names the field."""
    with pytest.raises(BadSignature, match=r"'x'.*object can't be said in JSON"):
        Signature((Field(name="x", type=object),), (Field(name="y"),))


def test_a_type_with_one_argument_is_read() -> None:
    """`Optional` takes one, not a tuple of one."""
    assert parse_signature("n: Optional[int] = None -> a") == parse_signature(
        "n: int | None = None -> a"
    )

"""The laws of people's classes as types: aliases, defaults, nesting, fresh objects."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Annotated, Any, NamedTuple, NotRequired, Optional, TypedDict

import attrs
import msgspec
import pydantic
import pytest

import lmflow as lf
from lmflow.errors import BadSignature, WrongType
from lmflow.signatures.codec import convert
from lmflow.signatures.parsing import fit
from lmflow.values.record import Record, plain


class Item(pydantic.BaseModel):
    """A mutable model within a model."""

    name: str
    tags: list[str] = pydantic.Field(default_factory=list)
    raw: Any = None


class Invoice(pydantic.BaseModel):
    """A mutable model with aliases of every kind."""

    model_config = pydantic.ConfigDict(populate_by_name=True)
    number: str = pydantic.Field(alias="invoiceNo", description="as printed")
    items: list[Item] = []
    note: Optional[str] = pydantic.Field(  # noqa: UP045 - people write it so
        None,
        validation_alias=pydantic.AliasChoices("remark", "comment"),
        serialization_alias="noteOut",
    )
    total: float = pydantic.Field(0.0, serialization_alias="sum")
    first: int = pydantic.Field(0, validation_alias=pydantic.AliasPath("numbers", 0))


class Open(pydantic.BaseModel):
    """A model that keeps members without a field."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True)
    x: int


class Color(enum.Enum):
    """A choice."""

    RED = "red"


@dataclasses.dataclass
class Line:
    """A dataclass with a factory and a field of its own making."""

    text: str
    words: list[str] = dataclasses.field(default_factory=list)
    count: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.count = len(self.words)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A frozen dataclass of mutable ones."""

    lines: list[Line]
    color: Color = Color.RED
    notes: dict[str, set[int]] = dataclasses.field(default_factory=dict)


class Place(NamedTuple):
    """A named tuple with a default."""

    x: int
    labels: list[str] = []  # noqa: RUF012 - the field of a named tuple


class Keys(TypedDict):
    """A key that may be left out."""

    a: int
    lines: NotRequired[list[Line]]


@attrs.define
class Defined:
    """A mutable attrs class with a private field."""

    xs: list[int]
    _y: int = 3


class Struct(msgspec.Struct):
    """A mutable struct."""

    xs: list[Place]


@dataclasses.dataclass
class Seeded:
    """A parameter that no object keeps."""

    x: int
    seed: dataclasses.InitVar[int]


VALUES: list[tuple[Any, Any, Any]] = [
    (
        Invoice,
        Invoice.model_validate(
            {"number": "7", "items": [Item(name="a", tags=["b"])], "remark": "hi", "total": 2.5}
        ),
        {
            "invoiceNo": "7",
            "items": [{"name": "a", "tags": ["b"], "raw": None}],
            "remark": "hi",
            "sum": 2.5,
            "first": 0,
        },
    ),
    (Open, Open.model_validate({"x": 1, "more": [1]}), {"x": 1, "more": [1]}),
    (Line, Line("a", ["b"]), {"text": "a", "words": ["b"]}),
    (
        Page,
        Page(lines=[Line("a")], notes={"k": {2, 1}}),
        {"lines": [{"text": "a", "words": []}], "color": "red", "notes": {"k": [1, 2]}},
    ),
    (Place, Place(1, ["a"]), {"x": 1, "labels": ["a"]}),
    (Defined, Defined([1]), {"xs": [1], "_y": 3}),
    (Struct, Struct([Place(1)]), {"xs": [{"x": 1, "labels": []}]}),
    (Page | None, None, None),
    (list[Place], (Place(1),), [{"x": 1, "labels": []}]),
]
every = pytest.mark.parametrize(("kind", "value", "form"), VALUES)


@every
def test_an_object_is_read_back_from_its_json(kind: Any, value: Any, form: Any) -> None:
    """What is stored of an object is its fields by their names in JSON, from which it is built."""
    assert form == json.loads(json.dumps(plain(value)))
    again = convert(form, kind)
    assert (value, type(value)) == (again, type(again))
    assert value == convert(value, kind)


@every
def test_the_schema_has_the_names_of_the_json(kind: Any, value: Any, form: Any) -> None:
    """A model is asked for the names under which an object is stored and read."""
    signature = lf.predict("p", "q -> a: Kind", types={"Kind": kind}).signature
    shown = f"{signature.sketch} {plain(signature.schema)}"
    names = form if isinstance(form, dict) else {}
    assert [] == [name for name in names if name != "more" and f'"{name}"' not in signature.sketch]
    assert shown == f"{signature.sketch} {plain(signature.schema)}"
    assert value == signature.outcome("p", {"a": value}).a


@pytest.mark.parametrize(
    "form",
    [
        {"invoiceNo": "7", "remark": "hi"},
        {"number": "7", "note": "hi"},
        {"number": "7", "comment": "hi"},
        {"invoiceNo": "7", "noteOut": "hi"},
    ],
)
def test_a_field_is_read_by_each_of_its_names(form: Any) -> None:
    """The field's name and all its aliases are read, in replies and from callers."""
    invoice = Invoice.model_validate({"number": "7", "remark": "hi"})
    assert invoice == convert(form, Invoice) == fit(form, Invoice)


def test_a_name_beside_its_alias_is_refused() -> None:
    """Of two values for one field none is dropped in silence."""
    with pytest.raises(ValueError, match="has no field 'number'"):
        convert({"invoiceNo": "1", "number": "2"}, Invoice)


def test_lists_within_people_s_classes_are_lists() -> None:
    """An object has the containers that its class says: lists, dicts and sets."""
    page = convert({"lines": [], "notes": {"k": [1]}}, Page)
    kinds = [type(page.lines), type(page.notes), type(page.notes["k"])]
    assert [list, dict, set] == kinds
    assert isinstance(convert({"x": 1, "labels": ["a"]}, Place).labels, list)


def test_a_typed_dict_is_a_record_of_objects() -> None:
    """A TypedDict alone is a record, whose objects are fresh each time."""
    keys = convert({"a": 1, "lines": [{"text": "b"}]}, Keys)
    keys.lines[0].text = "changed"
    assert (Record, Line("b")) == (type(keys), keys.lines[0])


def test_a_named_tuple_may_be_a_list() -> None:
    """A list of all its fields, as older recordings hold it, is a named tuple too."""
    assert Place(1, ["a"]) == convert([1, ["a"]], Place)


@pytest.mark.parametrize(
    ("kind", "place"), [(Seeded, "Seeded.seed is an InitVar"), (list[Seeded], "'a[]'")]
)
def test_a_class_that_cannot_be_built_again_is_refused(kind: Any, place: str) -> None:
    """A field that no object keeps is named when the program is made."""
    with pytest.raises(BadSignature) as caught:
        lf.predict("p", "q -> a: Kind", types={"Kind": kind})
    assert place in str(caught.value)


def test_what_cannot_be_carried_is_refused_by_its_path() -> None:
    """Before anything is sent, and by the names that lead there."""
    step = lf.predict("p", "invoice: Invoice -> a", types={"Invoice": Invoice})
    items = [Item(name="a"), Item(name="b"), Item(name="c", raw=object())]
    with pytest.raises(WrongType, match=r"^p\.invoice\.items\[2\]\.raw expects .* found a object"):
        step(invoice=Invoice.model_validate({"number": "7", "items": items}))


async def test_neither_a_trace_nor_a_step_sees_a_change() -> None:
    """What a caller, a tool or a flow changes after passing it on, or in what it got, is its own."""
    seen: list[list[str]] = []

    @lf.tool
    def spoil(page: Page) -> Page:
        page.lines.append(Line("by the tool"))
        return page

    @lf.flow("page: Page -> page: Page, count: int", uses=[spoil], types={"Page": Page})
    async def twice(page: Page) -> Any:
        first = await spoil(page=page)
        page.lines.append(Line("by the flow"))
        first.spoil.lines.append(Line("by the flow"))
        second = await spoil(page=first.spoil)
        seen.append([line.text for line in second.spoil.lines])
        return {"page": second.spoil, "count": len(first.spoil.lines)}

    page = Page(lines=[])
    async with lf.Executor(lf.scripted([])) as ex:
        trace = await ex.run(twice, page=page)
    page.lines.append(Line("by the caller"))
    outputs = trace.outputs
    assert outputs is not None
    outputs.page.lines.clear()
    assert ([["by the tool", "by the tool"]], 2) == (seen, len(outputs.page.lines))
    assert (1, trace.root) == (outputs.count, lf.replay(trace, twice).root)
    assert [] == trace.inputs.page.lines


class Doubling(pydantic.BaseModel):
    """A model whose validator changes what it has changed."""

    n: int

    @pydantic.field_validator("n")
    @classmethod
    def doubled(cls, n: int) -> int:
        """Change the value at each construction."""
        return n * 2


@dataclasses.dataclass
class Counting:
    """A dataclass that counts its constructions."""

    n: int

    def __post_init__(self) -> None:
        """Change the value at each construction."""
        self.n += 1


class Stamped(pydantic.BaseModel):
    """A model whose default differs from object to object, and whose validator is repeatable."""

    name: str
    number: int = pydantic.Field(default_factory=iter(range(100)).__next__)

    @pydantic.field_validator("name")
    @classmethod
    def trimmed(cls, name: str) -> str:
        """Leave a trimmed value as it is."""
        return name.strip()


def _next(n: int) -> int:
    return n + 1


@attrs.define
class Converting:
    """An attrs class whose converter changes what it has changed."""

    n: int = attrs.field(converter=_next)


class Initialized(pydantic.BaseModel):
    """A model that counts its constructions."""

    n: int

    def model_post_init(self, _: Any) -> None:
        """Change the value at each construction."""
        self.n += 1


class Annotating(pydantic.BaseModel):
    """A model with a validator within an annotation."""

    n: Annotated[int, pydantic.AfterValidator(lambda n: n + 1)]


class Early(pydantic.BaseModel):
    """A model of one that is defined after it."""

    later: Later | None = None


class Later(pydantic.BaseModel):
    """The model that the one before it names."""

    n: int


@pytest.mark.parametrize("kind", [Doubling, Counting, Converting, Initialized, Annotating])
def test_an_object_that_changes_at_each_construction_is_refused(kind: Any) -> None:
    """A class whose objects can't be built again is refused by name: a replay would differ."""
    with pytest.raises(BadSignature, match=f"'{kind.__name__}': n changes each time"):
        convert({"n": 3}, kind)


def test_repeatable_validators_and_fresh_defaults_are_carried() -> None:
    """Validators that leave their own result as it is, and defaults of any kind, are carried."""
    stamped = convert({"name": " a "}, Stamped)
    assert stamped == convert(stamped, Stamped)


def test_a_class_of_a_function_may_contain_itself() -> None:
    """A recursive class is read though its module doesn't have its name."""

    @dataclasses.dataclass
    class Tree:
        name: str
        parts: list[Tree] = dataclasses.field(default_factory=list)

    tree = convert({"name": "a", "parts": [{"name": "b"}]}, Tree)
    assert Tree("a", [Tree("b")]) == tree


def test_a_model_may_name_one_that_comes_after_it() -> None:
    """A name that pydantic has not looked up yet is looked up."""
    assert Early(later=Later(n=1)) == convert({"later": {"n": 1}}, Early)

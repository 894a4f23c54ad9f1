"""The laws of values as JSON: they come back as they were, and other libraries write them alike."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import lmflow as lf
from lmflow.errors import ForeignFile
from lmflow.traces.trace import Failed, PlannedExecution

names = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
records = st.dictionaries(names, values, max_size=4).map(lf.Record)


def through_text(data: Any) -> Any:
    """The JSON values, written and read."""
    return json.loads(json.dumps(data))


@given(records)
def test_a_record_comes_back(record: lf.Record) -> None:
    """A record equals the one that is made of its JSON values, with the same digest."""
    again = lf.Record.from_dict(through_text(record.to_dict()))
    assert (record, record.digest) == (again, again.digest)


def test_a_record_becomes_dicts_and_lists() -> None:
    """Nested records are dicts, tuples lists, sets sorted lists, dates texts, media descriptions."""
    picture = lf.Image(b"GIF89a...")
    record = lf.Record(
        tags=["b", "a"], inner={"deep": [{"x": 1}]}, kinds={"z", "y"}, day=dt.date(2026, 1, 2),
        picture=picture,
    )  # fmt: skip
    assert {
        "tags": ["b", "a"],
        "inner": {"deep": [{"x": 1}]},
        "kinds": ["y", "z"],
        "day": "2026-01-02",
        "picture": {
            "is": "Image",
            "media_type": "image/gif",
            "digest": picture.digest,
            "size": 9,
        },
    } == record.to_dict()


def test_what_a_record_gives_can_be_changed() -> None:
    """The values are new: a change of them never reaches the record."""
    record = lf.Record(tags=["a"])
    record.to_dict()["tags"].append("b")
    assert ("a",) == record.tags


ANSWER = lf.predict("answer", "question, picture: Image -> answer, tags: list[str]")


@pytest.fixture(scope="module")
def run() -> lf.Run:
    """A run with pictures, a failed execution, tools, a retry, and a race."""
    import asyncio  # noqa: PLC0415 - only this fixture has a loop

    return asyncio.run(_recorded())


def _look(query: str) -> list[str]:
    return [query]


look = lf.tool("look", "query -> found: list[str]", _look)


@lf.flow("question, picture: Image -> answer, tags: list[str]", uses=[look, ANSWER])
async def ask(question: str, picture: lf.Image) -> Any:
    """Look, then ask twice side by side."""
    await look(query=question)
    asked = ANSWER(question=question, picture=picture)
    return await lf.first(asked, asked.sampled(1))


async def _recorded() -> lf.Run:
    def reply(request: Any) -> str:
        if "bad" in str(request):
            raise lf.errors.ModelFailed("request", "no", 400)
        return "[[answer]]\nfine\n\n[[tags]]\n- a\n- b"

    rows = [
        {"question": text, "picture": lf.Image(b"GIF89a...")} for text in ("good", "bad", "é\x00")
    ]
    async with lf.Executor(lf.retrying(lf.scripted(reply), attempts=2, longest=0.01)) as ex:
        return await ex.map(ask, rows, version=lf.init(ask).put({}, note="a child"))


def test_a_run_comes_back(run: lf.Run) -> None:
    """Run, traces, calls, versions and failures equal those of their JSON values; roots too."""
    again = lf.Run.from_dict(through_text(run.to_dict()))
    assert (run, run.root) == (again, again.root)
    assert 1 == len(run.failures)
    for trace in run:
        assert trace == lf.Trace.from_dict(through_text(trace.to_dict()))
        assert trace.version == lf.Version.from_dict(through_text(trace.version.to_dict()))
        assert lf.replay(lf.Trace.from_dict(trace.to_dict()), ask).root == trace.root


@given(st.dictionaries(names, values, max_size=3), st.text(), st.lists(st.text(), max_size=2))
def test_a_version_comes_back(params: dict[str, Any], note: str, parents: list[str]) -> None:
    """Any version equals the one of its JSON values, and has its id."""
    version = lf.Version(params=params, note=note, parents=tuple(parents), origin={"note": note})
    again = lf.Version.from_dict(through_text(version.to_dict()))
    assert (version, version.id) == (again, again.id)


@given(st.text(), st.text(), records, st.integers(0, 9))
def test_small_values_come_back(kind: str, text: str, inputs: lf.Record, sample: int) -> None:
    """Failures and plans equal those of their JSON values."""
    failed, planned = Failed(kind, text), PlannedExecution(kind, inputs, text, sample)
    assert failed == Failed.from_dict(through_text(failed.to_dict()))
    assert planned == PlannedExecution.from_dict(through_text(planned.to_dict()))


def test_a_program_is_not_in_the_json(run: lf.Run) -> None:
    """The code of a trace is a live object: it stays here, and is no part of the JSON."""
    trace = run.traces[0]
    assert ask is trace.code
    assert lf.Trace.from_dict(trace.to_dict()).code is None
    assert "code" not in trace.to_dict()


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    lambda data: data["outputs"].update(answer="other"),
    lambda data: data["calls"][0]["outcome"].update(value=["other"]),
    lambda data: data["calls"][-1]["request"]["messages"][0].update(content="other"),
    lambda data: data["calls"][-1]["outcome"].update({"is": "Nothing"}),
    lambda data: data["calls"][-1]["request"].update({"is": "Nothing"}),
    lambda data: data["calls"][-1].update(key=5),
    lambda data: data["calls"].pop(0),
    lambda data: data.update(calls=5),
    lambda data: data.update(version="prod"),
    lambda data: data["version"]["params"].update({"answer.instruction": "other"}),
    lambda data: data.pop("inputs"),
    lambda data: data.update(extra=1),
    lambda data: data.update(root="v1:b2:00"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_trace_is_refused(run: lf.Run, change: Callable[[dict[str, Any]], Any]) -> None:
    """Whatever was changed, the error says that it isn't what was written."""
    data = through_text(run.traces[0].to_dict())
    change(data)
    with pytest.raises(ForeignFile, match="Give what to_dict"):
        lf.Trace.from_dict(data)


ODD: list[Any] = [
    None, True, -1, 10**30, 1.5, float("nan"), "", "x", "\ud800", [], [[]], {}, {"is": "Image"},
    {"is": "Image", "media_type": "x/y", "digest": "sha256:" + "0" * 64},
]  # fmt: skip


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Each container in JSON values with each of its keys."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    places = []
    for key, item in list(pairs) if isinstance(data, (dict, list)) else []:
        places += [(data, key), *(_places(item) if isinstance(item, (dict, list)) else [])]
    return places


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_odd_json_is_read_or_refused(run: lf.Run, data: st.DataObject) -> None:
    """Whatever stands in whichever place, the run is read, or the error is of lmflow."""
    json_values = through_text(run.to_dict())
    places = _places(json_values)
    holder, key = places[data.draw(st.integers(0, len(places) - 1))]
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(st.sampled_from(ODD))
    with contextlib.suppress(lf.LmflowError):
        str(lf.Run.from_dict(json_values))


@pytest.mark.parametrize("data", [None, 5, "x", [], {}, {"id": 5}, {"items": [[1]]}])
@pytest.mark.parametrize("kind", [lf.Run, lf.Trace, Failed, PlannedExecution])
def test_what_is_no_such_value_is_refused(kind: Any, data: Any) -> None:
    """Other JSON values have a typed error, never Python's own."""
    with pytest.raises(ForeignFile):
        kind.from_dict(data)


@pytest.mark.parametrize("field", ["started", "ended"])
def test_times_beyond_64_bits_are_refused(run: lf.Run, field: str) -> None:
    """A number that no store could hold, and no clock show, is not read."""
    data = through_text(run.traces[0].to_dict())
    with pytest.raises(ForeignFile, match=f"{field} is a number of more than 64 bits"):
        lf.Trace.from_dict({**data, field: 10**400})


def test_fields_are_read_by_name(run: lf.Run) -> None:
    """``dict`` of a value is ``to_dict``; an unknown name is a KeyError; nothing is iterated."""
    trace: Any = run.traces[0]
    assert dict(trace) == trace.to_dict()
    assert dict(run) == run.to_dict()
    with pytest.raises(KeyError):
        trace["code"]
    with pytest.raises(TypeError):
        iter(trace)


def test_pydantic_writes_values_anywhere(run: lf.Run) -> None:
    """Where a field may be anything, pydantic writes them as ``to_dict`` does."""
    trace = run.traces[0]
    for value in (trace.outputs, trace.version, trace, run):
        assert value is not None
        written = TypeAdapter(Any).dump_python({"it": [value]}, mode="json")
        assert {"it": [value.to_dict()]} == written


class Answered(BaseModel):
    """A model of a user's with values of lmflow."""

    outputs: lf.Record
    trace: lf.Trace
    version: lf.Version


def test_values_are_fields_of_pydantic_models(run: lf.Run) -> None:
    """A model takes them, writes them, reads them from JSON, and describes them as objects."""
    trace = run.traces[0]
    assert trace.outputs is not None
    model = Answered(outputs=trace.outputs, trace=trace, version=trace.version)
    assert model == Answered.model_validate_json(model.model_dump_json())
    assert trace is model.trace
    assert "object" == Answered.model_json_schema()["properties"]["trace"]["type"]


@pytest.mark.parametrize("bad", [5, {"x": float("nan")}, {"x": object()}])
def test_pydantic_refuses_what_no_value_can_be(bad: Any) -> None:
    """The error is pydantic's, with the words of ours."""
    with pytest.raises(ValidationError):
        TypeAdapter(lf.Record).validate_python(bad)
    with pytest.raises(ValidationError, match=r"dictionary|version"):
        TypeAdapter(lf.Version).validate_python(bad)


def test_msgspec_writes_values_with_a_hook(run: lf.Run) -> None:
    """``enc_hook=lf.jsonable`` writes what msgspec doesn't know, at any depth."""
    trace = run.traces[0]
    encoded = msgspec.json.encode({"it": [trace.outputs, trace.version]}, enc_hook=lf.jsonable)
    decoded = msgspec.json.decode(encoded)["it"]
    assert trace.outputs is not None
    assert trace.outputs.to_dict() == decoded[0]
    assert trace.version.params.to_dict() == decoded[1]["params"]
    whole = msgspec.json.decode(msgspec.json.encode(run, enc_hook=lf.jsonable))
    assert trace.outputs.to_dict() == whole["items"][0][1]["outputs"]
    assert trace.inputs.to_dict() == msgspec.to_builtins(trace.inputs, enc_hook=lf.jsonable)


def test_json_writes_values_with_a_default(run: lf.Run) -> None:
    """``json.dumps(..., default=lf.jsonable)`` takes what has values of lmflow in it."""
    trace = run.traces[0]
    data = json.loads(json.dumps({"it": trace, "all": [trace.inputs]}, default=lf.jsonable))
    assert {"it": trace.to_dict(), "all": [trace.inputs.to_dict()]} == data


def test_jsonable_refuses_what_has_no_json_form() -> None:
    """As the default of json does: a TypeError that names the class."""
    with pytest.raises(TypeError, match="object"):
        lf.jsonable(object())
    with pytest.raises(TypeError, match="function"):
        json.dumps({"x": through_text}, default=lf.jsonable)


@attrs.frozen
class Point:
    """A class of a user's."""

    x: int


def test_jsonable_takes_what_records_hold() -> None:
    """Dates, sets, media and objects of people's classes."""
    assert "2026-01-02" == lf.jsonable(dt.date(2026, 1, 2))
    assert {"x": 1} == lf.jsonable(Point(1))
    assert "image/gif" == lf.jsonable(lf.Image(b"GIF89a..."))["media_type"]
    assert [1, 2] == lf.jsonable({2, 1})


def test_fastapi_encodes_values_as_they_are(run: lf.Run) -> None:
    """``jsonable_encoder`` writes outputs, traces and runs as ``to_dict`` does, and a version by
    its fields.
    """
    encoders = pytest.importorskip("fastapi.encoders", reason="fastapi is not installed")
    trace = run.traces[0]
    assert trace.outputs is not None
    for value in (trace.outputs, trace.inputs, trace, run):
        assert value.to_dict() == encoders.jsonable_encoder(value)
    fields = encoders.jsonable_encoder(trace.version)
    assert trace.version.params.to_dict() == fields["params"]
    assert [trace.outputs.to_dict()] == encoders.jsonable_encoder([trace.outputs])

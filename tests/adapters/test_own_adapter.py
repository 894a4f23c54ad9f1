"""The laws of adapters of one's own: given as values, recorded by name and hash."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
from own_adapter import PAIRS, answer, form

import lmflow as lf
from lmflow.errors import Unidentified, UnknownAdapter, WrongType

REPLY = 'answer="Paris"\ncount=3'
MODEL = lf.scripted(lambda _: REPLY, name="a/model")
PLAIN = lf.predict("step", "question -> answer, count: int", "Say it.")
OWN = lf.predict("step", "question -> answer, count: int", "Say it.", adapter=PAIRS)


def _read_backwards(signature: Any, text: str, whole: bool) -> lf.Record:  # noqa: FBT001 - the shape of read
    return PAIRS.read(signature, "\n".join(reversed(text.split("\n"))), whole)


EDITED = attrs.evolve(PAIRS, read=_read_backwards)


def _ran(program: lf.Program, store: Any = None, version: Any = None, **options: Any) -> lf.Trace:
    async def go() -> lf.Trace:
        async with lf.Executor(MODEL, store, **options) as ex:
            return await ex.run(program, version=version, question="?")

    return asyncio.run(go())


def test_a_step_brings_its_adapter_along(tmp_path: Path) -> None:
    """A replay from a store needs the program alone; the parameter is the adapter's ref."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = _ran(OWN, store)
        stored = store.trace(trace.id)
    assert {"answer": "Paris", "count": 3} == dict(trace.outputs or {})
    assert PAIRS.ref == OWN.defaults["step.adapter"]
    assert trace.root == lf.replay(stored, OWN).root == lf.replay(trace).root
    assert 0 == lf.what_if(stored, OWN).most.calls


def test_an_adapter_is_no_part_of_the_program() -> None:
    """It is a default of a parameter: programs that differ in it alone have one key."""
    assert OWN.key == PLAIN.key
    assert OWN == pickle.loads(pickle.dumps(OWN))  # noqa: S301 - made here
    assert PAIRS.ref == pickle.loads(pickle.dumps(OWN)).own_adapters[0].ref  # noqa: S301


def test_a_version_takes_an_adapter(tmp_path: Path) -> None:
    """By value it is used at once; what is stored is its ref, which a program or executor knows."""
    version = lf.init(PLAIN).put({"step.adapter": PAIRS})
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = _ran(PLAIN, store, version)
        stored = store.trace(trace.id)
    assert PAIRS.ref == stored.version["step.adapter"]
    assert version.id == stored.version.id
    assert trace.root == lf.replay(trace).root == lf.replay(stored, OWN).root
    assert trace.root == lf.replay(stored, PLAIN, adapters=[PAIRS]).root


def test_an_executor_takes_adapters_by_model(tmp_path: Path) -> None:
    """The rule is recorded with the ref; a replay without executor is given the adapter."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = _ran(PLAIN, store, adapters={"a/*": PAIRS})
        stored = store.trace(trace.id)
    assert [["", PAIRS.ref], ["a/*", PAIRS.ref]] == [list(pair) for pair in trace.world["adapters"]]
    assert trace.root == lf.replay(stored, PLAIN, adapters=[PAIRS]).root
    assert 0 == lf.what_if(stored, PLAIN, adapters=[PAIRS]).most.calls
    assert lf.diverge(stored, PLAIN, adapters=[PAIRS]).same
    texts = {part.field: part.text for part in lf.replay_stream(stored, PLAIN, adapters=[PAIRS])}
    assert {"answer": "Paris"} == texts


def test_a_missing_adapter_is_asked_for() -> None:
    """A replay that lacks it says where it is given, instead of a difference."""
    trace = _ran(PLAIN, adapters={"a/*": PAIRS})
    with pytest.raises(
        UnknownAdapter, match=r"'pairs' is your own: give it .*`adapters=\[pairs\]`"
    ):
        lf.replay(trace)


def test_an_edited_adapter_is_another() -> None:
    """Its functions are part of the ref: a replay says that they have changed."""
    assert PAIRS.ref != EDITED.ref
    trace = _ran(PLAIN, adapters={"a/*": PAIRS})
    with pytest.raises(
        UnknownAdapter, match="Its functions have changed since: here it is 'pairs@"
    ):
        lf.replay(trace, adapters=[EDITED])


def test_render_shows_what_is_sent() -> None:
    """With the executor's model and adapters, as they were given."""
    trace = _ran(PLAIN, adapters={"a/*": PAIRS})
    shown = lf.render(PLAIN, {"question": "?"}, model="a/model", adapters={"a/*": PAIRS})
    assert shown == trace.calls[0].request.messages  # type: ignore[union-attr]
    assert "Reply with a line name=value" in shown[0].content


async def test_a_live_replay_and_resume_use_the_executor_s() -> None:
    """An executor with the adapter goes on with a run under it."""
    store = lf.MemoryStore()
    async with lf.Executor(MODEL, store, adapters={"a/*": PAIRS}) as ex:
        run = await ex.map(PLAIN, [{"question": "a"}, {"question": "b"}])
        again = await ex.replay(store.run(run.id), PLAIN)
    assert [trace.outputs for trace in run] == [trace.outputs for trace in again]


def test_an_adapter_may_have_a_version() -> None:
    """Closures and lambdas are identified by it, and refused without."""
    with pytest.raises(Unidentified, match="lambda"):
        lf.Adapter("mine", lambda _: "", answer=answer, read=PAIRS.read)
    one, two = (
        lf.Adapter("mine", lambda _: "", answer=answer, read=PAIRS.read, version=version)
        for version in ("1", "2")
    )
    assert one.ref != two.ref


@pytest.mark.parametrize("name", ["json", "xml", "two_step", "Mine", "a b", "a@b", ""])
def test_an_adapter_has_a_name_of_its_own(name: str) -> None:
    """A name that reads as something else is refused."""
    with pytest.raises(ValueError, match="name"):
        lf.Adapter(name, form, answer=answer, read=PAIRS.read)


def test_a_parameter_of_another_kind_is_refused() -> None:
    """An adapter is a value or a name."""
    with pytest.raises(WrongType, match=r"step\.adapter expects an adapter or its name"):
        _ran(PLAIN, version=lf.init(PLAIN).put({"step.adapter": 3}))


def test_marks_stand_around_inputs() -> None:
    """An adapter says what stands before and after each input."""
    marked = attrs.evolve(PAIRS, marks=lf.Marks("<<{name}\n", "\n{name}>>"))
    step = lf.predict("step", "a, b -> answer", adapter=marked)
    assert "<<a\n1\na>>\n<<b\n2\nb>>" == lf.render(step, {"a": "1", "b": "2"})[-1].content


async def test_a_stream_shows_what_partial_finds() -> None:
    """Without ``partial`` the outputs come once the reply is whole."""

    def partial(signature: Any, text: str) -> dict[str, str]:
        del signature
        name, equals, value = text.partition('="')
        return {name: value.partition('"')[0]} if equals else {}

    growing = attrs.evolve(PAIRS, partial=partial, version="1")
    shown = []
    for adapter in (PAIRS, growing):
        step = lf.predict("s", "q -> answer", adapter=adapter)
        async with lf.Executor(lf.scripted(lambda _: 'answer="Paris or Rome"')) as ex:
            shown.append([part.text async for part in ex.stream(step, q="?")])
    assert [["Paris or Rome"], ["Paris", " or", " Rome"]] == shown

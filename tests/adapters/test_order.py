"""The laws of order: what a step is shown is the same live and from a store, which sorts mappings."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf


@dataclasses.dataclass
class Pair:
    """Fields that aren't in the order of their names."""

    b: int
    a: dict[str, int] = dataclasses.field(default_factory=dict)


UNSORTED = {"z": 1, "b": 2}
TYPES = {"Pair": Pair}
MAPPED = lf.predict("step", "d: dict -> o: dict")
CLASSED = lf.predict("step", "d: Pair -> o: Pair", types=TYPES)
TALK = lf.predict("step", "history: History = {}, question, context -> answer, why")
SAID = lf.History().then({"question": "q", "context": "c"}, {"why": "w", "answer": "a"})
FOREIGN = lf.History().then({"topic": "t", "aside": "s"}, {"z": "1", "b": 2})

CASES: dict[str, tuple[Any, dict[str, Any], list[Any]]] = {
    "a mapping": (MAPPED, {"d": UNSORTED}, []),
    "a mapping in a demonstration": (MAPPED, {"d": {}}, [{"d": UNSORTED, "o": UNSORTED}]),
    "an object": (CLASSED, {"d": Pair(1, UNSORTED)}, []),
    "an object in a demonstration": (
        CLASSED, {"d": Pair(1)}, [{"d": Pair(1, UNSORTED), "o": Pair(2, UNSORTED)}],
    ),
    "an object as JSON": (
        CLASSED, {"d": Pair(1)}, [{"d": {"b": 1, "a": UNSORTED}, "o": {"b": 2, "a": {}}}],
    ),
    "a turn": (TALK, {"history": SAID, "question": "q", "context": "c"}, []),
    "a turn of another step": (TALK, {"history": FOREIGN, "question": "q", "context": "c"}, []),
}  # fmt: skip
REPLY = json.dumps({"o": {"b": 1, "a": {}}, "answer": "a", "why": "w"})


@pytest.mark.parametrize("adapter", ["chat", "json", "xml", "two_step"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_replay_from_a_store_asks_in_the_same_words(
    name: str, adapter: str, tmp_path: Path
) -> None:
    """Members of mappings are sorted, those of objects stand in the order of their class."""
    step, inputs, demos = CASES[name]
    version = lf.init(step).put({"step.adapter": adapter, "step.demos": demos})
    with lf.SqliteStore(tmp_path / "s.db") as store:
        model = lf.scripted(lambda _: REPLY)
        trace = lf.run(step, version=version, model=model, store=store, **inputs)
        assert trace.root == lf.replay(store.trace(trace.id), step).root


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_the_order_of_members_makes_no_other_call(adapter: str) -> None:
    """Equal mappings make equal messages, in whatever order their members came."""
    step = lf.predict("step", "d: dict -> o", adapter=adapter)
    members = [("b", 1), ("a", {"y": 1, "x": 2}), ("c", [{"n": 1, "m": 2}])]
    shown = {
        lf.render(step, {"d": dict(order)})[-1].content for order in itertools.permutations(members)
    }
    assert 1 == len(shown)


def test_members_of_objects_stand_in_the_order_of_their_class() -> None:
    """As the sketch that the model is told has them."""
    step = lf.predict(
        "step", "d: Pair -> o: Pair", types=TYPES, demos=[{"d": Pair(1), "o": Pair(2)}]
    )
    shown = [message.content for message in lf.render(step, {"d": Pair(3, UNSORTED)})]
    assert '{"b": integer, "a"?: {string: integer, ...}}' in shown[0]
    assert '[[d]]\n{"b": 3, "a": {"b": 2, "z": 1}}' == shown[-1]
    assert '{"b": 2, "a": {}}' == shown[2]

"""The law of merged runs: the run of all shards is the run without shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

import lmflow as lf
from lmflow.errors import NotShards
from lmflow.messages.requests import ChatRequest
from lmflow.traces.paged import HELD, Paged

ANSWER = lf.predict("answer", "question -> size: int")
GRADES = [
    lf.Judge(
        lf.predict(name, "question, size: int -> score: float"),
        reads={"question": "example.question", "size": "outputs.size"},
        score_from="score",
    )
    for name in ("kind", "right")
]
ROWS = [
    {"question": f"{n}?", "topic": n % 3, **({"id": f"e{n}"} if n % 4 == 0 else {})}
    for n in range(23)
]
SHARDS = pytest.mark.parametrize("of", [1, 2, 7])


def _reply(request: ChatRequest) -> str:
    """Answer by what is asked, and fail on some."""
    text = request.messages[-1].content
    if "score" in request.messages[0].content:
        return "0.5"
    if any("7?" in message.content for message in request.messages):
        return "no number"
    return str(len(text))


def _sync(store: Any = None) -> lf.Sync:
    return lf.Sync(lf.scripted(_reply), store)


def _short(_: lf.Record, outputs: lf.Record) -> float:
    return float(outputs.size > 2)


def _shards(of: int) -> list[lf.Shard]:
    return [lf.shard(ROWS, f"{k}/{of}") for k in range(1, of + 1)]


@SHARDS
@pytest.mark.parametrize("samples", [1, 2])
def test_a_map_in_shards_has_the_root_of_the_map(of: int, samples: int) -> None:
    """Failures are where they would be, in whatever order the runs are given."""
    with _sync() as ex:
        whole = ex.map(ANSWER, ROWS, samples=samples, progress=lf.silent)
        runs = [ex.map(ANSWER, rows, samples=samples, progress=lf.silent) for rows in _shards(of)]
    merged = lf.merge_runs(*runs)
    assert whole.root == merged.root
    assert [label for label, _ in whole.items] == [label for label, _ in merged.items]
    assert [label for label, _ in whole.failures] == [label for label, _ in merged.failures]
    assert 2 * samples == len(whole.failures)
    assert merged == lf.merge_runs(*reversed(runs))


@SHARDS
def test_an_evaluation_in_shards_has_the_root_of_the_evaluation(of: int, tmp_path: Path) -> None:
    """With judges, and with executions that an earlier run recorded, which are reused."""
    metrics: dict[str, Any] = {"short": lf.metric(_short), "kind": GRADES[0], "right": GRADES[1]}
    with lf.SqliteStore(tmp_path / "store.db") as store, _sync(store) as ex:
        ex.evaluate(ANSWER, ROWS[::2], metrics, progress=lf.silent)
        whole = ex.evaluate(ANSWER, ROWS, metrics, progress=lf.silent)
        parts = [ex.evaluate(ANSWER, rows, metrics, progress=lf.silent) for rows in _shards(of)]
        merged = lf.merge_runs(*(store.run(part.run) for part in parts))
        expected = store.run(whole.run)
    assert expected.root == merged.root
    assert [label for label, _ in expected.items] == [label for label, _ in merged.items]
    assert expected.config["data"] == merged.config["data"]


def test_a_long_map_in_shards_is_read_when_it_is_looked_at(tmp_path: Path) -> None:
    """The merged run holds no execution, and has the root of the whole."""
    rows = [{"text": str(n)} for n in range(HELD + 2)]
    size = lf.tool("size", "text -> size: int", len, version="1")
    with lf.SqliteStore(tmp_path / "store.db") as store, _sync(store) as ex:
        long = ex.map(size, lf.shard(rows, "1/1"), progress=lf.silent)
        merged = lf.merge_runs(store.run(long.id))
        assert isinstance(merged.items, Paged)
        assert long.root == merged.root


def test_what_are_not_all_shards_of_one_run_is_refused() -> None:
    """The error names the run, and what is missing or differs."""
    with _sync() as ex:
        first, second, third = (ex.map(ANSWER, rows, progress=lf.silent) for rows in _shards(3))
        other = ex.map(ANSWER, lf.shard(ROWS[1:], "3/3"), progress=lf.silent)
        tuned = lf.init(ANSWER).put({"answer.instruction": "Sing."})
        sung = ex.map(ANSWER, _shards(3)[2], version=tuned, progress=lf.silent)
        whole = ex.map(ANSWER, ROWS, progress=lf.silent)
    stopped = attrs.evolve(third, status="stopped")
    cut = attrs.evolve(third, items=third.items[:-1])
    for runs, words in (
        ((), "there are none"),
        ((whole,), "isn't a shard"),
        ((first, second), "shard 3/3 is missing"),
        ((first, second, third, third), "are shard 3"),
        ((first, second, other), "differ in their data"),
        ((first, second, sung), "differ in their program or version"),
        ((first, second, stopped), f"lmflow resume {third.id}"),
        ((first, second, cut), "lacks an execution"),
    ):
        with pytest.raises(NotShards, match=words):
            lf.merge_runs(*runs)
    with pytest.raises(TypeError, match="expected a run"):
        lf.merge_runs("x")  # type: ignore[arg-type]

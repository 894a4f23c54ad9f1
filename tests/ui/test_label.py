"""What people judge on the pages is a score with their name, and a blind comparison stays blind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from browsing import View, viewing

import lmflow as lf


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """A store with an evaluation of each of two versions on the same four questions."""
    path = tmp_path / "store.db"
    program = lf.predict("answer", "question -> answer", "Answer.")
    start = lf.init(program)
    other = start.put({"answer.instruction": "Answer well."}, note="well")
    rows = [{"id": f"e{at}", "question": f"{at}?", "answer": "1"} for at in range(4)]

    async def run() -> None:
        with lf.SqliteStore(path) as store:
            lf.commit(store, "a", start)
            lf.commit(store, "b", other)
            model = lf.scripted(lambda it: "well" if "well" in it.messages[0].content else "badly")
            async with lf.Executor(model, store) as ex:
                for version in (start, other):
                    metric = lf.exact_match("answer")
                    await ex.evaluate(program, lf.dataset(rows), metric, version=version)

    asyncio.run(run())
    return path


async def _judgements(view: View, trace: str, name: str) -> list[dict[str, object]]:
    scores = (await view.json(f"/traces/{trace}"))["result"]["scores"]
    return [each for each in scores if each["name"] == name]


async def test_the_queue_is_worked_off(judged: Path) -> None:
    """Each judgement is recorded once, with name, value and comment, and the queue gets shorter."""
    async with viewing(judged) as view:
        data: Any = {}
        for left in range(8, 0, -1):
            data = await view.json("/label?name=helpful")
            assert left == data["left"]
            form = {"trace": data["trace"], "name": "helpful", "value": "4", "reason": "nearly"}
            assert 303 == (await view.post("/label", **form))[0]
        (score,) = await _judgements(view, data["trace"], "helpful")
        assert (0.75, "nearly", True) == (score["value"], score["feedback"], bool(score["who"]))
        done = await view.json("/label?name=helpful")
        assert (0, "", 8) == (done["left"], done["trace"], done["queue"])
        assert 8 == (await view.json("/label?name=other"))["left"]


async def test_a_queue_is_chosen_by_conditions(judged: Path) -> None:
    """Conditions choose the executions; skipping one shows the next and leaves it in the queue."""
    async with viewing(judged) as view:
        first = await view.json("/label?where=version%3Db")
        assert 4 == first["queue"]
        second = await view.json(f"/label?where=version%3Db&after={first['trace']}")
        assert (4, True) == (second["left"], second["trace"] != first["trace"])


@pytest.mark.parametrize(
    ("change", "status"),
    [({"value": "6"}, 400), ({"value": ""}, 400), ({"name": ""}, 400), ({"trace": "x"}, 404)],
)
async def test_other_judgements_are_refused(
    judged: Path, change: dict[str, str], status: int
) -> None:
    """A value, a name or an execution that isn't one changes nothing."""
    async with viewing(judged) as view:
        trace = (await view.json("/label"))["trace"]
        form = {"trace": trace, "name": "helpful", "value": "1"} | change
        assert status == (await view.post("/label", **form))[0]
        assert [] == await _judgements(view, trace, "helpful")


async def test_a_blind_comparison_counts_preferences(judged: Path) -> None:
    """The better answer is chosen wherever it stands, and the tally says whose it was."""
    async with viewing(judged) as view:
        places, form = list[str](), dict[str, str]()
        for left in range(4, 0, -1):
            data = await view.json("/label/pairs?a=a&b=b")
            assert left == data["left"]
            pair = data["pair"]
            places.append("left" if pair["left"]["outputs"]["answer"] == "well" else "right")
            form = {side: pair[side]["trace"] for side in ("left", "right")} | {"a": "a", "b": "b"}
            value = "1" if places[-1] == "left" else "2"
            assert 303 == (await view.post("/label/pairs", value=value, **form))[0]
        data = await view.json("/label/pairs?a=a&b=b")
        assert (None, {"a": 0, "b": 4, "ties": 0, "p": 0.125}) == (data["pair"], data["tally"])
        (score,) = await _judgements(view, form[places[-1]], "preferred")
        assert 1.0 == score["value"]


async def test_a_pair_does_not_say_whose_it_is(judged: Path) -> None:
    """The page of a pair has neither the ids nor the notes of the versions beside the answers."""
    async with viewing(judged) as view:
        text = (await view.get("/label/pairs?a=a&b=b"))[1]
        log = (await view.json("/versions"))["rows"]
        for row in log:
            assert row["id"].removeprefix("v1:b2:")[:12] not in text
        assert 400 == (await view.get("/label/pairs?a=a&b=a"))[0]

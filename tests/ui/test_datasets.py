"""Data sets are shown in parts, and an execution becomes an example of one."""

import asyncio
from pathlib import Path

import pytest
from browsing import viewing

import lmflow as lf


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A store with a data set in splits, one without, and an execution."""
    path = tmp_path / "store.db"
    rows = [{"id": f"e{at}", "question": f"{at}?", "answer": "1"} for at in range(6)]

    async def run() -> None:
        with lf.SqliteStore(path) as store:
            store.put_dataset("whole", lf.dataset(rows, name="whole"))
            store.put_dataset(
                "split", {"train": lf.dataset(rows[:4]), "held": lf.dataset(rows[4:])}
            )
            program = lf.predict("answer", "question -> answer", "Answer.")
            async with lf.Executor(lf.scripted(lambda _: "2"), store) as ex:
                await ex.run(program, question="How many?")

    asyncio.run(run())
    return path


async def test_data_sets_go_on_where_they_stopped(stored: Path) -> None:
    """Parts of four examples, one after the other, are the data set; a split is its own rows."""
    async with viewing(stored) as view:
        first = await view.json("/datasets/whole?limit=4")
        rest = await view.json("/datasets/whole?limit=4&start=4")
        ids = [row["id"] for row in first["rows"] + rest["rows"]]
        assert [f"e{at}" for at in range(6)] == ids
        held = await view.json("/datasets/split?split=held")
        assert ["e4", "e5"] == [row["id"] for row in held["rows"]]
        page = (await view.get("/datasets/whole?limit=4"))[1]
        assert "fragment=rows" in page
        part = (await view.get("/datasets/whole?limit=4&fragment=rows"))[1]
        assert part.strip() in page


@pytest.mark.parametrize(("name", "split"), [("whole", ""), ("split", "train"), ("new", "")])
async def test_an_execution_becomes_an_example(stored: Path, name: str, split: str) -> None:
    """The example is the last of its data set and knows its trace; who and why stand with it."""
    async with viewing(stored) as view:
        run = (await view.json("/"))["rows"][0]["id"]
        trace = (await view.json(f"/traces/{run}"))["trace"]["trace"]
        page = await view.json(f"/traces/{trace}/promote")
        form = {"trace": trace, "name": name, "split": split, "reason": "a hard one"}
        example = page["example"].replace('"2"', '"3"')
        assert 303 == (await view.post("/promote", example=example, **form))[0]
        added = (await view.json(f"/datasets/{name}"))["rows"]
        (row,) = [each for each in added if each["origin"] == trace]
        assert {"question": "How many?", "answer": "3"} == row["example"]
        scores = (await view.json(f"/traces/{trace}"))["result"]["scores"]
        assert "a hard one" in scores[0]["feedback"]
        assert scores[0]["who"]
        status, text = await view.post("/promote", example=example, **form)
        assert (409, True) == (status, "already" in text)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"reason": ""}, 400),
        ({"name": " "}, 400),
        ({"example": "no json"}, 400),
        ({"example": "[]"}, 400),
        ({"trace": "nothing"}, 404),
        ({"name": "split"}, 409),
        ({"split": "train"}, 409),
    ],
)
async def test_what_does_not_fit_changes_nothing(
    stored: Path, change: dict[str, str], status: int
) -> None:
    """Without a reason, an example, an execution or a split that fits, nothing is stored."""
    async with viewing(stored) as view:
        run = (await view.json("/"))["rows"][0]["id"]
        trace = (await view.json(f"/traces/{run}"))["trace"]["trace"]
        before = await view.json("/datasets")
        form = {"trace": trace, "name": "whole", "reason": "x", "example": '{"question": "a"}'}
        assert status == (await view.post("/promote", **(form | change)))[0]
        assert before == await view.json("/datasets")

"""The screens of versions say what the store's log, reflog and blame say, and roll a ref back."""

from pathlib import Path

import pytest
from browsing import viewing

import lmflow as lf


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A store with a ref that was moved twice."""
    path = tmp_path / "store.db"
    versions = [lf.Version(params={"answer.instruction": "Answer."}, note="first")]
    for text in ("Answer.\nBe brief.", "Answer.\nBe brief.\nNever guess."):
        versions.append(versions[-1].put({"answer.instruction": text}, note=text[-5:]))
    with lf.SqliteStore(path) as store:
        for version in versions:
            lf.commit(store, "prod", version, who="ada", why=version.note)
    return path


async def test_the_log_goes_on_where_it_stopped(moved: Path) -> None:
    """Pages of one version each, of the store and of a history, are the whole log."""
    async with viewing(moved) as view:
        for whole, name in (("/versions", "before"), ("/versions?q=prod", "start")):
            mark = "&" if "?" in whole else "?"
            every = [row["id"] for row in (await view.json(whole))["rows"]]
            data = await view.json(f"{whole}{mark}limit=1")
            listed = [row["id"] for row in data["rows"]]
            while data["more"]:
                at = data["last"] if name == "before" else data["shown"]
                data = await view.json(f"{whole}{mark}limit=1&{name}={at}")
                listed += [row["id"] for row in data["rows"]]
            assert 3 == len(every)
            assert every == listed


async def test_each_line_has_its_version(moved: Path) -> None:
    """Blame attributes each line to the version that introduced it."""
    async with viewing(moved) as view:
        log = [row["id"] for row in (await view.json("/versions"))["rows"]]
        rows = (await view.json("/versions/prod/blame?path=answer.instruction"))["rows"]
        assert log[::-1] == [row["version"] for row in rows]
        assert ["Answer.", "Be brief.", "Never guess."] == [row["part"] for row in rows]


async def test_a_version_shows_the_words_that_changed(moved: Path) -> None:
    """Two columns have the words of each side, those that changed marked."""
    async with viewing(moved) as view:
        (change,) = (await view.json("/versions/prod?against=prod~2"))["changes"]
        (row,) = change["rows"]
        assert "Answer." == "".join(text for _, text in row["before"]).strip()
        assert any(kind == "insert" and "Never guess." in text for kind, text in row["after"])


async def test_a_ref_is_rolled_back_with_a_reason(moved: Path) -> None:
    """The move is recorded with its reason and author, and can be taken back as well."""
    async with viewing(moved) as view:
        before = await view.json("/refs/prod")
        form = {"ref": "prod", "now": before["now"], "to": before["to"], "reason": "it guessed"}
        assert (303, "/refs/prod") == await view.post("/rollback", **form)
        after = await view.json("/refs/prod")
        move = after["moves"][0]
        assert before["moves"][0]["before"] == after["now"] == move["version"]
        assert "rollback: it guessed" == move["why"]
        assert move["who"]
        assert before["now"] == after["to"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"reason": " "}, 400),
        ({"ref": "nothing"}, 404),
        ({"to": "nothing"}, 404),
        ({"now": "v1:b2:" + "0" * 64}, 409),
    ],
)
async def test_a_roll_back_of_a_stale_page_changes_nothing(
    moved: Path, change: dict[str, str], status: int
) -> None:
    """Without a reason, to a place that isn't there, or if somebody moved the ref meanwhile."""
    async with viewing(moved) as view:
        page = await view.json("/refs/prod")
        form = {"ref": "prod", "now": page["now"], "to": page["to"], "reason": "x"} | change
        assert status == (await view.post("/rollback", **form))[0]
        assert page == await view.json("/refs/prod")

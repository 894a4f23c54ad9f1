"""In a browser: no violation of accessibility, no message of the console, everything by keyboard."""

import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from browsing import launched, viewed, violations
from hostile_text import HOSTILE, HostileIds, hostile_store

import lmflow as lf
from lmflow.cli.loading.viewing import sources_of
from lmflow.traces.events import SearchSteered
from lmflow.ui.export import export_run

NARROW = {"bypass_csp": True, "viewport": {"width": 360, "height": 800}}
EMPTY = ("/", "/compare", "/examples", "/versions", "/optimizations", "/search", "/datasets")

MOST_VERSIONS = """
SELECT run.id FROM run JOIN run_item ON run_item.run = run.id
JOIN trace ON trace.id = run_item.trace WHERE run.kind = 'optimize'
GROUP BY run.id ORDER BY count(DISTINCT trace.version) DESC LIMIT 1
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests, each of which has a context of its own."""
    with launched() as opened:
        yield opened


@pytest.fixture(scope="module")
def full(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with runs of each kind, whose search still runs and is steered."""
    path = tmp_path_factory.mktemp("full") / "store.db"
    shutil.copyfile(filled, path)
    with closing(sqlite3.connect(path)) as db:
        (search,) = db.execute(MOST_VERSIONS).fetchone()
        db.execute("UPDATE run SET status = 'open' WHERE id = ?", (search,))
        db.commit()
    with lf.SqliteStore(path) as store:
        candidate = store.run(search).traces[-1].version.id
        acts = [("pause", "", "lunch"), ("veto", candidate, "it flatters"), ("note", "", "hm")]
        given = (SearchSteered(search, kind, of, why, "ann", 5) for kind, of, why in acts)
        store.append(*given).result()
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HostileIds]:
    """A store full of hostile text; made in a thread, since the browser's loop runs in this one."""
    path = tmp_path_factory.mktemp("hostile") / "store.db"
    with ThreadPoolExecutor(1) as pool:
        return path, pool.submit(hostile_store, path).result()


def _paths(page: Any) -> list[str]:
    """The path of each screen, with ids that the store has."""
    rows = page.evaluate("fetch('/?format=json').then(r => r.json()).then(d => d.rows)")
    run = next(row["id"] for row in rows if (row["kind"], row["status"]) == ("optimize", "open"))
    evaluations = [row["id"] for row in rows if row["kind"] == "evaluate"]
    mapped = next(row["id"] for row in rows if row["kind"] == "map")
    items = page.evaluate(
        f"fetch('/runs/{mapped}?format=json').then(r => r.json()).then(d => d.rows)"
    )
    trace = next(row["item"]["trace"] for row in items if "item" in row)
    return [
        "/", f"/runs/{run}", f"/runs/{mapped}", f"/traces/{trace}", f"/traces/{trace}/why",
        f"/compare?run={evaluations[1]}&run={evaluations[0]}", "/compare", "/examples",
        "/examples/ex[h0]?program=rewrite+%3E%3E+search+%3E%3E+answer", f"/runs/{run}/divergence",
        f"/runs/{mapped}/what-if", "/nothing",
        "/versions", "/versions/prod", "/versions/prod/blame", "/refs/prod",
        "/optimizations", f"/optimizations/{run}",
        "/label", "/label/pairs?a=94107ed30961&b=9ac65e8dd61e",
        "/search?q=tea&limit=5", "/datasets", f"/traces/{trace}/promote", "/health",
        "/health/hashes",
    ]  # fmt: skip


def _listen(context: Any) -> tuple[Any, list[str]]:
    """A page, and what its console, its dialogs and its errors say."""
    page, said = context.new_page(), list[str]()

    def dismiss(dialog: Any) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", dismiss)
    return page, said


@pytest.mark.parametrize("store", ["full", "empty"])
def test_screens_have_no_violations(
    browser: Any, store: str, request: pytest.FixtureRequest
) -> None:
    """Axe finds nothing on any screen in either scheme, and none is wider than a narrow window."""
    with (
        viewed(request.getfixturevalue(store)) as (url, entrance),
        closing(browser.new_context(**NARROW)) as context,
    ):
        page, _ = _listen(context)
        page.goto(entrance)
        for path in EMPTY if store == "empty" else _paths(page):
            page.emulate_media(color_scheme="light")
            page.goto(url + path, wait_until="domcontentloaded")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            assert (path, []) == (path, violations(page))
            page.emulate_media(color_scheme="dark")
            assert (path, []) == (path, violations(page, "color-contrast"))


def test_hostile_text_is_only_text(browser: Any, hostile: tuple[Path, HostileIds]) -> None:
    """Text of models and people in every place opens no dialog, loads nothing and runs nothing."""
    store, ids = hostile
    paths = ["/", *(f"/runs/{run}" for run in ids.runs), *(f"/traces/{trace}" for trace in ids.traces),
             f"/compare?run={ids.evaluations[0]}&run={ids.evaluations[1]}", "/examples",
             "/versions", "/versions?q=one", "/versions/two?against=one", "/versions/one/blame",
             "/refs/one", "/search?q=script", "/datasets",
             "/label", "/label/pairs?a=one&b=two"]  # fmt: skip
    with viewed(store) as (url, entrance), closing(browser.new_context()) as context:
        page, said = _listen(context)
        foreign: list[str] = []
        page.on(
            "request", lambda sent: None if sent.url.startswith(url) else foreign.append(sent.url)
        )
        page.goto(entrance)
        for path in paths:
            page.goto(url + path)
            assert 0 == page.locator("main [onerror], main script, main img, main iframe").count()
        assert ([], []) == (said, foreign)
        assert page.evaluate("window.hacked === undefined")
    assert 200 <= len(HOSTILE)


def test_hostile_text_stays_text_in_a_file(
    browser: Any, hostile: tuple[Path, HostileIds], tmp_path: Path
) -> None:
    """A browser that opens the file of hostile text runs and loads nothing, and shows its style."""
    store, ids = hostile
    text, _, _ = export_run(sources_of(str(store)), ids.evaluations[0], 100)
    file = tmp_path / "run.html"
    file.write_text(text, encoding="utf-8")
    with closing(browser.new_context()) as context:
        page, said = _listen(context)
        page.on(
            "request", lambda sent: said.append(sent.url) if "run.html" not in sent.url else None
        )
        page.goto(file.as_uri())
        assert [] == said
        assert "13px" == page.evaluate("getComputedStyle(document.documentElement).fontSize")


def test_everything_is_reached_by_keys(browser: Any, full: Path) -> None:
    """j, k, Enter, Esc, / and the digits do what the mouse does, and the console stays silent."""
    with viewed(full) as (url, entrance), closing(browser.new_context()) as context:
        page, said = _listen(context)
        page.goto(entrance)
        page.wait_for_function("document.getElementById('live').dataset.state === 'on'")
        for key in "jjk":
            page.keyboard.press(key)
        row = page.locator("tr.at").get_attribute("data-row")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/runs/{row}")
        page.keyboard.press("Escape")
        page.wait_for_url(f"{url}/")
        page.keyboard.press("/")
        page.keyboard.type("kind=map")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/?where=kind%3Dmap")
        assert {"map"} == set(page.locator("tbody tr[data-row] td:nth-child(4)").all_inner_texts())
        page.goto(f"{url}/label?name=helpful")
        before = page.evaluate("fetch(location + '&format=json').then(r => r.json())")
        with page.expect_navigation():
            page.keyboard.press("5")
        text = f"{before['left'] - 1} of {before['queue']} executions left"
        assert text in page.locator("main").inner_text()
        assert [] == said


def test_a_call_is_read_in_place(browser: Any, full: Path) -> None:
    """A click on a call shows it beside the tree, and no part of the page moves."""
    with viewed(full) as (url, entrance), closing(browser.new_context()) as context:
        page, said = _listen(context)
        page.goto(entrance)
        page.goto(url + _paths(page)[3])
        before = page.locator(".tree").bounding_box()
        shown = page.locator("#call h2").inner_text()
        page.locator(".tree tbody tr[data-row] a").first.click()
        page.wait_for_function(
            "text => document.querySelector('#call h2').innerText !== text", arg=shown
        )
        assert before == page.locator(".tree").bounding_box()
        assert [] == said


def test_a_search_is_steered_beside_its_candidates(browser: Any, full: Path) -> None:
    """A button beside a candidate sends the reason that was typed above; without one it waits."""
    with viewed(full) as (url, entrance), closing(browser.new_context()) as context:
        page, said = _listen(context)
        page.goto(entrance)
        page.goto(url + next(path for path in _paths(page) if path.startswith("/optimizations/")))
        page.locator("table.log button").first.click()
        assert page.locator("#reason:invalid").count()
        page.locator("#reason").fill("it is safe")
        with page.expect_navigation():
            page.locator("table.log button").first.click()
        acts = page.evaluate("fetch(location + '?format=json').then(r => r.json())")["steering"]
        assert "it is safe" == acts["acts"][-1]["note"]
        assert "it is safe" in page.locator("main").inner_text()
        assert [] == said

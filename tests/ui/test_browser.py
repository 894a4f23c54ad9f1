"""In a browser: no violation of accessibility, no message of the console, everything by keyboard."""

from pathlib import Path
from typing import Any

import pytest
from browsing import browsing, viewed
from hostile_text import HOSTILE, hostile_store

SCHEMES = ("light", "dark")


def _paths(page: Any) -> list[str]:
    """The path of each screen, with ids that the store has."""
    rows = page.evaluate("fetch('/?format=json').then(r => r.json()).then(d => d.rows)")
    run = next(row["id"] for row in rows if row["kind"] == "optimize")
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
        "/search?q=tea", "/datasets", f"/traces/{trace}/promote", "/health", "/health/hashes",
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


@pytest.mark.parametrize("store", ["filled", "empty"])
def test_screens_have_no_violations(store: str, request: pytest.FixtureRequest) -> None:
    """Axe finds nothing on any screen in either scheme, and none is wider than a narrow window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options = {"bypass_csp": True, "viewport": {"width": 360, "height": 800}}
    with viewed(request.getfixturevalue(store)) as (url, entrance), browsing(**options) as context:
        page, _ = _listen(context)
        page.goto(entrance)
        paths = (
            _paths(page)
            if store == "filled"
            else [
                "/",
                "/compare",
                "/examples",
                "/versions",
                "/optimizations",
                "/search",
                "/datasets",
            ]
        )
        for path in paths:
            page.goto(url + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                rules = None if scheme == "light" else ["color-contrast"]
                results = axe.run(page, options={"runOnly": rules} if rules else None)
                assert 0 == results.violations_count, f"{path}: {results.generate_report()}"


def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    """Text of models and people in every place opens no dialog, loads nothing and runs nothing."""
    store = tmp_path / "store.db"
    ids = hostile_store(store)
    paths = ["/", *(f"/runs/{run}" for run in ids.runs), *(f"/traces/{trace}" for trace in ids.traces),
             f"/compare?run={ids.evaluations[0]}&run={ids.evaluations[1]}", "/examples",
             "/versions", "/versions?q=one", "/versions/two?against=one", "/versions/one/blame",
             "/refs/one", "/search?q=script", "/datasets",
             "/label", "/label/pairs?a=one&b=two"]  # fmt: skip
    with viewed(store) as (url, entrance), browsing() as context:
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


def test_everything_is_reached_by_keys(filled: Path) -> None:
    """j, k, Enter, Esc and / do what the mouse does, and the console stays silent."""
    with viewed(filled) as (url, entrance), browsing() as context:
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
        assert [] == said


def test_a_call_is_read_in_place(filled: Path) -> None:
    """A click on a call shows it beside the tree, and no part of the page moves."""
    with viewed(filled) as (url, entrance), browsing() as context:
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

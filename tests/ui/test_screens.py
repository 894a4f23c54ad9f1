"""Every screen is a page, JSON and fragments, filled and empty."""

import re
import statistics
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from browsing import View, viewing

import lmflow as lf
from lmflow.messages.replies import ChatReply
from lmflow.ui.screens import matrix

PAGES = {
    "runs": "/",
    "runs of a condition": "/?where=kind=evaluate",
    "trace": "/traces/{trace}",
    "call": "/traces/{trace}/call?call=x",
    "why": "/traces/{trace}/why",
    "run": "/runs/{run}",
    "failures of a run": "/runs/{run}?only=failed",
    "verification": "/runs/{run}/verify",
    "comparison": "/compare?run={first}&run={second}",
    "comparison without runs": "/compare",
    "examples": "/examples",
    "history of an example": "/examples/ex[h0]?program=rewrite+%3E%3E+search+%3E%3E+answer",
    "divergence without its program": "/runs/{run}/divergence",
    "what-if without its program": "/runs/{run}/what-if",
    "versions": "/versions",
    "history of a version": "/versions?q=prod",
    "version": "/versions/prod",
    "version against another": "/versions/prod?against=main",
    "blame": "/versions/prod/blame",
    "blame of a parameter": "/versions/prod/blame?path=answer.demos",
    "ref": "/refs/prod",
    "ref and a place": "/refs/prod?to=94107ed30961",
    "optimizations": "/optimizations",
    "optimization": "/optimizations/{optimized}",
    "replay of an optimization": "/optimizations/{optimized}/replayed",
    "label": "/label",
    "label of a condition": "/label?where=kind%3Devaluate&name=helpful",
    "pairs": "/label/pairs?a=94107ed30961&b=9ac65e8dd61e",
    "pairs without versions": "/label/pairs",
    "search": "/search?q=tea",
    "search with conditions": "/search?q=min*&where=status%3Dok",
    "data sets": "/datasets",
    "adding an execution to a data set": "/traces/{trace}/promote",
    "health": "/health",
    "hashes": "/health/hashes",
}
"""The path of each screen; {run} and {trace} are filled in."""

OTHER_FRAGMENTS: set[str] = set()
"""Fragments that have tests of their own."""

OF_EMPTY_STORES = (
    "runs",
    "runs of a condition",
    "comparison without runs",
    "examples",
    "versions",
    "optimizations",
    "data sets",
    "label",
    "pairs without versions",
)


async def names(view: View) -> dict[str, str]:
    """Ids of the store: a run, an execution of it, and two evaluations."""
    rows = (await view.json("/"))["rows"]
    run = next(row["id"] for row in rows if row["kind"] == "run")
    second, first = (row["id"] for row in rows if row["kind"] == "evaluate")
    trace = (await view.json(f"/traces/{run}"))["trace"]["trace"]
    optimized = next(row["id"] for row in rows if row["kind"] == "optimize")
    return {
        "run": run,
        "trace": trace,
        "first": first,
        "second": second,
        "optimized": optimized,
    }


@pytest.mark.parametrize("page", PAGES)
async def test_screens_are_pages_and_json(filled: Path, page: str) -> None:
    """A screen answers with HTML that has a title and the command, and with the same as JSON."""
    async with viewing(filled) as view:
        path = PAGES[page].format(**await names(view))
        status, text = await view.get(path)
        assert 200 == status
        assert "· lmflow</title>" in text
        assert 'id="cli">lmflow ' in text
        assert isinstance(await view.json(path), dict)


FRAGMENTS = (
    ("runs", "rows"),
    ("runs", "live"),
    ("trace", "rows"),
    ("trace", "tree"),
    ("call", "call"),
    ("why", "why"),
    ("run", "rows"),
    ("run", "live"),
    ("run", "summary"),
    ("run", "costs"),
    ("verification", "result"),
    ("comparison", "rows"),
    ("examples", "rows"),
    ("history of an example", "rows"),
    ("versions", "rows"),
    ("optimizations", "live"),
    ("search", "rows"),
    ("hashes", "result"),
    ("optimization", "live"),
)
"""The parts of pages that are loaded alone."""


@pytest.mark.parametrize(("page", "fragment"), FRAGMENTS)
async def test_fragments_are_parts_of_their_page(filled: Path, page: str, fragment: str) -> None:
    """A part is the same text as in the page, small, and none is without a test."""
    async with viewing(filled) as view:
        path = PAGES[page].format(**await names(view))
        mark = "&" if "?" in path else "?"
        status, part = await view.get(f"{path}{mark}fragment={fragment}")
        whole = (await view.get(path))[1] if fragment != "costs" else part  # the page asks for it
        assert 200 == status
        assert part.strip() in whole
        assert 64_000 >= len(part.encode())


def test_every_fragment_has_a_test() -> None:
    """Whatever a template or a live page loads alone is in the list above."""
    folder = resources.files("lmflow.ui") / "templates"
    texts = [file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".html")]
    pattern = r"""fragment='(\w+)'|data-refresh="(\w+)\""""
    found = {one or other for text in texts for one, other in re.findall(pattern, text)}
    assert found <= {fragment for _, fragment in FRAGMENTS} | OTHER_FRAGMENTS


@pytest.mark.parametrize("page", OF_EMPTY_STORES)
async def test_screens_of_an_empty_store(empty: Path, page: str) -> None:
    """A screen of an empty store says what to do."""
    async with viewing(empty) as view:
        status, text = await view.get(PAGES[page])
        assert 200 == status
        assert 'class="empty"' in text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/?where=nonsense", 400, "nonsense"),
        ("/?limit=abc", 400, "a number from 0 to 500"),
        ("/traces/nothing", 404, "nothing"),
        ("/nothing", 404, "Not Found"),
    ],
)
async def test_bad_requests_are_explained(filled: Path, path: str, status: int, words: str) -> None:
    """A request that can't be answered gets its status and the reason, as page and as JSON."""
    async with viewing(filled) as view:
        found, text = await view.get(path)
        assert status == found
        assert words in text
        mark = "&" if "?" in path else "?"
        async with view.session.get(f"{view.url}{path}{mark}format=json") as response:
            problem: dict[str, Any] = await response.json()
            assert status == response.status == problem["status"]


async def test_unknown_fragments_are_refused(filled: Path) -> None:
    """A part that the page doesn't have is a bad request."""
    async with viewing(filled) as view:
        status, text = await view.get("/?fragment=nothing")
        assert 400 == status
        assert "a part of this page" in text


async def test_lists_go_on_where_they_stopped(filled: Path) -> None:
    """Pages of two runs each, one after the other, are the list of all runs."""
    async with viewing(filled) as view:
        every = [row["id"] for row in (await view.json("/"))["rows"]]
        listed: list[str] = []
        data = await view.json("/?limit=2")
        while data["next"]:
            listed += [row["id"] for row in data["rows"]]
            data = await view.json(f"/?limit=2&before={data['next']}")
        assert every == listed + [row["id"] for row in data["rows"]]


async def test_a_history_goes_on_as_far_back_as_there_are_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of it, one after the other, are all executions of the example, newest first."""
    monkeypatch.setattr(matrix, "HISTORY_PART", 3)
    program = lf.predict("answer", "question -> answer", "Answer.")
    rows = [{"id": "e1", "question": "Why?", "answer": "so"}]
    with lf.SqliteStore(tmp_path / "store.db") as store:
        async with lf.Executor(lf.scripted(lambda _: "so"), store) as ex:
            found = [await ex.evaluate(program, rows, lf.exact_match("answer")) for _ in range(7)]
    path, listed, pages = "/examples/ex[e1]?program=answer", list[str](), 0
    async with viewing(tmp_path / "store.db") as view:
        data = await view.json(path)
        while True:
            pages += 1
            listed += [row["run"] for row in data["rows"]]
            if not data["older"]:
                break
            data = await view.json(f"{path}&before={data['older']}")
    assert 3 == pages
    assert [each.run for each in reversed(found)] == listed


async def test_a_comparison_says_what_is_slower(filled: Path) -> None:
    """By the median of the differences on the same examples."""
    async with viewing(filled) as view:
        known = await names(view)
        data = await view.json(f"/compare?run={known['first']}&run={known['second']}")
    with lf.SqliteStore(filled) as store:
        seconds = [
            {label: (trace.ended - trace.started) / 1e9 for label, trace in store.run(run).items}
            for run in (known["first"], known["second"])
        ]
    differences = [seconds[1][label] - each for label, each in seconds[0].items()]
    slower = data["sides"][1]["comparison"]["slower"]
    assert statistics.median(differences) == pytest.approx(slower)


async def test_a_streamed_reply_is_shown_as_it_arrived(tmp_path: Path) -> None:
    """The pieces of a reply, joined, are the reply; a long one shows the first 500."""
    program = lf.predict("answer", "question -> answer", "Answer.")
    text = "ab" * 600
    reply = ChatReply(text, chunks=(1,) * len(text))
    with lf.SqliteStore(tmp_path / "store.db") as store:
        async with lf.Executor(lf.scripted(lambda _: reply), store) as ex:
            trace = await ex.run(program, question="Why?")
    async with viewing(tmp_path / "store.db") as view:
        data = await view.json(f"/traces/{trace.id}")
        page = (await view.get(f"/traces/{trace.id}"))[1]
    assert (1200, text[:500]) == (data["call"]["chunks"], "".join(data["call"]["pieces"]))
    assert "the first 500 of 1,200 chunks" in page

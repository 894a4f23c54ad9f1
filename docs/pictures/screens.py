"""Takes pictures of the web view, light and dark, wide and narrow: ``make screenshots``.

A scripted model fills a store: evaluations under several versions, an optimization, a map with
failures. Then Chromium opens each screen. It needs the extras ``ui`` and ``test``, and Chromium.
``--chosen`` also writes the four pictures that stand in the pages.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "support")]

import attrs  # noqa: E402
import screens_app  # noqa: E402 - it lies beside this file
from browsing import browsing, launched, viewed  # noqa: E402

import lmflow as lf  # noqa: E402
from lmflow.errors import ModelFailed  # noqa: E402
from lmflow.messages.replies import ChatReply, Usage  # noqa: E402
from lmflow.messages.requests import ChatRequest  # noqa: E402
from lmflow.traces.events import Event, SearchSteered  # noqa: E402
from lmflow.traces.run_events import run_events  # noqa: E402

OUT = HERE.parent / "_build" / "screens"
TEAS = {"green": 2, "white": 5, "black": 4, "oolong": 3, "mate": 6, "rice": 12}
ASKED = (
    "How long does {} steep?",
    "For how many minutes is {} left alone?",
    "How many minutes does {} take?",
    "What is the time for {}?",
)
ROWS = [
    {"id": f"{tea}-{k}", "question": asked.format(tea), "answer": f"{minutes} minutes"}
    for k, asked in enumerate(ASKED)
    for tea, minutes in TEAS.items()
]
TARGET = "screens_app:rag"


def reply(request: ChatRequest) -> ChatReply | ModelFailed:
    """Answer as a small model would: well only if the instruction says how."""
    system, last = request.messages[0].content, request.messages[-1].content
    tea = next((name for name in TEAS if name in last.lower()), "rice")
    usage = Usage(prompt=len(str(request)) // 4, completion=9)
    if "query" in system:
        return ChatReply(f"{tea} minutes", usage=usage)
    if "overload" in last:
        return ModelFailed("server", "the model is overloaded", status=529)
    careful = ("few words" in system) + ("number" in system)
    right = (len(last) + len(tea)) % 4 < 2 + careful
    text = f"{TEAS[tea] if right else 7} minutes"
    return ChatReply(text if careful else f"It takes {text}.", usage=usage)


def fill(path: Path) -> None:
    """Fill a store with all that the screens show."""
    asyncio.run(_fill(path))


async def _fill(path: Path) -> None:
    rag, data = screens_app.rag, lf.dataset(ROWS, name="teas")
    start = lf.Version(params=rag.defaults, note="the program's defaults")
    brief = start.put(
        {"answer.instruction": "Answer from the context, in a few words."}, note="be brief"
    )
    exact = brief.put(
        {
            "answer.instruction": "Answer from the context, in a few words, with the number of minutes."
        },
        note="ask for the number",
    )
    with lf.SqliteStore(path) as store:
        store.put_dataset("teas", data)
        lf.commit(store, "prod", start, brief, who="you")
        lf.commit(store, "candidate", exact, who="you", why="ask for the number")
        async with lf.Executor(lf.scripted(reply), store, target=TARGET) as ex:
            for version in (start, brief, exact):
                await ex.evaluate(rag, data, lf.exact_match("answer"), version=version)
            await ex.run(rag, question="How long does oolong steep?", version=exact)
            await ex.map(rag, [{"question": text} for text in _MAPPED], version=brief)
            examples = lf.split(data, {"train": 0.5, "select": 0.5}, seed=1)
            parts = lf.Data(train=examples["train"], select=examples["select"])
            optimizer = lf.random_search(candidates=4)
            tuned = await ex.optimize(
                optimizer, rag, parts, lf.exact_match("answer"), version=exact
            )
            lf.commit(store, "candidate", tuned.version, who="you", why="tuned")
            store.append(*_steered(store.run(tuned.run.id))).result()


def _steered(run: lf.Run) -> Iterator[Event]:
    """Record a search once more as one that still runs, and what people did to it."""
    items = tuple(
        (label, attrs.evolve(trace, id=f"0{trace.id}")) for label, trace in run.items[:-12]
    )
    yield from run_events(
        attrs.evolve(run, id=f"0{run.id}", items=items, status="open", ended=0, result="")
    )
    candidate = items[-1][1].version.id
    for kind, version, note in (
        ("note", "", "the second question is badly put"),
        ("veto", candidate, "it copies an answer"),
        ("pause", "", "lunch"),
    ):
        yield SearchSteered(f"0{run.id}", kind, version, note, "you", run.started)


_MAPPED = ("How long does mate steep?", "overload: how long?", "How long does rice take?")

SCREENS = {
    "runs": "/",
    "run": "/runs/{evaluation}",
    "run-failures": "/runs/{mapped}",
    "trace": "/traces/{traced}",
    "compare": "/compare?run={first}&run={evaluation}",
    "examples": "/examples",
    "divergence": "/runs/{first}/divergence?version=candidate",
    "what-if": "/runs/{first}/what-if?version=candidate",
    "versions": "/versions",
    "version": "/versions/candidate?against=prod",
    "blame": "/versions/candidate/blame",
    "ref": "/refs/candidate",
    "optimizations": "/optimizations",
    "optimization": "/optimizations/{optimized}",
    "steering": "/optimizations/0{optimized}",
    "label": "/label?where=kind%3Devaluate",
    "pairs": "/label/pairs?a=prod&b=prod~1",
    "search": "/search?q=minutes",
    "datasets": "/datasets",
    "dataset": "/datasets/teas",
    "promote": "/traces/{traced}/promote",
    "health": "/health",
}
"""The path of each screen; ids are filled in."""


def ids(path: Path) -> dict[str, str]:
    """Return the ids that the paths of the screens have."""
    with lf.SqliteStore(path) as store, store.reading() as reader:
        kinds: dict[str, list[str]] = {}
        for run in reader.runs(100, ""):
            if run.status == "open":
                continue
            kinds.setdefault(run.kind, []).append(run.id)
        trace = reader.labels(kinds["run"][0])[0][1]
    evaluations = kinds["evaluate"]
    return {
        "first": evaluations[-1],
        "evaluation": evaluations[0],
        "mapped": kinds["map"][0],
        "optimized": kinds["optimize"][0],
        "traced": trace,
    }


def shoot(store: Path, out: Path, only: tuple[str, ...] = ()) -> list[str]:
    """Take the pictures of all screens; return what the browser's console said."""
    names, said = ids(store), []
    out.mkdir(parents=True, exist_ok=True)
    with viewed(store, (TARGET,)) as (url, entrance), launched() as browser:
        for scheme in ("light", "dark"):
            for width in (1280, 360):
                size = {"width": width, "height": 800}
                with closing(browser.new_context(color_scheme=scheme, viewport=size)) as context:
                    page = context.new_page()
                    page.on("console", lambda message: said.append(message.text))
                    page.goto(entrance)
                    for name, path in SCREENS.items():
                        if not only or name in only:
                            _shoot(
                                page,
                                url + path.format(**names),
                                out / f"{name}-{scheme}-{width}.png",
                            )
    return said


CHOSEN = {
    "ui-runs": ("runs", "light"),
    "ui-trace": ("trace", "dark"),
    "ui-compare": ("compare", "light"),
    "ui-examples": ("examples", "light"),
}
"""The pictures that stand in the pages: a screen and a scheme for each."""

MOST_BYTES = 80_000


def choose(store: Path) -> None:
    """Take the pictures that stand in the pages, of the upper part of each screen."""
    names = ids(store)
    with viewed(store, (TARGET,)) as (url, entrance):
        for file, (screen, scheme) in CHOSEN.items():
            size = {"width": 1160, "height": 420}
            with browsing(color_scheme=scheme, viewport=size) as context:
                page = context.new_page()
                page.goto(entrance)
                page.goto(url + SCREENS[screen].format(**names))
                page.wait_for_timeout(400)
                path = HERE / f"{file}.png"
                page.screenshot(path=str(path))
                assert path.stat().st_size <= MOST_BYTES, path  # noqa: S101 - pages stay small


def _shoot(page: Any, url: str, file: Path) -> None:
    page.goto(url)
    page.wait_for_timeout(200)  # the live sign, and what loads by itself
    page.screenshot(path=str(file), full_page=True)


def main() -> None:
    """Fill a store and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of the pictures")
    parser.add_argument("--store", type=Path, help="a store that was filled already, or is to be")
    parser.add_argument("--chosen", action="store_true", help="also those of the pages")
    parser.add_argument("only", nargs="*", help="the names of screens")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or Path(folder) / "teas.db"
        if not store.exists():
            fill(store)
        if options.chosen:
            choose(store)
        said = shoot(store, options.out, tuple(options.only))
    print(f"{len(SCREENS) * 4} pictures in {options.out}")
    if said:
        sys.exit("the console said: " + "; ".join(said))


if __name__ == "__main__":
    main()

"""Text that tries to become markup, script, a link or a command, and a store that is full of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

import lmflow as lf
from lmflow.traces.events import ScoreRecorded

PAYLOADS = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg/onload=window.hacked=1>",
    "<iframe src=javascript:parent.hacked=1></iframe>",
    "<a href=javascript:window.hacked=1>x</a>",
    "<body onload=window.hacked=1>",
    "<style>*{display:none}</style>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<base href=http://evil.example/>",
    "<form action=http://evil.example/><button>x</button></form>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<object data=http://evil.example/x></object>",
    "<div hx-get=http://evil.example/ hx-trigger=load>x</div>",
    "<div hx-on:load=window.hacked=1>x</div>",
    "<details open ontoggle=window.hacked=1>x</details>",
    "<math><mtext></mtext><script>window.hacked=1</script></math>",
    "{{ 7*7 }}{% for x in ().__class__.__base__.__subclasses__() %}x{% endfor %}",
    "${window.hacked=1}",
    "javascript:window.hacked=1",
    "../../../../etc/passwd",
)
WRAPPERS = (
    "{}",
    '"> {}',
    "'> {}",
    "</pre>{}",
    "</title>{}",
    "</textarea>{}",
    "--> {}",
    "]]>{}",
    "\u202e{}\u2066",
    "\x1b]8;;http://evil.example\x07{}\x00",
)
HOSTILE = [wrapper.format(payload) for payload in PAYLOADS for wrapper in WRAPPERS]
"""Two hundred texts."""


@attrs.frozen
class HostileIds:
    """The ids of what a hostile store has."""

    runs: tuple[str, ...]
    evaluations: tuple[str, ...]
    traces: tuple[str, ...]


def hostile_store(path: Path) -> HostileIds:
    """Fill a store with hostile text wherever a model, a tool or a person can write some."""
    return asyncio.run(_fill(path))


async def _fill(path: Path) -> HostileIds:
    texts = itertools.cycle(HOSTILE)
    answer = lf.predict("answer", "question -> answer", "Answer.")
    tool = lf.tool("look", "answer -> found: str", _look, version="1")
    program = answer >> tool
    rows = [{"id": text[:60], "question": text, "answer": text} for text in HOSTILE]
    a, b = (program.defaults | {"answer.instruction": text} for text in HOSTILE[:2])
    versions = [lf.Version(params=params, note=next(texts)) for params in (a, b)]
    model = lf.scripted(lambda _: next(texts), name="scripted/<b>x</b>")
    with lf.SqliteStore(path) as store:
        for version, ref in zip(versions, ("one", "two"), strict=True):
            lf.commit(store, ref, version, why=next(texts), who=next(texts))
        async with lf.Executor(model, store, target="app:<b>x</b>") as ex:
            data = lf.dataset(rows, name="hostile")
            for version in versions:
                await ex.evaluate(program, data, _metric, version=version)
            failing = lf.tool("fail", "answer -> found: str", _fail, version="1")
            await ex.map(answer >> failing, [{"question": text} for text in HOSTILE[:20]])
        with store.reading() as reader:
            runs = list(reader.runs(10, ""))
            traces = [reader.labels(run.id)[k][1] for run in runs for k in (0, 7, 15)]
        _score(store, traces, texts)
    evaluations = tuple(run.id for run in runs if run.kind == "evaluate")
    return HostileIds(tuple(run.id for run in runs), evaluations, tuple(traces))


def _look(answer: str) -> dict[str, str]:
    return {"found": f"{answer}<script>window.hacked=1</script>"}


def _fail(answer: str) -> dict[str, str]:
    raise ValueError(answer)


def _metric(_: Any, outputs: Any) -> lf.Score:
    return lf.Score(0.5, feedback=outputs.answer)


def _score(store: lf.SqliteStore, traces: list[str], texts: Iterator[str]) -> None:
    for trace in traces:
        words = [next(texts) for _ in range(3)]
        store.append(ScoreRecorded(trace, words[0], 1.0, words[1], who=words[2])).result()

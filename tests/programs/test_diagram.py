"""The laws of pictures."""

from __future__ import annotations

from typing import Any

import lmflow as lf

draft = lf.predict("draft", "text -> draft")
polish = lf.predict("polish", "draft -> final: list[str]")
shout = lf.tool("shout", "draft -> loud", str.upper, version="1")
program = draft >> lf.parallel(polish, shout)


@lf.flow("text -> final: list[str]", uses=[program])
async def careful(text: str) -> Any:
    """Draft and polish."""
    return await program(text=text)


def test_the_text_is_a_tree() -> None:
    """The text shows every part once, with kind and signature, in program order."""
    assert """\
careful (flow): text -> final: list[str]
└─ pipe: text -> draft, final: list[str], loud
   ├─ draft (model): text -> draft
   └─ parallel: draft -> final: list[str], loud
      ├─ polish (model): draft -> final: list[str]
      └─ shout (tool): draft -> loud""" == str(lf.diagram(careful))


def test_the_combinators_say_what_they_do() -> None:
    """Map, branch, repeat and named say their lists, conditions, bounds and names."""
    parts = [
        lf.map(draft, over="texts"),
        lf.branch("ok", draft, draft),
        lf.repeat(draft, until="ok", times=3),
        (draft >> shout).named("n"),
    ]
    heads = [lf.diagram(part).text.splitlines()[0].partition(":")[0] for part in parts]
    assert ["map over texts", "branch on ok", "repeat at most 3 times", "n (named)"] == heads


def test_the_chart_draws_every_part() -> None:
    """The flowchart has a node a part, an arrow to each, and the order of a chain."""
    chart = lf.diagram(careful).mermaid
    assert chart.startswith("flowchart TD\n")
    assert (6, 1) == (chart.count("<br/>"), chart.count("==>"))


def test_the_chart_escapes() -> None:
    """Quotes and arrows in signatures don't end a label."""
    step = lf.predict("s", "x: Literal['a'] = \"a\" -> y")
    assert "x: Literal['a'] = &quot;a&quot; -&gt; y" in lf.diagram(step).mermaid


def test_a_notebook_shows_the_chart() -> None:
    """In a notebook the flowchart is shown."""
    picture = lf.diagram(draft)
    assert f"```mermaid\n{picture.mermaid}\n```" == picture._repr_markdown_()

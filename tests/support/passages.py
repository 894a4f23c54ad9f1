"""Three passages and a tool that searches them."""

from __future__ import annotations

from typing import Any

import lmflow as lf

PASSAGES = {
    "france#0": "Paris is the capital of France. The Seine flows through it.",
    "peru#0": "Lima is the capital of Peru, on the coast of the Pacific.",
    "tower#0": "The Eiffel Tower in Paris was built by the company of Gustave Eiffel in 1889.",
}


def found(query: str, k: int = 3) -> dict[str, list[str]]:
    """The passages that share a word with the query, else all."""
    words = set(query.lower().split())
    ids = [
        name for name, text in PASSAGES.items() if words & set(text.lower().rstrip(".").split())
    ] or list(PASSAGES)
    return {"context": [PASSAGES[name] for name in ids[:k]], "sources": ids[:k]}


SEARCH = lf.tool(
    "search", "query, k: int = 3 -> context: list[str], sources: list[str]", found, version="1"
)


async def told(program: lf.Program, inputs: dict[str, Any], script: Any) -> lf.Record:
    """The outputs on a scripted model."""
    async with lf.Executor(lf.scripted(script)) as ex:
        outputs = (await ex.run(program, **inputs)).outputs
    assert outputs is not None
    return outputs

"""Answer questions about Python from its own language reference: retrieve, then answer."""

import sys
from pathlib import Path

import lmflow as lf

sys.path.insert(0, str(Path(__file__).resolve().parent))

from collection import documents

corpus = lf.Corpus.build(documents())

search = lf.tool(
    "search", "query, k: int = 3 -> context: list[str], sources: list[str]", corpus.cited
)

answer = lf.predict(
    "answer",
    "context: list[str], question -> answer",
    "Answer the question from the context with a few words copied from it, and nothing else.",
    options={"temperature": 0, "max_tokens": 32},
)


holds = lf.contains("answer")  # whether the answer holds the reference answer


@lf.flow("question -> answer, sources: list[str]", uses=[search, answer])
async def rag(question: str) -> lf.Record:
    """Search the reference for the question, then answer from the three best passages."""
    passages = await search(query=question)
    reply = await answer(context=passages.context, question=question)
    return lf.Record(reply, sources=passages.sources)

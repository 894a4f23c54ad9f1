"""Retrieval: passages by BM25 alone, or by BM25 and vectors, fused by reciprocal rank."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs
import toolz

from lmflow.errors import WrongType
from lmflow.programs.effects import Fork
from lmflow.programs.embedding import Embed
from lmflow.programs.factories import embed, tool
from lmflow.programs.program import Program, Tool
from lmflow.signatures.signature import parse
from lmflow.values.record import Record

_K, _DEPTH = 3, 30


class Passages(Protocol):
    """What is searched by words: a ``Corpus``, or what has its digest and methods."""

    @property
    def digest(self) -> str:
        """What names all that its answers depend on."""
        ...

    def cited(self, query: str, k: int = 3) -> dict[str, list[str]]:
        """The best passages: ``context`` are their texts, ``sources`` their ids."""
        ...

    def ranked(self, query: str, k: int = 3) -> list[str]:
        """The ids of the best passages."""
        ...

    def texts(self, sources: Sequence[str]) -> list[str]:
        """The texts of passages by their ids."""
        ...


class Vectors(Protocol):
    """What is searched by vectors: a ``Dense``, or what has its digest and method."""

    @property
    def digest(self) -> str:
        """What names all that its answers depend on."""
        ...

    @property
    def corpus(self) -> str:
        """The digest of the corpus that it is an index of."""
        ...

    @property
    def model(self) -> str:
        """The embedding model that made its vectors."""
        ...

    def nearest(self, vector: Sequence[float], k: int = 3) -> list[str]:
        """The ids of the nearest passages."""
        ...


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Retrieve(Program):
    """BM25 and the nearest vectors side by side, fused by reciprocal rank; a frame of its own."""

    bm25: Tool
    embed: Embed
    nearest: Tool
    texts: Tool
    k: int = _K
    depth: int = _DEPTH

    def __attrs_post_init__(self) -> None:
        signature = parse(f"query, k: int = {self.k} -> context: list[str], sources: list[str]")
        object.__setattr__(self, "signature", signature)
        _ = self.steps

    def __str__(self) -> str:
        return self.frame

    @property
    def frame(self) -> str:
        """Its name."""
        return "retrieve"

    @property
    def children(self) -> tuple[Program, ...]:
        """What it asks."""
        return self.bm25, self.embed, self.nearest, self.texts

    @property
    def identity(self) -> Any:
        """What it asks, and how many passages of each."""
        return [
            "Retrieve",
            self.signature.identity,
            self.depth,
            [child.identity for child in self.children],
        ]

    async def body(self, inputs: Record) -> Record:
        """Both searches, the passages that are best by both together, and their texts."""
        depth = max(self.depth, inputs.k)
        words, meaning = await Fork(
            (self.bm25(query=inputs.query, k=depth), self.embed(text=inputs.query))
        )
        near = await self.nearest(vector=meaning.vector, k=depth)
        sources = fuse((words.sources, near.sources))[: inputs.k]
        return Record(context=(await self.texts(sources=sources)).context, sources=sources)


def retrieve(
    corpus: Passages, dense: Vectors | None = None, *, k: int = _K, depth: int = _DEPTH
) -> Program:
    """The program ``query, k -> context, sources``: texts and ids of the ``k`` best passages of a
    corpus.

    Without a dense index it is BM25 only, one tool, ``bm25``. With one, ``embed`` asks the index's
    model for the query's vector, and the first ``depth`` passages by BM25 and the ``depth`` nearest
    are fused. Raises ``WrongType`` where the index is of another corpus.
    """
    if dense is None:
        return tool(
            "bm25", f"query, k: int = {k} -> context: list[str], sources: list[str]", corpus.cited
        )
    if dense.corpus != corpus.digest:
        raise WrongType(
            "retrieve.dense", f"an index of {dense.corpus}", f"an index of {corpus.digest}"
        )
    return Retrieve(
        tool("bm25", f"query, k: int = {depth} -> sources: list[str]", corpus.ranked),
        embed("embed", "text -> vector: list[float]", model=dense.model),
        tool(
            "nearest", f"vector: list[float], k: int = {depth} -> sources: list[str]", dense.nearest
        ),
        tool("texts", "sources: list[str] -> context: list[str]", corpus.texts),
        k,
        depth,
    )


def fuse(rankings: Iterable[Sequence[str]], k: int = 60) -> tuple[str, ...]:
    """One ranking of several, by the sum of ``1 / (k + rank)`` over those that an id is in, ties by
    id.

    Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009, section 2), whose ``k`` of 60
    tempers how much the first ranks count. The order of the rankings doesn't matter; an id that is
    twice in one counts where it is first.
    """
    shares = [
        (id_, 1 / (k + rank))
        for ranking in rankings
        for rank, id_ in enumerate(toolz.unique(ranking), 1)
    ]
    scores = {
        id_: math.fsum(share for _, share in found)
        for id_, found in toolz.groupby(0, shares).items()
    }
    return tuple(sorted(scores, key=lambda id_: (-scores[id_], id_)))

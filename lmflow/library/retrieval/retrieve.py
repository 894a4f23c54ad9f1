"""Retrieval: passages by BM25 alone, or by BM25 and vectors fused by reciprocal rank."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs
import toolz

from lmflow.errors.composing import BadSignature, WrongType
from lmflow.library.composed import Composed, set_signature
from lmflow.programs.effects import Fork
from lmflow.programs.embedding import Embed
from lmflow.programs.factories import embed, tool
from lmflow.programs.program import Program
from lmflow.programs.tool import Tool
from lmflow.signatures.declaration import parse_signature
from lmflow.signatures.signature import first_missing
from lmflow.values.record import Record

_K, _DEPTH = 3, 30
_PASSAGES = "context: list[str], sources: list[str]"


class Passages(Protocol):
    """Passages that can be searched by words; ``lf.Corpus`` is one."""

    @property
    def digest(self) -> str:
        """Identifies everything that the answers depend on."""
        ...

    def cited(self, query: str, k: int = 3) -> dict[str, list[str]]:
        """Return the best passages: their texts as ``context``, their ids as ``sources``."""
        ...

    def ranked(self, query: str, k: int = 3) -> list[str]:
        """Return the ids of the best passages."""
        ...

    def texts(self, sources: Sequence[str]) -> list[str]:
        """Return the texts of passages by their ids."""
        ...


class Vectors(Protocol):
    """An index that can be searched by vectors; ``lf.Dense`` is one."""

    @property
    def digest(self) -> str:
        """Identifies everything that the answers depend on."""
        ...

    @property
    def corpus(self) -> str:
        """The digest of the indexed corpus."""
        ...

    @property
    def model(self) -> str:
        """The embedding model that made the vectors."""
        ...

    def nearest(self, vector: Sequence[float], k: int = 3) -> list[str]:
        """Return the ids of the nearest passages."""
        ...


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Retrieve(Composed):
    """BM25 and the nearest vectors side by side, fused by reciprocal rank; see ``retrieve``."""

    bm25: Tool
    embed: Embed
    nearest: Tool
    texts: Tool
    k: int = _K
    depth: int = _DEPTH

    def __attrs_post_init__(self) -> None:
        set_signature(self, parse_signature(f"query, k: int = {self.k} -> {_PASSAGES}"))

    def __str__(self) -> str:
        return self.frame

    @property
    def frame(self) -> str:
        """The name of its frame."""
        return "retrieve"

    @property
    def identity(self) -> Any:
        """The class name, the signature, the depth and the children."""
        return [
            "Retrieve",
            self.signature.identity,
            self.depth,
            [child.identity for child in self.children],
        ]

    async def body(self, inputs: Record) -> Record:
        """Return the passages that are best by both searches together."""
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
    """Make a program ``query, k -> context, sources`` that finds the best passages of a corpus.

    Cost: without a dense index no call of a model; with one, 1 embedding call, the step ``embed``,
    for the query's vector.

    Args:
        corpus: The corpus.
        dense: An index of its vectors. Without one the program is the tool ``bm25``; with one the
            first ``depth`` passages by BM25 and the ``depth`` nearest are fused (see ``fuse``).
        k: How many passages a search returns by default.
        depth: How many passages of each ranking are fused.

    Returns:
        The program; ``context`` are the texts of the passages, ``sources`` their ids, best first.

    Raises:
        WrongType: ``dense`` is an index of another corpus.
    """
    if dense is None:
        return tool("bm25", f"query, k: int = {k} -> {_PASSAGES}", corpus.cited)
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
    """Fuse rankings into one by reciprocal rank.

    An id's score is the sum of ``1 / (k + rank)`` over the rankings that it is in. The order of the
    rankings doesn't matter; an id that is twice in one counts at its first place.

    Args:
        rankings: Lists of ids, best first.
        k: Tempers how much the first ranks count.

    Returns:
        The ids by falling score, equal scores by id.

    Cormack, Clarke and Buettcher 2009, section 2.

    Example:
        >>> import lmflow as lf
        >>> lf.fuse([["a", "b"], ["b", "c"]])
        ('b', 'a', 'c')
    """
    shares: dict[str, list[float]] = defaultdict(list)
    for ranking in rankings:
        for rank, id_ in enumerate(toolz.unique(ranking), 1):
            shares[id_].append(1 / (k + rank))
    # fsum, since a sum that depends on the order of the rankings would break ties by it.
    scores = {id_: math.fsum(terms) for id_, terms in shares.items()}
    return tuple(sorted(scores, key=lambda id_: (-scores[id_], id_)))


def check_search(search: Program) -> Program:
    """Return a search program: ``query -> context: list[str], sources: list[str]``.

    Raises ``BadSignature`` if the program needs other inputs or lacks a field.
    """
    text = str(search.signature)
    fix = (
        'Give lf.retrieve(corpus), or lf.tool("search", "query -> context: list[str], '
        'sources: list[str]", ...).'
    )
    if missing := first_missing(search.signature.inputs, ["query"]):
        raise BadSignature(text, f"a search takes a query alone, this one needs {missing!r}", fix)
    inputs = {field.name for field in search.signature.inputs}
    outputs = {field.name for field in search.signature.outputs}
    lacking = sorted({"context", "sources"} - outputs) or sorted({"query"} - inputs)
    if lacking:
        problem = f"a search reads query and gives context and sources; it lacks {lacking}"
        raise BadSignature(text, problem, fix)
    return search

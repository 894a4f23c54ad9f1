"""Builds the dense index of a corpus with a program: each batch of vectors is a recorded call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from lmflow.errors import check_kind
from lmflow.execution.executor import Executor
from lmflow.execution.progress import tracked
from lmflow.models.base import Model
from lmflow.models.registry import checked_model
from lmflow.programs.embedding import MAX_TEXTS_PER_CALL, MINILM
from lmflow.programs.factories import embed
from lmflow.progress.display import Progress

Index_co = TypeVar("Index_co", covariant=True)


class Draft(Protocol[Index_co]):
    """An index that is being built."""

    def missing(self) -> list[str]:
        """Return the texts that have no vector yet."""
        ...

    def keep(self, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Store the vectors of some texts."""
        ...

    def finish(self) -> Index_co:
        """Return the index; no text may be missing."""
        ...


class Indexable(Protocol[Index_co]):
    """A ``Corpus``, or anything else that begins an index of itself."""

    def draft(self, model: str, path: Path | str | None = None) -> Draft[Index_co]:
        """Begin an index for the vectors of a model."""
        ...


async def dense_index(
    corpus: Indexable[Index_co],
    ex: Executor | Model | str,
    *,
    model: str = "",
    path: Path | str | None = None,
    progress: Progress | None = None,
) -> Index_co:
    """Build the dense index of a corpus, 64 passages a call and a run.

    Vectors that are stored already are not computed again, so an interrupted build goes on where it
    was.

    Args:
        corpus: The corpus, such as ``Corpus.open("notes.db")``.
        ex: The executor that makes the calls; or the embedding model or its name, whose calls then
            are not recorded.
        model: The name of the embedding model, ``local/all-minilm-l6-v2`` if empty.
        path: The file of the index; beside the corpus if ``None``.
        progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
            ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

    Returns:
        The index.

    Raises:
        TypeError: ``ex`` is neither an executor nor a model, or ``model`` is not a name.
        ModelUnavailable: The extra ``dense``, the model or its weights are missing.
        ModelFailed: A call failed, for example on a passage that is too long for the model. The
            vectors of earlier calls are stored.
    """
    fix = "Executors call it by name; a model may stand in ex's place: dense_index(corpus, model)."
    check_kind("the name of a model", model, str, fix)
    if isinstance(ex, Executor):
        return await _build(corpus, ex, model or MINILM, path, progress)
    name = ex if isinstance(ex, str) else checked_model(ex).name
    async with Executor(ex) as own:
        return await _build(corpus, own, model or name, path, progress)


async def _build(
    corpus: Indexable[Index_co],
    ex: Executor,
    model: str,
    path: Path | str | None,
    progress: Progress | None,
) -> Index_co:
    program = embed("embed", "texts: list[str] -> vectors: list[list[float]]", model=model)
    draft = corpus.draft(model, path)
    texts = draft.missing()
    with tracked(ex._session, progress, "index", len(texts)) as tracker:  # noqa: SLF001 - of this package
        for start in range(0, len(texts), MAX_TEXTS_PER_CALL):
            batch = texts[start : start + MAX_TEXTS_PER_CALL]
            trace = await ex.run(program, texts=batch)
            assert trace.outputs is not None  # noqa: S101 - a run that failed is raised
            draft.keep(batch, trace.outputs.vectors)
            tracker.count(len(batch))
    return draft.finish()

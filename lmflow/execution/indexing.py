"""The dense index of a corpus, made by a program: each vector is a recorded effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from lmflow.execution.executor import Executor
from lmflow.execution.progress import Progress, silent
from lmflow.programs.embedding import MINILM, MOST
from lmflow.programs.factories import embed

Index_co = TypeVar("Index_co", covariant=True)


class Draft(Protocol[Index_co]):
    """An index that is being built."""

    def missing(self) -> list[str]:
        """The texts whose vectors are not there yet."""
        ...

    def keep(self, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Keep the vectors of some texts."""
        ...

    def finish(self) -> Index_co:
        """The index, once nothing is missing."""
        ...


class Indexable(Protocol[Index_co]):
    """A ``Corpus``, or what can begin an index of itself."""

    def draft(self, model: str, path: Path | str | None = None) -> Draft[Index_co]:
        """An index by ``model``, to be filled with vectors."""
        ...


async def dense_index(
    corpus: Indexable[Index_co],
    ex: Executor,
    *,
    model: str = MINILM,
    path: Path | str | None = None,
    progress: Progress = silent,
) -> Index_co:
    """The dense index of a corpus, whose vectors ``model`` gives, 64 passages a call and a run; it
    is kept at ``path`` (beside the corpus without one).

    Vectors that are kept there already are not asked for again, so what was broken off goes on
    where it was. Raises ``ModelUnavailable`` where the extra ``dense``, the model or its weights
    are missing, and ``ModelFailed`` where a call fails, after what came before is kept: so does a
    passage that is too long for the model.
    """
    program = embed("embed", "texts: list[str] -> vectors: list[list[float]]", model=model)
    draft = corpus.draft(model, path)
    texts = draft.missing()
    with progress("embed", len(texts)) as step:
        for start in range(0, len(texts), MOST):
            asked = texts[start : start + MOST]
            trace = await ex.run(program, texts=asked)
            assert trace.outputs is not None  # noqa: S101 - a run that failed is raised
            draft.keep(asked, trace.outputs.vectors)
            for _ in asked:
                step(True)  # noqa: FBT003 - it worked
    return draft.finish()

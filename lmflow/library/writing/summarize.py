"""Summaries of texts of any length: parts side by side, then their summaries, until one is left."""

from __future__ import annotations

import attrs

from lmflow.library.frames import System, signed
from lmflow.library.writing.chunking import cut, packed
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict
from lmflow.signatures.signature import parse
from lmflow.values.record import Record

_LEAST = 20


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Summarize(System):
    """Map-reduce over the parts of a text; see ``summarize``."""

    part: Predict
    combine: Predict
    size: int

    def __attrs_post_init__(self) -> None:
        signed(self, parse("text -> summary"))

    async def body(self, inputs: Record) -> Record:
        """The summaries of the parts, combined until one is left."""
        parts = cut(inputs.text, self.size) or ("",)
        found = await Fork(tuple(self.part(text=text) for text in parts), name="part")
        summaries = [said.summary for said in found]
        while len(summaries) > 1:
            groups = packed([text[: self.size // 2] for text in summaries], self.size)
            found = await Fork(
                tuple(self.combine(summaries=group) for group in groups if len(group) > 1),
                name="group",
            )
            alone = [group[0] for group in groups if len(group) == 1]
            summaries = [*(said.summary for said in found), *alone]
        return Record(summary=summaries[0])


def summarize(instruction: str = "", *, size: int = 4000, name: str = "summarize") -> Summarize:
    """``text -> summary``: a text of up to ``size`` characters at once; a longer one in parts,
    whose summaries are combined, in order, again and again until one is left.

    Cost: 1 call for a text that fits; for ``p`` parts at most ``2 * p - 1``, since each combining
    makes one of at least two, in ``O(log p)`` rounds; the calls of one round run side by side. A
    summary that is longer than half of ``size`` is cut there when it is combined, so nothing that a
    model reads is longer than ``size``. Steps: ``part``, ``combine``; ``instruction`` says what
    both are to keep.

    Wu et al. 2021, arXiv 2109.10862 (recursive summaries).
    """
    if size < _LEAST:
        msg = f"size must be at least {_LEAST} characters, found {size}"
        raise ValueError(msg)
    kept = instruction or "Keep what matters most: who, what, when, numbers."
    return Summarize(
        name,
        predict("part", "text -> summary", f"Sum up the text in a few sentences. {kept}"),
        predict(
            "combine",
            "summaries: list[str] -> summary",
            f"These summaries are of parts of one text, in order. Make one summary of them, without repeats. {kept}",
        ),
        size,
    )

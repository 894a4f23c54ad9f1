"""Summaries of texts of any length: parts side by side, then summaries of their summaries."""

from __future__ import annotations

import attrs

from lmflow.library.system import System, set_system_signature
from lmflow.library.writing.chunking import group_texts, split_text
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record

_LEAST_SIZE = 20


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Summarize(System):
    """Map-reduce over the parts of a text; see ``summarize``."""

    part: Predict
    combine: Predict
    size: int

    def __attrs_post_init__(self) -> None:
        set_system_signature(self, parse_signature("text -> summary"))

    async def body(self, inputs: Record) -> Record:
        """Sum up the parts, and combine summaries until one is left."""
        parts = split_text(inputs.text, self.size) or ("",)
        replies = await Fork(tuple(self.part(text=text) for text in parts), name="part")
        summaries = [reply.summary for reply in replies]
        while len(summaries) > 1:
            # Half of the size at most, so that two always fit and each round ends with fewer.
            shown = [text[: self.size // 2] for text in summaries]
            groups = group_texts(shown, self.size)
            pendings = tuple(self.combine(summaries=group) for group in groups if len(group) > 1)
            replies = await Fork(pendings, name="group")
            single = [group[0] for group in groups if len(group) == 1]
            summaries = [*(reply.summary for reply in replies), *single]
        return Record(summary=summaries[0])


def summarize(instruction: str = "", *, size: int = 4000, name: str = "summarize") -> Summarize:
    """Make a program ``text -> summary`` for texts of any length.

    A text of up to ``size`` characters is summed up at once; a longer one in parts, whose summaries
    are combined, in order, until one is left.

    Cost: 1 call for a text that fits; for ``p`` parts at most ``2 * p - 1``, since each combining
    makes one of at least two, in ``O(log p)`` rounds; the calls of a round run side by side. A
    summary that is longer than half of ``size`` is cut there when it is combined, so a model reads
    nothing longer than ``size``. Steps: ``part``, ``combine``.

    Args:
        instruction: What both steps are to keep; by default what matters most.
        size: The most characters that a call is shown, at least 20.
        name: The name of the program.

    Returns:
        The program.

    Raises:
        ValueError: ``size`` is less than 20.

    Wu et al. 2021, arXiv 2109.10862 (recursive summaries).
    """
    if size < _LEAST_SIZE:
        msg = f"size must be at least {_LEAST_SIZE} characters, found {size}"
        raise ValueError(msg)
    focus = instruction or "Keep what matters most: who, what, when, numbers."
    return Summarize(
        name,
        predict("part", "text -> summary", f"Sum up the text in a few sentences. {focus}"),
        predict(
            "combine",
            "summaries: list[str] -> summary",
            "These summaries are of parts of one text, in order. Make one summary of them, without "
            f"repeats. {focus}",
        ),
        size,
    )

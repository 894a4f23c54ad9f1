"""Reading of outputs from the texts that stand for them, for adapters of one's own."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from lmflow.adapters.base import collect_outputs
from lmflow.adapters.thinking import without_thinking
from lmflow.signatures.parsing import interpret
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

__all__ = ["read_texts", "without_thinking"]


def read_texts(signature: Signature, texts: Mapping[str, str], *, whole: bool = True) -> Record:
    """Read the outputs of a signature from the text that a reply has for each.

    Values are read as laxly as those of lmflow's own adapters. An output that is missing takes its
    default, or null if its type allows that.

    Args:
        signature: The signature; its outputs give the types.
        texts: Name of an output -> text; names that the signature lacks are ignored.
        whole: Whether the reply is whole. Broken JSON of one that was cut isn't mended.

    Returns:
        A record with every output.

    Raises:
        Unreadable: An output is missing or doesn't fit; the error names every problem, and holds
            the outputs without one.

    Example:
        >>> step = lf.predict("step", "question -> count: int, why")
        >>> read_texts(step.signature, {"count": "3", "why": "so"})
        Record(count=3, why='so')
    """
    return collect_outputs(signature, texts, functools.partial(interpret, whole=whole))

"""Classification, also by many labels: shortlists side by side, then a choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs
import toolz

from lmflow.errors.calling import ParseFailure
from lmflow.errors.composing import UnknownInput
from lmflow.errors.words import listed
from lmflow.library.system import System, set_system_signature
from lmflow.programs.effects import Fork
from lmflow.programs.environment import AppendedText
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

_GROUP = 20
_TRIES = 2
_DIGITS = 5  # of the largest number that is read as a label's


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Classify(System):
    """Groups of labels shortlisted side by side, then one label chosen; see ``classify``."""

    shortlist: Predict
    choose: Predict
    labels: tuple[str, ...]
    group: int
    likely: int

    def __attrs_post_init__(self) -> None:
        set_system_signature(self, _signature(self.labels))

    async def body(self, inputs: Record) -> Record:
        """Return the label that is chosen from the shortlists, or from all if they are empty."""
        groups = list(toolz.partition_all(self.group, self.labels))
        pendings = tuple(self.shortlist(text=inputs.text, labels=group) for group in groups)
        replies = await Fork(pendings, name="group")
        candidates: list[str] = []
        for reply, group in zip(replies, groups, strict=True):
            candidates += _known_labels(reply.likely, group)[: self.likely]
        return Record(label=await self._choose(inputs.text, tuple(candidates) or self.labels))

    async def _choose(self, text: str, labels: tuple[str, ...]) -> str:
        """Ask for one of several labels, once more if the reply is none of them."""
        if len(labels) == 1:
            return labels[0]
        pending, replies = self.choose(text=text, labels=labels), list[str]()
        for _ in range(_TRIES):
            reply: str = (await pending).label
            replies.append(reply)
            if label := label_in(reply, labels):
                return label
            advice = (
                f"{reply!r:.80} is none of the labels. Reply with one of them, letter by letter."
            )
            pending = pending.under({f"{self.choose.name}.instruction": AppendedText(advice)})
        problems = ("it is none of the labels",) * len(replies)
        raise ParseFailure(self.choose.name, f"one of {listed(labels)}", problems, tuple(replies))


def classify(
    labels: Iterable[str],
    instruction: str = "",
    *,
    group: int = _GROUP,
    likely: int = 3,
    name: str = "classify",
) -> Program:
    """Make a program ``text -> label`` that chooses one of ``labels``.

    Cost: with up to ``group`` labels 1 call, the step ``classify``, which may be asked once more as
    any step. With more, ``ceil(labels / group)`` calls side by side, the step
    ``classify.shortlist``, each of which names up to ``likely`` labels of its group; then 1 call of
    ``classify.choose``, or 2 if the first reply, whose problem the second is told, is none of
    the shortlist; then it is a ``ParseFailure``. A single candidate is returned without that call;
    if there is none, the choice is of all labels.

    Args:
        labels: The labels, all different (case aside).
        instruction: What to classify by; by default which label fits the text.
        group: The most labels that one call is shown, at least 2.
        likely: The most labels of a group that are shortlisted, at least 1.
        name: The name of the program.

    Returns:
        A step, or a system of two steps if there are more than ``group`` labels.

    Raises:
        ValueError: There are no labels, or two are the same.
        UnknownInput: ``group`` or ``likely`` is too small.

    Shortlisting before ranking: D'Oosterlinck et al. 2024, arXiv 2401.12178, with groups in place
    of search.
    """
    names = tuple(labels)
    _check_labels(names)
    if group < 2 or likely < 1:  # noqa: PLR2004 - a group of one is not a choice
        problem = f"group={group}, likely={likely}"
        raise UnknownInput("classify", problem, ("group >= 2", "likely >= 1"))
    text = instruction or "Say which label fits the text."
    if len(names) <= group:
        return predict(name, _signature(names), text)
    return Classify(
        name,
        predict(
            "shortlist",
            "text, labels: list[str] -> likely: list[str]",
            f"{text} List those of the labels that may fit, most likely first, at most {likely}, "
            "one a line; none if none may.",
        ),
        predict(
            "choose", "text, labels: list[str] -> label", f"{text} Reply with the label alone."
        ),
        names,
        group,
        likely,
    )


def label_in(reply: str, labels: Sequence[str]) -> str:
    """Return the label that a reply means, by name in any case or by number; else ``""``."""
    word = reply.strip().strip("\"'`.[] ").casefold()
    by_name = {label.casefold(): label for label in labels}
    if word in by_name:
        return by_name[word]
    if not (word.isascii() and word.isdigit() and len(word) <= _DIGITS):
        return ""
    number = int(word)
    return labels[number - 1] if 0 < number <= len(labels) else ""


def _known_labels(replies: Iterable[str], group: Sequence[str]) -> list[str]:
    labels = (label_in(reply, group) for reply in replies)
    return list(toolz.unique(label for label in labels if label))


def _signature(labels: tuple[str, ...]) -> Signature:
    label: Any = Literal[labels]
    return Signature((Field(name="text"),), (Field(name="label", type=label),))


def _check_labels(labels: tuple[str, ...]) -> None:
    counts = toolz.frequencies(map(str.casefold, labels))
    repeated = [label for label, count in counts.items() if count > 1]
    if not labels or repeated:
        problem = f"{repeated[0]!r} twice" if repeated else "none"
        msg = f"labels must be some, all different (case aside), found {problem}"
        raise ValueError(msg)

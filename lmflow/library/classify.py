"""Classification, also by many labels: a shortlist first, then a choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs
import toolz

from lmflow.errors import ParseFailure, UnknownInput, listed
from lmflow.library.frames import System, signed
from lmflow.programs.effects import Fork
from lmflow.programs.environment import Added
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.signature import Field, Signature
from lmflow.values.record import Record

_MANY = 20
_TRIES = 2


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Classify(System):
    """Groups of labels shortlisted side by side, then one chosen; see ``classify``."""

    shortlist: Predict
    choose: Predict
    labels: tuple[str, ...]
    group: int
    likely: int

    def __attrs_post_init__(self) -> None:
        label: Any = Literal[self.labels]
        signed(self, Signature((Field(name="text"),), (Field(name="label", type=label),)))

    async def body(self, inputs: Record) -> Record:
        """The label that is chosen of those that were likely."""
        asked = (
            self.shortlist(text=inputs.text, labels=group)
            for group in toolz.partition_all(self.group, self.labels)
        )
        found = await Fork(tuple(asked), name="group")
        groups = toolz.partition_all(self.group, self.labels)
        likely = [self._kept(said.likely, group) for said, group in zip(found, groups, strict=True)]
        some = tuple(label for kept in likely for label in kept) or self.labels
        return Record(label=some[0] if len(some) == 1 else await self._chosen(inputs.text, some))

    def _kept(self, said: Iterable[str], group: Sequence[str]) -> tuple[str, ...]:
        known = (meant(text, group) for text in said)
        return tuple(toolz.unique(label for label in known if label))[: self.likely]

    async def _chosen(self, text: str, labels: tuple[str, ...]) -> str:
        pending, said = self.choose(text=text, labels=labels), list[str]()
        for _ in range(_TRIES):
            said.append((await pending).label)
            if label := meant(said[-1], labels):
                return label
            wrong = (
                f"{said[-1]!r:.80} is none of the labels. Reply with one of them, letter by letter."
            )
            pending = pending.under({f"{self.choose.name}.instruction": Added(wrong)})
        problems = ("it is none of the labels",) * len(said)
        raise ParseFailure(self.choose.name, f"one of {listed(labels)}", problems, tuple(said))


def classify(
    labels: Iterable[str],
    instruction: str = "",
    *,
    group: int = _MANY,
    likely: int = 3,
    name: str = "classify",
) -> Program:
    """``text -> label``, one of ``labels``.

    Cost: up to ``group`` labels 1 call, the step ``classify``, which may be asked again once as any
    step. With more, ``ceil(labels / group)`` calls side by side, the step ``classify.shortlist``,
    each of which names up to ``likely`` of its group; then 1 of ``classify.choose``, or 2 where the
    first says no label of the shortlist, which is then told; then it is a ``ParseFailure``. Where
    only one is likely it isn't asked; where none is, it chooses of all.

    Shortlisting before ranking: D'Oosterlinck et al. 2024, arXiv 2401.12178, with groups in place
    of search.
    """
    kept = tuple(labels)
    if not kept or not toolz.isdistinct(label.casefold() for label in kept):
        twice = [
            label
            for label, count in toolz.frequencies(map(str.casefold, kept)).items()
            if count > 1
        ]
        msg = f"labels must be some, all different (case aside), found {f'{twice[0]!r} twice' if twice else 'none'}"
        raise ValueError(msg)
    if group < 2 or likely < 1:  # noqa: PLR2004 - a group of one is no choice
        raise UnknownInput(
            "classify", f"group={group}, likely={likely}", ("group >= 2", "likely >= 1")
        )
    text = instruction or "Say which label fits the text."
    if len(kept) <= group:
        label: Any = Literal[kept]
        return predict(
            name, Signature((Field(name="text"),), (Field(name="label", type=label),)), text
        )
    return Classify(
        name,
        predict(
            "shortlist",
            "text, labels: list[str] -> likely: list[str]",
            f"{text} List those of the labels that may fit, most likely first, at most {likely}, one a line; none if "
            "none may.",
        ),
        predict(
            "choose", "text, labels: list[str] -> label", f"{text} Reply with the label alone."
        ),
        kept,
        group,
        likely,
    )


def meant(said: str, labels: Sequence[str]) -> str:
    """The label that a model means: by its words whatever their case, or by its number in the list;
    else nothing.
    """
    wanted = said.strip().strip("\"'`.[] ").casefold()
    by_name = {label.casefold(): label for label in labels}
    if wanted in by_name:
        return by_name[wanted]
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 else 0  # noqa: PLR2004 - no label's
    return labels[number - 1] if 0 < number <= len(labels) else ""

"""Metrics over sets: labels, entities, slots, citations. They carry their counts, for the micro
average over a set.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lmflow.errors import BadScore
from lmflow.metrics.base import Counts, FunctionMetric, Score
from lmflow.metrics.fields import golds, pick, shipped, text_of

_Row = Mapping[str, Any]


def set_f1(field: str, gold: str = "") -> FunctionMetric:
    """The F1 of two sets (lists without order or repeats), 1 if both are empty. Case and white
    space don't count.

    Its counts give the micro F1 over all examples (Manning et al. 2008, section 13.6):
    ``evaluation.micro``.

    Args:
        field: The output's field, a list.
        gold: The example's field, by default that of the output's name.

    Example:
        >>> lf.metrics.set_f1("tags")({"tags": ["a", "b"]}, {"tags": ["A"]}).counts
        Counts(right=1, found=1, wanted=2)
    """
    return shipped(_set_f1, counted, folded, golds, text_of, field=field, gold=gold or field)


def slot_f1(field: str = "slots", gold: str = "") -> FunctionMetric:
    """The F1 of (slot, value) or (type, entity) pairs, exact in both as in CoNLL-2003 (Tjong Kim
    Sang, De Meulder 2003, section 2.3), 1 if both sides are empty.

    CoNLL's own figure is the micro F1 over all examples: ``evaluation.micro``.

    Args:
        field: The output's field, a mapping of slots to a value or a list of values.
        gold: The example's field, by default that of the output's name.

    Raises:
        BadScore: When a field isn't such a mapping.
    """
    return shipped(
        _slot_f1, counted, pairs, folded, golds, text_of, field=field, gold=gold or field
    )


def citation_precision(field: str = "sources", gold: str = "sources") -> FunctionMetric:
    """The share of the cited sources that are among the reference sources; 0 if nothing is cited
    and something should be.

    ALCE (Gao et al. 2023, section 3) asks a model whether a source supports the sentence; here the
    example names the sources that do.

    Args:
        field: The output's field, a list of ids or a text with ids in brackets: ``[3]``,
            ``[a, b]``.
        gold: The example's field, of the same form.
    """
    return shipped(_citation_precision, cited, golds, text_of, field=field, gold=gold)


def citation_recall(field: str = "sources", gold: str = "sources") -> FunctionMetric:
    """The share of the reference sources that are cited, 1 if the example has none.

    Args:
        field: The output's field, a list of ids or a text with ids in brackets.
        gold: The example's field, of the same form.
    """
    return shipped(_citation_recall, cited, golds, text_of, field=field, gold=gold)


def folded(text: str) -> str:
    """The text in one case and with single spaces."""
    return " ".join(text.casefold().split())


def pairs(value: Any) -> Counter[tuple[str, str]]:
    """The (slot, value) pairs of a mapping, with repeats."""
    found = {} if value is None else value
    if not isinstance(found, Mapping):
        fix = 'Slots are a mapping: {"city": "Rome", "date": ["Monday", "Tuesday"]}.'
        raise BadScore("slot_f1", f"{value!r:.80} maps no slots to values", fix)
    return Counter(
        (folded(slot), folded(item)) for slot, items in found.items() for item in golds(items)
    )


def counted(found: Counter[Any], wanted: Counter[Any]) -> Score:
    """The F1 of two multisets, with its counts, and the missing and wrong items in words."""
    right, sizes = (found & wanted).total(), (found.total(), wanted.total())
    value = 2 * right / sum(sizes) if any(sizes) else 1.0
    sides = (("missing", wanted - found), ("wrong", found - wanted))
    said = [f"{word}: {', '.join(map(_said, rest.elements()))}" for word, rest in sides if rest]
    return Score(value, "; ".join(said), Counts(right, *sizes))


def cited(value: Any) -> frozenset[str]:
    """The ids in a list or in a text's brackets."""
    if not isinstance(value, str):
        return frozenset(golds(value or ()))
    inside = re.findall(r"\[([^\[\]]+)\]", value)
    return frozenset(
        name.strip() for group in inside for name in re.split("[,;]", group) if name.strip()
    )


def _said(item: Any) -> str:
    return item if isinstance(item, str) else "=".join(item)


def _set_f1(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    sides = [
        {folded(item) for item in golds(value or ())}
        for value in (pick(outputs, field), pick(example, gold))
    ]
    return counted(*(Counter(sorted(side)) for side in sides))


def _slot_f1(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    output, reference = pick(outputs, field), pick(example, gold)
    return counted(pairs(output), pairs(reference))


def _citation_precision(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    found, wanted = cited(pick(outputs, field)), cited(pick(example, gold))
    wrong = sorted(found - wanted)
    value = len(found & wanted) / len(found) if found else float(not wanted)
    feedback = (
        f"not a source: {', '.join(wrong)}"
        if wrong
        else ""
        if found or not wanted
        else "nothing is cited"
    )
    return Score(value, feedback, Counts(len(found & wanted), len(found), len(wanted)))


def _citation_recall(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    found, wanted = cited(pick(outputs, field)), cited(pick(example, gold))
    missing = sorted(wanted - found)
    value = len(found & wanted) / len(wanted) if wanted else 1.0
    feedback = f"not cited: {', '.join(missing)}" if missing else ""
    return Score(value, feedback, Counts(len(found & wanted), len(found), len(wanted)))

"""The screens of people's judgements: a queue of executions, and two versions compared blindly."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.evaluation.stats import sign_test
from lmflow.traces.events import ScoreRecorded
from lmflow.ui.pages import Act, Asked, BadQuery, Screen, Shown, Sources, command_line, link
from lmflow.values.record import plain

MOST = 500
"""The executions of a queue, or the pairs, that a page looks through."""

DEFAULT = "rating"
PREFERRED = "preferred"
_VALUES = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}
_CHOICES = {"1": (1.0, 0.0), "2": (0.0, 1.0), "3": (0.5, 0.5)}


def load_label(asked: Asked) -> Shown:
    """Show the next execution of a queue that this person has not judged yet."""
    name, where = asked.text("name", DEFAULT) or DEFAULT, asked.texts("where")
    conditions, after = asked.conditions(), asked.text("after")
    ids = [each.trace for each in asked.reader.listing.traces(conditions, MOST)]
    judged = {id_ for id_ in ids if _is_judged(asked, id_, name)}
    start = ids.index(after) + 1 if after in ids else 0
    following = [*ids[start:], *ids[:start]]
    trace = next((id_ for id_ in following if id_ not in judged), "")
    data = {
        "name": name,
        "where": "; ".join(where),
        "trace": trace,
        "shown": _execution(asked, trace) if trace else None,
        "left": len(ids) - len(judged),
        "queue": len(ids),
        "total": asked.reader.listing.count(conditions, "trace"),
        "values_of": [[key, value] for key, value in _VALUES.items()],
    }
    command = command_line("score", trace or "RUN", name=name, value="1")
    return Shown("Label", command, data)


LABEL = Screen("/label", "label.html", load_label, "Label")


async def label(sources: Sources, form: Mapping[str, str]) -> str:
    """Record a person's judgement of an execution, and show the next one."""
    name, value = form.get("name", "").strip(), form.get("value", "")
    trace = form.get("trace", "")
    if not name:
        raise BadQuery("name", "", "the name of the score")
    if value not in _VALUES:
        raise BadQuery("value", value, "1 to 5")
    await asyncio.to_thread(_check, sources, trace)
    comment = form.get("reason", "").strip()
    score = ScoreRecorded(trace, name, _VALUES[value], comment, who=sources.who, at=time.time_ns())
    await asyncio.to_thread(sources.append, score)
    return link("label", where=form.get("where", ""), name=name, after=trace)


JUDGE = Act("/label", label)


def load_pairs(asked: Asked) -> Shown:
    """Show the next pair of answers of two versions, without saying which is whose."""
    names = asked.text("a"), asked.text("b")
    data: dict[str, Any] = {"a": names[0], "b": names[1], "refs": sorted(asked.reader.refs())}
    data |= {"pair": None, "left": 0, "queue": 0, "most": MOST, "tally": None}
    command = command_line("diff", *(name or "VERSION" for name in names))
    if not all(names):
        return Shown("Blind comparison", command, data)
    versions = [asked.reader.version(name).id for name in names]
    if versions[0] == versions[1]:
        raise BadQuery("b", names[1], "another version than a")
    pairs = asked.sources.pairs(asked.reader, *versions, MOST)
    judged = [each for each in pairs if _is_judged(asked, each.a, PREFERRED)]
    judged_ids = {each.a for each in judged}
    open_pairs = [each for each in pairs if each.a not in judged_ids]
    data |= {"left": len(open_pairs), "queue": len(pairs)}
    data |= {"pair": _pair(asked, open_pairs[0]) if open_pairs else None}
    data |= {"tally": _tally(asked, judged)}
    return Shown("Blind comparison", command, data)


PAIRS = Screen("/label/pairs", "pairs.html", load_pairs)


async def prefer(sources: Sources, form: Mapping[str, str]) -> str:
    """Record which of two answers a person prefers, as a score of each."""
    left, right, choice = form.get("left", ""), form.get("right", ""), form.get("value", "")
    if choice not in _CHOICES:
        raise BadQuery("value", choice, "1 for the left one, 2 for the right one, 3 for neither")
    for trace in (left, right):
        await asyncio.to_thread(_check, sources, trace)
    comment, now = form.get("reason", "").strip(), time.time_ns()
    scores = [
        ScoreRecorded(
            trace, PREFERRED, value, f"beside {other}. {comment}".strip(), who=sources.who, at=now
        )
        for trace, other, value in (
            (left, right, _CHOICES[choice][0]),
            (right, left, _CHOICES[choice][1]),
        )
    ]
    await asyncio.to_thread(sources.append, *scores)
    return link("label", "pairs", a=form.get("a", ""), b=form.get("b", ""))


PREFER = Act("/label/pairs", prefer)


def _is_judged(asked: Asked, trace: str, name: str) -> bool:
    return _own_score(asked, trace, name) is not None


def _own_score(asked: Asked, trace: str, name: str) -> float | None:
    """Return the latest judgement of this person; ``None`` if there is none."""
    scores: Sequence[ScoreRecorded] = asked.reader.scores(trace)
    own = [each.value for each in scores if each.name == name and each.who == asked.sources.who]
    return own[-1] if own else None


def _execution(asked: Asked, trace: str) -> dict[str, Any]:
    outline = asked.outlines.trace(trace)
    inputs, outputs, failure = asked.outlines.values(outline.row)
    return {
        "label": outline.label,
        "name": outline.name,
        "inputs": plain(inputs or {}),
        "outputs": plain(outputs),
        "failure": plain(failure),
    }


def _pair(asked: Asked, pair: Any) -> dict[str, Any]:
    """Return both answers; which one stands on the left depends on the hash of their ids alone."""
    sides = [(pair.a, pair.row_a), (pair.b, pair.row_b)]
    if hashlib.blake2b(f"{pair.a} {pair.b}".encode(), digest_size=1).digest()[0] % 2:
        sides.reverse()
    (left, left_row), (right, right_row) = sides
    inputs, left_outputs, _ = asked.outlines.values(left_row)
    _, right_outputs, _ = asked.outlines.values(right_row)
    return {
        "inputs": plain(inputs or {}),
        "left": {"trace": left, "outputs": plain(left_outputs or {})},
        "right": {"trace": right, "outputs": plain(right_outputs or {})},
    }


def _tally(asked: Asked, judged: Sequence[Any]) -> dict[str, Any] | None:
    """Return how often each version was preferred, and the p of the sign test."""
    if not judged:
        return None
    values = [_own_score(asked, each.a, PREFERRED) for each in judged]
    a, b = sum(1 for v in values if v == 1.0), sum(1 for v in values if v == 0.0)
    p = sign_test(a, b) if a + b else None
    return {"a": a, "b": b, "ties": len(values) - a - b, "p": p}


def _check(sources: Sources, trace: str) -> None:
    """Raise ``NotFound`` unless the store has the execution."""
    with sources.reading() as reader:
        reader.outlines.trace(trace)

"""The laws of errors: one tree, fields that carry the data, words that mend."""

from __future__ import annotations

import pickle
import re

import attrs
import pytest

from lmflow import errors
from lmflow.errors import (
    BadData,
    LmflowError,
    ModelFailed,
    ParseFailure,
    ReplayDiverged,
    StepTimeout,
    StoreError,
    ToolFailed,
    listed,
    near,
    safe_repr,
)
from lmflow.messages.replies import failure_of, outcome_of, outcome_to
from lmflow.values.record import plain

CLASSES = sorted(
    (
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, LmflowError)
    ),
    key=lambda kind: kind.__name__,
)
LEAVES = [kind for kind in CLASSES if attrs.has(kind)]
RECORDED = [
    ModelFailed("rate_limit", "slow down", 429, 1.5),
    ToolFailed("search", "ValueError", "no"),
    StepTimeout("answer", 3.0),
]


def _example(kind: type[LmflowError]) -> LmflowError:
    texts = {field.name: "x y" for field in attrs.fields(kind)}  # type: ignore[arg-type]
    values = {
        "known": ("x z",),
        "given": ("x z",),
        "paths": ("x z",),
        "problems": ("no",),
        "clashes": (errors.Clash("x y", "", "a", "b"),),
        "matches": (),
        "names": (("x y", "a", "b"),),
        "fields": ("x y",),
        "outputs": ("x z",),
        "replies": ("r",),
        "seconds": 3.0,
    }
    return kind(**{name: values.get(name, text) for name, text in texts.items()})


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """The module's docstring draws every class once, under its base."""
    drawn = re.findall(
        r"^[│ ├└─]*([A-Z]\w+)",
        (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0],
        re.MULTILINE,
    )
    assert [kind.__name__ for kind in CLASSES] == sorted(drawn)


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_pickles(kind: type[LmflowError]) -> None:
    """A pickled error keeps its class and words."""
    error = _example(kind)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(error), str(error)) == (type(again), str(again))


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_is_one_sentence_at_least(kind: type[LmflowError]) -> None:
    """An error's text says what was found."""
    assert "x y" in str(_example(kind))


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_is_raised_and_chained(kind: type[LmflowError]) -> None:
    """A frozen error can be raised from another and keeps its cause."""
    cause = ValueError("why")
    with pytest.raises(kind) as caught:
        raise _example(kind) from cause
    assert cause is caught.value.__cause__


@pytest.mark.parametrize("error", RECORDED, ids=lambda error: type(error).__name__)
def test_a_recorded_error_is_rebuilt_from_data(error: errors.CallError) -> None:
    """An error that is recorded comes back with its class, fields and words, through JSON too."""
    failure = outcome_of(plain(outcome_to(failure_of(error))))
    assert failure_of(error) == failure
    again = failure_of(error).error()
    assert (type(error), str(error)) == (type(again), str(again))
    assert attrs.asdict(error) == attrs.asdict(again)  # type: ignore[arg-type]


def test_a_near_name_is_suggested() -> None:
    """Did-you-mean speaks only where a name is near."""
    assert (" Did you mean 'question'?", "") == (
        near("questoin", ["question", "n"]),
        near("zzz", ["question"]),
    )


def test_nothing_is_listed_as_nothing() -> None:
    """Names are listed as code."""
    assert ("`a`, `b`", "nothing") == (listed("ab"), listed(()))


def test_a_parse_failure_shows_every_try() -> None:
    """Both replies and what was wrong with each are in the text."""
    error = ParseFailure("count", "`n` (a whole number)", ("p", "q"), ("r", "s"))
    assert "count: expected `n` (a whole number); found: p in 'r'; then q in 's'" == str(error)


@pytest.mark.parametrize(
    ("recorded", "asked", "words"),
    [
        ("a", "b", "the request differs"),
        ("", "b", "nothing was recorded there"),
        ("a", "", "never asked for"),
    ],
)
def test_a_divergence_shows_both_sides(recorded: str, asked: str, words: str) -> None:
    """A divergence says its place and both sides, and which one is absent."""
    text = str(ReplayDiverged("f[0]/call[0]", recorded, asked, "Record it anew."))
    assert words in text.splitlines()[0]
    assert "f[0]/call[0]" in text.splitlines()[0]
    assert [f"-{recorded}"] * bool(recorded) + [f"+{asked}"] * bool(asked) == text.splitlines()[
        4:-1
    ]
    assert text.endswith("Record it anew.")


def test_a_store_error_may_have_no_fix() -> None:
    """An error without a fix ends with its problem."""
    assert "store x.db: it is gone." == str(StoreError("x.db", "it is gone"))


def test_a_template_is_filled_from_the_fields() -> None:
    """A class words its errors by its template; braces in a field's value stay as they are."""
    error = BadData("rows.jsonl, line 1", "it holds {x}", "Mend it")
    assert "rows.jsonl, line 1: it holds {x}. Mend it" == str(error)


def test_an_error_without_a_template_has_the_words_that_it_was_given() -> None:
    """The root of the tree can be raised with words of its own."""
    assert "no" == str(LmflowError("no"))


def test_what_python_cannot_write_is_its_type() -> None:
    """A value is shown as it is; a number that is too long, or nesting without end, as its type."""
    assert ("{'a': 1}", "a int") == (safe_repr({"a": 1}), safe_repr(10**5000))
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert "a list" == safe_repr(deep)

"""The law of guessed attributes: what a value lacks is named with what is called so here."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors.missing_attributes import _ELSEWHERE, ExplainsAttributes

ANSWER = lf.predict("answer", "question -> answer")
ROWS = [{"question": "a", "answer": "x"}, {"question": "b", "answer": "x"}]


def _evaluation() -> lf.Evaluation:
    with lf.Sync(lf.scripted(lambda _: "x")) as ex:
        return ex.evaluate(ANSWER, ROWS, lf.exact_match())


def _run() -> lf.Run:
    with lf.Sync(lf.scripted(lambda _: "x")) as ex:
        return ex.map(ANSWER, ROWS)


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (_evaluation, "accuracy", "Here: evaluation.mean"),
        (_evaluation, "results", "Here: evaluation.rows"),
        (_evaluation, "headlin", "Did you mean 'headline'?"),
        (_run, "score", "Here: a metric scores it: lf.scores_from(run, rows, metric)"),
        (_run, "answer", "Its traces have outputs: run.traces[0].outputs.answer"),
        (lambda: _run().traces[0], "answer", "It is an output: trace.outputs.answer"),
        (lambda: _run().traces[0], "usage", "Here: each of trace.calls"),
        (lambda: lf.init(ANSWER), "demos", 'Here: version["answer.instruction"]'),
        (lambda: lf.Executor(None), "history", "Here: ex.runs[-1] is the last run"),
        (lambda: lf.Sync(None), "batch", "Here: ex.map(program, rows)"),
    ],
)
def test_a_guessed_attribute_is_named(make: Any, name: str, words: str) -> None:
    """An attribute of another library's results says what holds it here."""
    value = make()
    with pytest.raises(AttributeError) as caught:
        getattr(value, name)
    assert words in str(caught.value)


def test_a_name_like_no_other_gets_python_s_words_alone() -> None:
    """Nothing is guessed for a name that is near none."""
    with pytest.raises(AttributeError, match=r"^'Version' object has no attribute 'zzzz'$"):
        lf.init(ANSWER).zzzz  # type: ignore[attr-defined]  # noqa: B018 - the access is the test


@pytest.mark.parametrize("kind", sorted(_ELSEWHERE))
def test_what_an_attribute_is_called_here_exists(kind: str) -> None:
    """Each name that the table mentions is a public one, or an attribute of its class."""
    classes = {"ex": lf.Executor}
    for name in ("Trace", "Run", "Evaluation", "Optimization", "Version"):
        classes[name.lower()] = getattr(lf, name)
    for hint in _ELSEWHERE[kind].values():
        for public in re.findall(r"\blf\.(\w+)", hint):
            assert hasattr(lf, public)
        for value, attribute in re.findall(r"\b([a-z]+)\.(?!json)([a-z]\w*)", hint):
            names = {*dir(classes.get(value)), *getattr(classes.get(value), "__annotations__", ())}
            assert value not in classes or attribute in names


def test_private_names_are_not_explained() -> None:
    """What Python and libraries probe for is answered in Python's words, at once."""
    assert getattr(_run(), "_repr_json_", None) is None
    assert not hasattr(lf.Sync(None), "__array__")


def test_copies_and_pickles_survive() -> None:
    """A version is copied and pickled as before."""
    version = lf.init(ANSWER)
    assert version == copy.deepcopy(version) == pickle.loads(pickle.dumps(version))  # noqa: S301 - its own bytes


def test_a_property_that_fails_shows_its_own_error() -> None:
    """The error within a property isn't taken for a missing attribute."""

    class Broken(ExplainsAttributes):
        @property
        def total(self) -> int:
            missing: Any = None
            count: int = missing.count
            return count

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'count'"):
        Broken().total  # noqa: B018 - the access is the test


def test_a_missing_field_lists_the_fields() -> None:
    """A key that a trace doesn't write is refused with those that it writes."""
    with pytest.raises(KeyError, match=r"Trace has no field 'answer'; it has id, .*outputs"):
        _run().traces[0]["answer"]

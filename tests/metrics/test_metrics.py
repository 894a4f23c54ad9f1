"""The laws of metrics as values: what counts as a score, what a metric is keyed by, and when it is
given the trace.
"""

from __future__ import annotations

import functools
import math
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadScore, MissingInput, Unidentified
from lmflow.metrics import (
    Counts,
    FunctionMetric,
    Score,
    as_score,
    metric,
    metric_key,
    name_of,
    score_of,
)
from lmflow.values.record import Record

EXAMPLE, OUTPUTS = Record(answer="yes"), Record(answer="yes")


def right(example: Any, outputs: Any) -> bool:
    """Whether the answer is right."""
    return bool(example.answer == outputs.answer)


def helped(example: Any, outputs: Any) -> float:
    """As its helper says."""
    return float(right(example, outputs))


def calls(_example: Any, _outputs: Any, trace: Any) -> float:
    """How many calls the trace has."""
    return float(len(trace))


def at_least(_example: Any, _outputs: Any, *, least: float = 0.5) -> bool:
    """Whether one is at least something."""
    return least <= 1


class Stateful:
    """A callable object."""

    def __call__(self, _example: Any, _outputs: Any) -> float:
        """Always right."""
        return 1.0


async def asking(_example: Any, _outputs: Any) -> Any:
    """No metric: it would ask something."""
    return 1.0


@metric
def decorated(example: Any, outputs: Any) -> bool:
    """Made a metric where it is defined."""
    return bool(example == outputs)


@pytest.mark.parametrize(
    ("found", "value"), [(True, 1.0), (False, 0.0), (3, 3.0), (-0.5, -0.5), (Score(1), 1.0)]
)
def test_what_counts_as_a_score(found: Any, value: float) -> None:
    """A bool is 0 or 1, a number stays as it is, also outside 0 and 1; the value is a float."""
    score = as_score("m", found)
    assert (value, float) == (score.value, type(score.value))


@pytest.mark.parametrize(
    "kind", [np.float16, np.float32, np.float64, np.longdouble, np.array, Decimal, Fraction]
)
def test_every_kind_of_number_counts(kind: Any) -> None:
    """Numbers of numpy, arrays without dimensions, decimals and fractions are floats."""
    score = as_score("m", kind(0.5))
    assert (0.5, float) == (score.value, type(score.value))


@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.uint64, np.array])
def test_a_bool_or_whole_number_of_numpy_counts(kind: Any) -> None:
    """What numpy's comparisons and counts give is 0 or 1, and a whole number."""
    counts: Any = Counts(np.int8(1), np.array(2), 3)  # type: ignore[arg-type]
    score = as_score("m", Score(kind(1), counts=counts))
    assert Score(1.0, counts=Counts(1, 2, 3)) == score
    assert {float, int} == {type(part) for part in (score.value, score.counts.right)}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.float32("nan"), "it gave nan"),
        (np.float64("inf"), "it gave inf"),
        (np.array(np.nan), "it gave nan"),
        (np.ma.masked, "it gave nan"),
        (Decimal("NaN"), "it gave nan"),
        (Decimal("sNaN"), "it gave nan"),
        (Decimal("-Infinity"), "it gave -inf"),
        (10**400, "it gave inf"),
        (np.array([0.5]), "it gave a ndarray"),
        (np.complex64(1), "it gave a complex64"),
        (np.datetime64("2020"), "it gave a datetime64"),
        (np.str_("1"), "it gave a str_"),
    ],
)
def test_what_is_no_finite_number_is_refused(value: Any, words: str) -> None:
    """NaN, infinities and all that is no single real number are refused by name."""
    with pytest.raises(BadScore, match=words):
        as_score("m", value)


def test_counts_are_whole_numbers() -> None:
    """Counts that aren't whole numbers are refused."""
    with pytest.raises(BadScore, match=r"it gave the counts Counts\(right=0.5"):
        as_score("m", Score(1.0, counts=Counts(0.5, 1, 1)))  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(), st.integers(0, 9))
def test_a_score_stays_a_score(value: float, feedback: str, right: int) -> None:
    """What is a score already keeps its value, feedback and counts."""
    score = Score(value, feedback, Counts(right, 9, 9))
    assert (score, value) == (as_score("m", score), float(score))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, r"metric m: it gave None \(None\)"),
        ("1", r"it gave a str \('1'\)"),
        (math.nan, "it gave nan"),
        (math.inf, "it gave inf"),
        (Score(math.nan), "it gave nan"),
        ([1.0], r"it gave a list"),
        (1j, r"it gave a complex"),
        (Score("0.5"), r"it gave a str"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_score(found: Any, words: str) -> None:
    """All else is refused, with the metric's name, what it gave and what it should give."""
    with pytest.raises(BadScore, match=words) as caught:
        as_score("m", found)
    assert str(caught.value).endswith("a finite number, a bool or lf.Score(value, feedback).")


def test_a_coroutine_is_no_score() -> None:
    """A metric that would ask a model is a judge; the coroutine is closed, so that Python has
    nothing to warn of.
    """
    as_metric: Any = asking
    with pytest.raises(BadScore, match=r"lf\.Judge"):
        score_of(as_metric, EXAMPLE, OUTPUTS)


@pytest.mark.parametrize(
    "made", [right, metric(right), metric(right, version="1"), lambda _, __: 1]
)
def test_a_function_and_its_metric_score_alike(made: Any) -> None:
    """A bare function is a metric."""
    assert Score(1.0) == score_of(made, EXAMPLE, OUTPUTS)


@pytest.mark.parametrize("made", [calls, metric(calls)])
def test_the_trace_is_given_where_it_is_declared(made: Any) -> None:
    """A parameter called trace is given the trace; who has none isn't."""
    assert (Score(2.0), Score(1.0)) == (
        score_of(made, {}, {}, [1, 2]),
        score_of(right, EXAMPLE, OUTPUTS, [1, 2]),
    )


def test_what_a_metric_raises_is_raised() -> None:
    """A mistake in a metric isn't a score of 0."""
    with pytest.raises(AttributeError, match="no field 'answer'"):
        score_of(right, Record(), Record())


def test_a_judge_is_no_function() -> None:
    """What has to be asked first is refused in words."""
    judge: Any = lf.Judge(
        lf.grounded, reads={"context": "example.context", "response": "outputs.answer"}
    )
    with pytest.raises(
        BadScore, match=r"metric grounded: a Judge can't be called. .* a judge is asked first"
    ):
        score_of(judge, EXAMPLE, OUTPUTS)


def test_the_key_is_the_source() -> None:
    """A metric and its bare function have one key, another function another."""
    assert metric_key(right) == metric_key(metric(right, name="other")) != metric_key(helped)


def test_helpers_are_in_the_key_where_they_are_named() -> None:
    """Functions are not chased, so helpers that matter are listed."""
    assert (
        metric_key(helped) != metric(helped, uses=[right]).key != metric(helped, uses=[calls]).key
    )


def test_options_are_in_the_key_and_given() -> None:
    """Options are keyword arguments; another option is another metric."""
    low, high = (metric(at_least, options={"least": least}) for least in (1, 2))
    assert (1.0, 0.0) == (low(EXAMPLE, OUTPUTS).value, high(EXAMPLE, OUTPUTS).value)
    assert low.key != high.key


def test_a_version_stands_for_the_source() -> None:
    """What has no identity of its own is given one, and only that counts."""
    keys = [metric(function, version="1").key for function in (lambda _, __: 1, lambda _, __: 0)]
    assert keys[0] == keys[1] != metric(lambda _, __: 1, version="2").key


@pytest.mark.parametrize(
    "function", [lambda _, __: 1, functools.partial(at_least, least=1), Stateful()]
)
def test_a_function_without_identity_needs_a_version(function: Any) -> None:
    """A lambda, a partial or an object can't be keyed; the words ask for a version."""
    with pytest.raises(Unidentified, match="version="):
        metric_key(function)


def test_a_closure_needs_a_version() -> None:
    """What a function closes over isn't in its source."""
    wanted = "yes"

    def closed(_example: Any, outputs: Any) -> bool:
        return bool(outputs.answer == wanted)

    with pytest.raises(Unidentified, match="closes over wanted"):
        metric(closed)
    assert 1.0 == metric(closed, version="yes")(EXAMPLE, OUTPUTS).value


@pytest.mark.parametrize(
    ("made", "name"),
    [(right, "right"), (metric(right), "right"), (metric(right, name="fit"), "fit"), (Stateful(), "Stateful"),
     (lf.exact_match(), "exact_match"), (decorated, "decorated")],
)  # fmt: skip
def test_what_a_metric_is_called(made: Any, name: str) -> None:
    """A metric is called as its function, or as it was told."""
    assert name == name_of(made)


@pytest.mark.parametrize(
    "made", [metric(right), decorated, lf.exact_match("label"), lf.recall_at_k(3)]
)
def test_a_metric_pickles(made: FunctionMetric) -> None:
    """A pickled metric is equal, has the key and scores."""
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert (made, made.key) == (again, again.key)


SHIPPED = {
    "exact_match": lf.exact_match, "f1": lf.f1, "squad_em": lf.squad_em, "squad_f1": lf.squad_f1,
    "hotpot_em": lf.hotpot_em, "hotpot_f1": lf.hotpot_f1, "contains": lf.contains, "numeric": lf.numeric,
    "passage_match": lf.passage_match, "set_f1": lf.set_f1, "slot_f1": lf.slot_f1, "mrr": lf.mrr,
    "citation_precision": lf.citation_precision, "citation_recall": lf.citation_recall,
}  # fmt: skip


def test_shipped_metrics_have_keys_of_their_own() -> None:
    """No two shipped metrics, nor one over two fields, share a key."""
    made: list[FunctionMetric] = [
        factory(field) for factory in SHIPPED.values() for field in ("a", "b")
    ]
    assert 2 * len(SHIPPED) == len({each.key for each in made})


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_metrics_are_called_as_they_are_made(name: str) -> None:
    """A metric's name is its factory's, and its factory says where it comes from or what it means."""
    assert name == str(SHIPPED[name]("x"))
    assert SHIPPED[name].__doc__


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(
    ("example", "outputs"), [({"gold": "x"}, {"anwser": "x"}), ({"gol": "x"}, {"answer": "x"})]
)
def test_a_field_that_is_missing_is_named(
    name: str, example: dict[str, str], outputs: dict[str, str]
) -> None:
    """A metric over a field that isn't there is a mistake with a hint, not a score."""
    with pytest.raises(MissingInput, match=r"Did you mean '(anwser|gol)'"):
        SHIPPED[name]("answer", "gold")(Record(example), Record(outputs))


def test_a_metric_is_frozen() -> None:
    """Metrics and scores are values."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Score(1.0).value = 2.0  # type: ignore[misc]
    assert 1 == len({lf.f1(), lf.f1()})

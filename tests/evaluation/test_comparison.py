"""The laws of comparisons: paired on the same examples, honest about what can't be told."""

from __future__ import annotations

import math
import pickle
import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored import evaluation, grouped

import lmflow as lf
from lmflow.errors import BadData, NotComparable
from lmflow.evaluation.comparison import Comparison, compare
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.stats import paired_test, sign_test

score = st.sampled_from([0.0, 0.25, 0.5, 1.0])
pairs = st.lists(st.tuples(score, score), min_size=1, max_size=25)


def binary(wins: int, losses: int, ties: int) -> Comparison:
    """A comparison of 0/1 scores: b alone right, a alone right, both right."""
    sides = [(0.0, 1.0)] * wins + [(1.0, 0.0)] * losses + [(1.0, 1.0)] * ties
    return compare(*both(sides))


def both(sides: list[tuple[float, float]]) -> tuple[Evaluation, Evaluation]:
    """Two evaluations on the same examples."""
    a, b = ({f"e{at}": pair[side] for at, pair in enumerate(sides)} for side in (0, 1))
    return evaluation(a, version="1"), evaluation(b, version="2")


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_the_difference_is_b_minus_a(sides: list[tuple[float, float]]) -> None:
    """The mean of b - a over the pairs, as the paired test has it."""
    found = compare(*both(sides))
    differences = [b - a for a, b in sides]
    assert pytest.approx(math.fsum(differences) / len(sides)) == found.difference.value
    assert paired_test(differences) == found.test


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_wins_losses_and_ties_are_all_pairs(sides: list[tuple[float, float]]) -> None:
    """Every pair is a win of b, a loss or a tie; the clearest come first."""
    found = compare(*both(sides))
    assert {*found.pairs} == {*found.wins, *found.losses, *found.ties}
    assert len(sides) == len(found.wins) + len(found.losses) + len(found.ties)
    assert [*found.wins] == sorted(found.wins, key=lambda pair: -pair.difference)
    assert [*found.losses] == sorted(found.losses, key=lambda pair: pair.difference)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40
    )
)
@settings(max_examples=40, deadline=None)
def test_turned_round_the_other_side_is_better(sides: list[tuple[float, float]]) -> None:
    """The comparison of a against b says the same with the sides swapped."""
    a, b = both(sides)
    there, back = compare(a, b), compare(b, a)
    assert (there.p, there.difference.value) == (back.p, -back.difference.value)
    assert {"a": "b", "b": "a", None: None}[there.better] == back.better
    assert there.more_examples == back.more_examples


def test_an_evaluation_against_itself() -> None:
    """Nothing differs: no side is better, and no number of examples is promised."""
    a, _ = both([(1.0, 0.0), (0.5, 0.5)])
    found = compare(a, a)
    assert (None, None, 1.0, 0.0) == (
        found.better,
        found.more_examples,
        found.p,
        found.difference.value,
    )
    assert str(found).startswith("can't tell: b - a = 0.000")
    assert "they score alike on every example" in found.verdict


def test_pairing_finds_what_means_hide() -> None:
    """On hard and easy examples a small steady gain is clear in pairs, though both means have wide
    intervals.
    """
    rng = random.Random(2)  # noqa: S311
    base = [rng.random() * 0.9 for _ in range(40)]
    a, b = both([(value, value + 0.02 + 0.01 * rng.random()) for value in base])
    assert a.mean is not None
    assert b.mean is not None
    assert (a.mean.high or 0) > b.mean.value
    assert "b" == compare(a, b).better


@pytest.mark.parametrize(
    ("wins", "losses", "better"),
    [
        (12, 2, "b"),
        (2, 12, "a"),
        (7, 5, None),
        (7, 1, None),
        (0, 0, None),
        (5, 0, None),
        (6, 0, "b"),
    ],
)
def test_0_1_scores_are_judged_by_mcnemar(wins: int, losses: int, better: str | None) -> None:
    """A side is better where the exact p is below 0.05 and the interval leaves 0 out; 7 : 1 has p
    0.07.
    """
    found = binary(wins, losses, 10)
    assert (sign_test(wins, losses), "McNemar's exact test", better) == (
        found.p,
        found.test.name,
        found.better,
    )


def test_a_decided_comparison_in_words() -> None:
    """Which side, by how much with its interval, p and n; then what was compared, and the count of
    wins.
    """
    assert [
        "b is better by 0.200 [0.051, 0.334], p 0.013, n 50",
        "a = answer 1; b = answer 2; exact_match, McNemar's exact test",
        "b wins 12, loses 2, ties 36",
    ] == str(binary(12, 2, 36)).splitlines()[:3]


def test_the_better_side_is_named_with_a_gain() -> None:
    """Where a is better, its gain is positive."""
    assert "a is better by 0.200 [0.051, 0.334], p 0.013, n 50" == binary(2, 12, 36).verdict


def test_an_undecided_comparison_says_what_would_decide_it() -> None:
    """By hand: d = 0.06, variance 0.1964, so 7.849 * 0.1964 / 0.0036 * 100 / 99 = 433 examples, 333
    more.
    """
    found = binary(13, 7, 80)
    assert 333 == found.more_examples
    assert (
        "can't tell: b - a = 0.060 [-0.031, 0.148], p 0.26, n 100; about 333 more examples would (80 % power)"
        == found.verdict
    )


def test_one_more_example_is_one() -> None:
    """The count and its noun agree."""
    found = compare(*both([(0.5, 1.0)] * 5 + [(1.0, 1.0)] * 3))
    assert found.verdict.endswith("n 8; about 1 more example would (80 % power)")


def test_no_difference_says_what_would_have_been_seen() -> None:
    """As many wins as losses: 2.80 * sqrt(0.1 / 99) is what 100 examples would have shown."""
    assert (
        "no difference was seen; one of 0.089 would have been (80 % power)"
        in binary(5, 5, 90).verdict
    )


@pytest.mark.parametrize(
    ("sides", "words", "more"),
    [
        (
            [(0.5, 0.6)] * 3,
            "b - a = 0.100, p 0.25, n 3; b is ahead by the same on every example, which are too few",
            3,
        ),
        ([(0.6, 0.5)] * 5, "a is ahead by the same on every example", 1),
        ([(0.0, 1.0)] * 3, "b is ahead by the same on every example, which are too few: 3 more", 3),
        ([(0.5, 0.6)] * 6, "b is better by 0.100 on every example, p 0.031, n 6", 0),
        ([(0.6, 0.5)] * 30, "a is better by 0.100 on every example, p < 0.001, n 30", 0),
        ([(0.5, 0.5)] * 7, "p 1, n 7; they score alike on every example", None),
    ],
)
def test_equal_differences_have_no_interval(
    sides: list[tuple[float, float]], words: str, more: int | None
) -> None:
    """Nothing says how much another pair would differ: the sign test decides, and no interval of
    no width is printed.
    """
    found = compare(*both(sides))
    assert words in found.verdict
    assert more == found.more_examples


def test_rounding_is_no_spread() -> None:
    """Differences that arithmetic made unequal in the last digit are equal."""
    sides = [(0.2, 0.3), (0.8, 0.9), (0.5, 0.6), (0.3, 0.4), (0.1, 0.2), (0.6, 0.7)]
    assert 1 < len({b - a for a, b in sides})
    found = compare(*both(sides))
    assert (None, "b is better by 0.100 on every example, p 0.031, n 6") == (
        found.difference.low,
        found.verdict,
    )


def test_equal_clusters_are_counted_by_their_signs() -> None:
    """Clusters that all gain the same are told by the sign test too."""
    rows = [(f"e{at}", f"d{at // 2}", 0.5) for at in range(12)]
    better = [(name, document, 0.6) for name, document, _ in rows]
    found = compare(grouped(rows), grouped(better), cluster="document")
    assert ("sign test", 6, "b") == (found.test.name, found.difference.n, found.better)


def test_a_mean_of_equal_scores_says_why_it_has_no_interval() -> None:
    """In place of a method that is called none."""
    assert (
        "n 3, no interval: all scores are equal" in evaluation(dict.fromkeys("abc", 0.5)).headline
    )
    assert "n 1, no interval: there is one score" in evaluation({"a": 0.5}).headline


def test_a_decided_comparison_needs_no_more() -> None:
    """Nothing is left to decide."""
    assert 0 == binary(12, 2, 36).more_examples


def test_a_tiny_p_is_not_printed_as_zero() -> None:
    """A p below 0.001 is said to be that."""
    assert "p < 0.001" in binary(30, 0, 0).verdict


def test_only_shared_examples_are_paired() -> None:
    """Examples that one side alone has are left out, and counted in the words."""
    found = compare(
        evaluation({"a": 1.0, "b": 1.0, "c": 0.0}),
        evaluation({"b": 0.0, "c": 0.0, "d": 1.0, "e": 1.0}),
    )
    assert (["b", "c"], ("a",), ("d", "e")) == (
        [pair.id for pair in found.pairs],
        found.only_a,
        found.only_b,
    )
    assert "left out: 1 only in a, 2 only in b" in str(found).splitlines()


def test_failures_are_left_out_and_named() -> None:
    """A failed row is no zero; how many failed under each side is said, since they may not be
    alike.
    """
    sides = evaluation({"a": 1.0, "b": None, "c": 0.0}), evaluation({"a": 0.0, "b": 1.0, "c": None})
    found = compare(*sides)
    assert (["a"], ("b",), ("c",)) == (
        [pair.id for pair in found.pairs],
        found.failed_a,
        found.failed_b,
    )
    assert "left out: 1 failed in a, 1 failed in b" in str(found).splitlines()


def test_failures_count_where_that_is_asked_for() -> None:
    """With failures as 0 every shared example is a pair."""
    sides = evaluation({"a": 1.0, "b": None, "c": 0.0}), evaluation({"a": 0.0, "b": 1.0, "c": None})
    found = compare(*sides, failures_as=0.0)
    assert ([-1.0, 1.0, 0.0], (), ()) == (
        [pair.difference for pair in found.pairs],
        found.failed_a,
        found.failed_b,
    )


def test_samples_are_averaged_within_their_example() -> None:
    """Five runs of an example are one pair."""
    a = [evaluation({"a": value, "b": 0.0}) for value in (0.0, 1.0)]
    joined = Evaluation("answer", (*a[0].rows, *a[1].rows), metric="m")
    found = compare(joined, evaluation({"a": 1.0, "b": 0.0}))
    assert [("a", 0.5), ("b", 0.0)] == [(pair.id, pair.difference) for pair in found.pairs]


def test_clusters_are_kept_together() -> None:
    """Questions on one document are one unit of the test: the evaluations' own field, or the one
    that is given.
    """
    a = grouped([(f"e{at}", f"d{at // 4}", 0.0) for at in range(24)])
    b = grouped([(f"e{at}", f"d{at // 4}", float(at // 4 % 2)) for at in range(24)])
    plain, together = compare(a, b), compare(a, b, cluster="document")
    assert (24, "b", 6, None) == (
        plain.difference.n,
        plain.better,
        together.difference.n,
        together.better,
    )
    assert together == compare(a.clustered("document"), b)


def test_a_cluster_that_examples_lack_is_refused() -> None:
    """A mistyped field isn't one cluster of everything."""
    a = grouped([("a", "x", 0.0), ("b", "x", 0.5)])
    with pytest.raises(BadData, match="Did you mean 'document'"):
        compare(a, a, cluster="documnt")


def test_more_examples_are_counted_as_examples() -> None:
    """Where clusters are the units, the advice is still in examples."""
    a = grouped([(f"e{at}", f"d{at // 4}", 0.0) for at in range(24)])
    b = grouped(
        [(f"e{at}", f"d{at // 4}", [0.1, 0.5, -0.2, 0.0, 0.1, 0.1][at // 4]) for at in range(24)]
    )
    found = compare(a, b, cluster="document")
    assert found.more_examples is not None
    assert 0 == (found.more_examples + 24) % 4
    assert found.more_examples > 24


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (
            evaluation({"a": 1.0}),
            evaluation({"b": 1.0, "c": 1.0}),
            "none of 1 and 2 examples has a score under both",
        ),
        (evaluation({"a": None}), evaluation({"a": 1.0}), "none of 1 and 1 examples"),
        (evaluation({}), evaluation({}), "none of 0 and 0"),
        (
            evaluation({"a": 1.0}),
            grouped([("a", "x", 1.0)]),
            "the example 'a' differs between them",
        ),
    ],
)
def test_what_cannot_be_paired(a: Evaluation, b: Evaluation, words: str) -> None:
    """Nothing in common, or one id for two examples: there is no difference to tell."""
    with pytest.raises(NotComparable, match=words):
        compare(a, b)


def test_two_metrics_are_not_compared() -> None:
    """A score of one metric says nothing against one of another; scoring again costs nothing."""
    other = attrs.evolve(evaluation({"a": 1.0}), metric="other", metric_name="f1")
    with pytest.raises(
        NotComparable,
        match=r"by exact_match and f1, two metrics. Score both by one: lf.scores_from",
    ):
        compare(evaluation({"a": 1.0}), other)


def test_the_table_shows_losses_first() -> None:
    """A reader looks at what got worse, then at what got better; both sides' outputs stand side by
    side.
    """
    rows = compare(*both([(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])).table()
    assert ["e1", "e0", "e2"] == [row["id"] for row in rows]
    assert {"id": "e1", "a": 1.0, "b": 0.0, "a.answer": "of e1", "b.answer": "of e1"} == rows[0]


def test_printed_it_lists_the_pairs_that_differ() -> None:
    """Losses come first; ties are left out."""
    lines = str(compare(*both([(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]))).splitlines()
    head = lines.index("id  a    b    a.answer  b.answer")
    assert ["e1  1.0  0.0  of e1     of e1", "e0  0.0  1.0  of e0     of e0"] == lines[head + 1 :]


@pytest.mark.parametrize("show", ["_repr_html_", "_repr_markdown_"])
def test_a_notebook_shows_hostile_text_as_text(show: str) -> None:
    """Outputs of a model can't be markup on a page."""
    a, b = both([(0.0, 1.0)])
    hostile = lf.Record(answer="<script>alert(1)</script>\x1b[2J")
    page = getattr(
        compare(attrs.evolve(a, rows=(attrs.evolve(a.rows[0], outputs=hostile),)), b), show
    )()
    assert "&lt;script" in page
    assert "<script" not in page
    assert "\x1b" not in page


def test_a_comparison_is_a_value() -> None:
    """It pickles, equals its like, and shows its verdict."""
    found = binary(12, 2, 36)
    assert found == pickle.loads(pickle.dumps(found)) == binary(12, 2, 36)  # noqa: S301
    assert "<Comparison: b is better by 0.200" in repr(found)


@given(pairs.filter(lambda sides: len(sides) > 3), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_order_of_rows_decides_nothing(
    sides: list[tuple[float, float]], rng: random.Random
) -> None:
    """The mean, and for 0/1 scores the whole test, is the same for rows in any order."""
    a, b = both(sides)
    shuffled = attrs.evolve(b, rows=tuple(rng.sample(b.rows, len(b.rows))))
    assert compare(a, b).test == compare(a, shuffled).test

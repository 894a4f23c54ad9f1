"""The laws of updates: what share is done, what time is left, and the words for both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.progress.update import Best, duration, facts

counts = st.integers(0, 10_000)


@given(counts, counts, st.none() | counts, counts)
def test_the_share_is_between_nothing_and_all(
    done: int, total: int, limit: int | None, calls: int
) -> None:
    """Whatever is done of whatever, the share is from 0 to 1, and no time left is negative."""
    update = lf.ProgressUpdate(
        title="x", done=done, total=total, calls=calls, calls_limit=limit, seconds=3.0
    )
    assert update.share is not None
    assert 0 <= update.share <= 1
    assert update.left is None or update.left >= 0


def test_the_dearer_share_counts() -> None:
    """The work ends at its last step or at the budget's last call, whichever comes first."""
    update = lf.ProgressUpdate(title="x", done=1, total=10, calls=30, calls_limit=40, seconds=30.0)
    assert (0.75, 10.0) == (update.share, update.left)


def test_nobody_knows_an_end_without_a_total() -> None:
    """Without a total and a limit there is no share, and no time left."""
    update = lf.ProgressUpdate(title="x", done=5, seconds=1.0)
    assert (None, None, "x  5") == (update.share, update.left, str(update))


def test_nothing_to_do_is_done() -> None:
    """Of no steps all are done."""
    assert 1.0 == lf.ProgressUpdate(title="x", total=0).share


def test_the_words_name_everything() -> None:
    """An update of an optimization says phase, best score with its interval, calls, cost, time."""
    update = lf.ProgressUpdate(
        title="mipro rag", done=34, total=120, failures=2, calls=40, calls_limit=100,
        cost=1_234_000, phase="trial 3", best=Best(0.62, 0.45, 0.77), seconds=40.0,
    )  # fmt: skip
    assert (
        "mipro rag  34/120  2 failed  trial 3  best 0.620 [0.450, 0.770]  40 of 100 calls"
        "  $0.0012  60 s left" == str(update)
    )


def test_the_end_says_how_long_it_took() -> None:
    """The last update has the whole time instead of the time left."""
    update = lf.ProgressUpdate(title="x", done=2, total=2, calls=1, seconds=200.0, ended=True)
    assert "x  2/2  1 call  in 3 min" == str(update)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h")]
)
def test_durations_grow_with_their_units(seconds: float, words: str) -> None:
    """Seconds, then minutes, then hours."""
    assert words == duration(seconds)


def test_a_score_without_an_interval_stands_alone() -> None:
    """One value has no interval."""
    assert "0.500" == str(Best(0.5))


@given(st.text(max_size=60), st.text(max_size=60))
def test_names_never_steer_a_terminal(title: str, phase: str) -> None:
    """Titles and phases of any text come out without control characters, on one line."""
    text = str(lf.ProgressUpdate(title=f"\x1b]0;{title}\x07", phase=phase, seconds=1.0))
    assert text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text
    assert not {"\x1b", "\x07", "\n", "\r", "\u202e"} & set(text)


def test_silence_is_a_function_of_an_update() -> None:
    """``silent`` takes an update as any other function does."""
    lf.silent(lf.ProgressUpdate(title="x"))


def test_facts_have_names() -> None:
    """Displays choose among the facts by name."""
    assert ["title", "count"] == [name for name, _ in facts(lf.ProgressUpdate(title="x"))]

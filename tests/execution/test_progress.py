"""The laws of progress: it is told each example once, and shows nothing where it shouldn't."""

import contextlib
from collections.abc import Iterator

import pytest

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.execution.progress import Step, bar, silent

ANSWER = lf.predict("answer", "question -> answer", "Answer.")


async def test_each_example_is_told_once() -> None:
    """Progress is told title and total, then of each example whether it went well."""
    told: list[object] = []

    @contextlib.contextmanager
    def ear(title: str, total: int) -> Iterator[Step]:
        told.append((title, total))
        yield told.append

    script = lf.scripted({"a": "fine", "b": ModelFailed("request", "no")})
    async with lf.Executor(script, concurrency=1) as ex:
        await ex.map(
            ANSWER, [{"question": "a"}, {"question": "b"}, {"question": "a"}], progress=ear
        )
    assert [("answer", 3), True, False, True] == told


def test_silence_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """``silent`` writes nowhere."""
    with silent("work", 2) as step:
        step(True)  # noqa: FBT003 - one fact
    assert ("", "") == capsys.readouterr()


def test_a_bar_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """``bar`` writes to standard error only."""
    with bar("work", 2) as step:
        step(True)  # noqa: FBT003 - one fact
        step(False)  # noqa: FBT003 - one fact
    assert "" == capsys.readouterr().out


async def test_progress_does_not_change_the_run() -> None:
    """With a bar or without, the root is the same."""
    roots = set()
    for progress in (silent, bar):
        async with lf.Executor(lf.scripted(lambda _: "x")) as ex:
            roots.add((await ex.map(ANSWER, [{"question": "a"}], progress=progress)).root)
    assert 1 == len(roots)

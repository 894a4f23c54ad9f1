"""What a store is after kills at each point of a commit, and of making rows of its log."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lmflow.stores.sqlite.reading import reading
from lmflow.stores.sqlite.writing.waiting import log_waits

WRITER = str(Path(__file__).with_name("log_writer.py"))
POINTS = ("appended", "committed", "rows", "deleted", "settled")


def _killed(path: Path, point: str, occurrence: int) -> list[int]:
    """Return the calls that were acknowledged before the writer killed itself."""
    command = [sys.executable, WRITER, str(path), point, str(occurrence)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert -9 == done.returncode, done.stderr
    return [int(line) for line in done.stdout.split()]


def _check(path: Path, acknowledged: list[int], point: str) -> None:
    with reading(path) as reader:
        run = reader.run("r1")
        stored = [int(trace.id[1:]) for trace in run.traces]
        assert acknowledged == stored[: len(acknowledged)], point
        assert len(stored) - len(acknowledged) <= 1, point  # one more was on its way
        assert all(trace.outputs and len(trace.calls) == 1 for trace in run.traces), point
        assert len(stored) == len(reader.search(["a*"], 99)), point
        assert () == reader.check().problems, point
        assert not log_waits(reader._db), point


def test_a_kill_at_any_point_of_a_commit_loses_nothing_acknowledged(
    rounds: Iterator[int], tmp_path: Path
) -> None:
    """Killed within a commit to the log, after it, or while rows are made of it, a store has each
    acknowledged call once, with its rows, its entry of the index and right hashes.
    """
    choose = random.Random(7)  # noqa: S311 - repeatable
    for number, point in enumerate(itertools.cycle(POINTS)):
        if number >= len(POINTS) and next(rounds, None) is None:
            return
        path = tmp_path / f"{number}.db"
        most = 3 if point in {"rows", "deleted", "settled"} else 25
        _check(path, _killed(path, point, choose.randint(1, most)), point)

"""How long the tests of torture go on: ``LMFLOW_TORTURE`` seconds each, by default a few; and what
they count, which a run tells at its end.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

SHORT = 3.0
TALLY = pytest.StashKey[Counter[str]]()


@pytest.fixture
def rounds() -> Iterator[int]:
    """The numbers of rounds until the time is over, at least one."""
    end = time.monotonic() + float(os.environ.get("LMFLOW_TORTURE", SHORT))

    def count() -> Iterator[int]:
        number = 0
        while number == 0 or time.monotonic() < end:
            yield number
            number += 1

    return count()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Counter[str]:
    """Counts of what was done and seen, by their words; ``worst ...`` hold the largest."""
    return request.config.stash.setdefault(TALLY, Counter())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell what was counted."""
    counts = config.stash.get(TALLY, Counter())
    if counts:
        terminalreporter.section("counted")
        for words in sorted(counts):
            terminalreporter.write_line(f"{counts[words]:>8,} {words}")

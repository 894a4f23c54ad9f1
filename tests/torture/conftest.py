"""How long the tests of torture go on: ``LMFLOW_TORTURE`` seconds each, by default a few."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

SHORT = 3.0


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

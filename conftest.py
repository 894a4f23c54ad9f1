"""The fences of the README and the docs are tests: tests/support/fences.py says how they run."""

import gc

from fences import SYBIL

pytest_collect_file = SYBIL.pytest()


def pytest_collection_finish() -> None:
    """Take what was collected out of the garbage collector's sight: it would look through millions
    of objects again and again, which took a third of the time of all tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)

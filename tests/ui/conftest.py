"""Stores for the web view: the recorded one, an empty one, and one that is full of hostile text."""

import gzip
from pathlib import Path

import pytest

import lmflow as lf

RECORDED = Path(__file__).parents[1] / "fixtures" / "recorded" / "store.db.gz"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with runs of each kind."""
    path = tmp_path_factory.mktemp("filled") / "store.db"
    path.write_bytes(gzip.decompress(RECORDED.read_bytes()))
    lf.SqliteStore(path).close()  # brings it to the schema of now
    return path


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without anything in it."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    lf.SqliteStore(path).close()
    return path

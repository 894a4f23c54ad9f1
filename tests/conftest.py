"""Hypothesis profiles: CI draws the same examples every time, a desk draws new ones. And a folder
with a program.
"""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from commanding import APP
from hypothesis import settings
from postgres_server import programs, server

pytest_plugins = ["pytester"]

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a job in the background, and its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a database in a server of PostgreSQL of the tests' own."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with server(folder) as url:
        yield url


@pytest.fixture
def unseen() -> None:
    """Take what is alive out of the collector's sight, so that new objects are counted quickly."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where we are, with a program in it; no key, endpoint or store is named."""
    name = f"app_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP, encoding="utf-8")
    (tmp_path / "name").write_text(name, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LMFLOW_STORE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path

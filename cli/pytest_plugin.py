"""The pytest plugin: the fixture ``lmflow_replay``, which records what a test asks of models and
replays it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lmflow.cli.testing.no_network import NoNetwork
    from lmflow.cli.testing.recording import Recording

MODES = ("none", "once", "new", "all")
LONGEST = 120

_MARKER = (
    "lmflow_replay(mode=..., store=...): how the fixture lmflow_replay records: mode none, once, new or all; "
    "store a file for one test, or a folder, beside the test's file."
)
_HELP = (
    "none: send nothing. once: record where there is no recording, else send nothing. new: record what is new. "
    "all: record anew. The default is the marker's, else none where CI is set, else once."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--lmflow-record``."""
    parser.getgroup("lmflow").addoption(
        "--lmflow-record", choices=MODES, metavar="MODE", help=_HELP
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse two tests with one recording: each would overwrite the other's."""
    taken: dict[Path, str] = {}
    for item in items:
        if next(item.iter_markers("lmflow_replay"), None) is None:
            continue
        path = recording_path(item)
        if (other := taken.setdefault(path, item.nodeid)) != item.nodeid:
            msg = f"{other} and {item.nodeid} would both record to {path}: name a folder, store={path.stem + '/'!r}"
            raise pytest.UsageError(msg)


@pytest.fixture
def lmflow_replay(request: pytest.FixtureRequest) -> Iterator[Recording]:
    """The test's recording: ``async with lmflow_replay.executor("openai/...") as ex`` or
    ``lmflow_replay.run(...)``.

    What a test asks is recorded once to ``recordings/MODULE/TEST.db`` beside it, and answered from
    there afterwards: offline, without a key, and with the network shut.
    """
    from lmflow.cli.testing.no_network import NoNetwork  # noqa: PLC0415
    from lmflow.cli.testing.recording import Recording  # noqa: PLC0415 - tests that don't record don't pay for it

    recording = Recording(
        recording_path(request.node), request.node.nodeid, mode(request.node, os.environ)
    )
    request.node.stash[_RECORDING] = recording
    if not recording.replays:
        yield recording
        return
    with NoNetwork(f"{recording.path} answers this test; --lmflow-record=new lets it ask.") as shut:
        request.node.stash[_SHUT] = shut
        yield recording


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep what was recorded; a test that reached for the network while it was shut has failed."""
    try:
        result = yield
    except BaseException:
        if (recording := item.stash.get(_RECORDING, None)) is not None:
            recording.finish(failed=True)
        raise
    if (recording := item.stash.get(_RECORDING, None)) is not None:
        recording.finish(failed=False)
    if (shut := item.stash.get(_SHUT, None)) is not None and shut.tried:
        raise shut.refusal(shut.tried[0])
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show of a failed test where it parts from its recording."""
    report = yield
    recording = item.stash.get(_RECORDING, None)
    if report.when == "call" and report.failed and recording is not None:
        report.sections.append(("lmflow recording", recording.report()))
    return report


def mode(item: pytest.Item, environ: Mapping[str, str]) -> str:
    """What may be sent in a test: as the command line says, else its marker, else ``none`` in CI,
    else ``once``.
    """
    found = item.config.getoption("--lmflow-record") or _marked(item).get("mode")
    if found is None:
        return "none" if environ.get("CI", "").lower() not in {"", "0", "false"} else "once"
    if found not in MODES:
        raise pytest.UsageError(
            f"{item.nodeid}: lmflow_replay(mode={found!r}): expected {', '.join(MODES)}"
        )
    return str(found)


def recording_path(item: pytest.Item) -> Path:
    """The file of a test's recording: one a test, so that tests which run side by side share none."""
    store = _marked(item).get("store")
    if store is not None and not str(store).endswith("/"):
        return Path(item.path.parent, store)
    folder = item.path.parent / (store or f"recordings/{item.path.stem}")
    _, _, name = item.nodeid.partition("::")
    return Path(folder, f"{_file_name(name or item.name)}.db")


def _marked(item: pytest.Item) -> Mapping[str, Any]:
    """The options of all markers on a test, the nearest first."""
    found: dict[str, Any] = {}
    for marker in item.iter_markers("lmflow_replay"):
        if marker.args or marker.kwargs.keys() - {"mode", "store"}:
            raise pytest.UsageError(
                f"{item.nodeid}: lmflow_replay takes mode=... and store=..., by name"
            )
        found = {**marker.kwargs, **found}
    return found


def _file_name(test: str) -> str:
    """The test's name as a file's, on every system; what had to be changed is told apart by a hash."""
    name = test.replace("::", ".")
    plain = re.sub(r"[^\w.\-\[\]]", "_", name, flags=re.ASCII)[:LONGEST]
    return plain if plain == name else f"{plain}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


_RECORDING: pytest.StashKey[Recording] = pytest.StashKey()
_SHUT: pytest.StashKey[NoNetwork] = pytest.StashKey()

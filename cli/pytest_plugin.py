"""The pytest plugin: the fixture ``lmflow_replay``, which records the calls of a test and replays
them.
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
    "lmflow_replay(mode=..., store=...): how the fixture lmflow_replay records: mode none, once, "
    "new or all; store a file for one test, or a folder, relative to the test's file."
)
_HELP = (
    "none: send nothing. once: record if there is no recording, else send nothing. "
    "new: record what is new. all: record everything anew. "
    "The default is the marker's mode, else none if CI is set, else once."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--lmflow-record``.

    Args:
        parser: pytest's parser of the command line.
    """
    parser.getgroup("lmflow").addoption(
        "--lmflow-record", choices=MODES, metavar="MODE", help=_HELP
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker.

    Args:
        config: pytest's configuration.
    """
    config.addinivalue_line("markers", _MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse two tests with one recording, of which each would overwrite the other's.

    Args:
        items: The collected tests.

    Raises:
        pytest.UsageError: If two tests record to one file.
    """
    tests: dict[Path, str] = {}
    for item in items:
        if next(item.iter_markers("lmflow_replay"), None) is None:
            continue
        path = recording_path(item)
        other = tests.setdefault(path, item.nodeid)
        if other != item.nodeid:
            both = f"{other} and {item.nodeid} would both record to {path}"
            raise pytest.UsageError(f"{both}: name a folder, store={path.stem + '/'!r}")


@pytest.fixture
def lmflow_replay(request: pytest.FixtureRequest) -> Iterator[Recording]:
    """Record the model and tool calls of a test once, and answer them from the record afterwards.

    The recording is the file ``recordings/MODULE/TEST.db`` in the folder of the test's module. A
    test that is answered from it runs offline, without a key, and with the network shut.

    Args:
        request: pytest's request for the fixture.

    Returns:
        The recording: ``async with lmflow_replay.executor("openai/...") as ex`` or
        ``lmflow_replay.run(program, ...)``.

    Raises:
        pytest.UsageError: If the marker ``lmflow_replay`` has unknown arguments or an unknown mode.
        StoreError: If the recording can't be read.
    """
    # Imported here, so that tests that record nothing don't wait for these imports.
    from lmflow.cli.testing.no_network import NoNetwork  # noqa: PLC0415
    from lmflow.cli.testing.recording import Recording  # noqa: PLC0415

    test = request.node
    recording = Recording(recording_path(test), test.nodeid, mode(test, os.environ))
    test.stash[_RECORDING] = recording
    if not recording.replays:
        yield recording
        return
    why = f"{recording.path} answers this test; --lmflow-record=new lets it send calls."
    with NoNetwork(why) as network:
        test.stash[_NETWORK] = network
        yield recording


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Write the recording after a test; fail the test if it tried the network while it was shut.

    Args:
        item: The test.

    Returns:
        The result of the test.

    Raises:
        NetworkShut: If the test tried to reach the network, even if it swallowed the error.
        ReplayDiverged: If an execution of the test can't be replayed.
    """
    try:
        result = yield
    except BaseException:
        recording = item.stash.get(_RECORDING, None)
        if recording is not None:
            recording.finish(failed=True)
        raise
    recording = item.stash.get(_RECORDING, None)
    if recording is not None:
        recording.finish(failed=False)
    network = item.stash.get(_NETWORK, None)
    if network is not None and network.tried:
        raise network.refusal(network.tried[0])
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of a failed test how it differs from its recording, without lmflow's own frames.

    Args:
        item: The test.
        call: The part of the test that ended.

    Returns:
        The report.
    """
    recording = item.stash.get(_RECORDING, None)
    if recording is None or call.excinfo is None or call.when != "call":
        return (yield)
    from lmflow.cli.testing.failures import (  # noqa: PLC0415 - only for tests that failed
        hide_internals,
        parted_report,
        without_own_log,
    )

    hide_internals(call.excinfo)
    report = yield
    parted = parted_report(call.excinfo, recording)
    if report.failed and parted is not None:
        report.longrepr = parted  # type: ignore[assignment]
        report.sections = without_own_log(report.sections)
    elif report.failed:
        report.sections.append(("lmflow recording", recording.report()))
    return report


def mode(item: pytest.Item, environ: Mapping[str, str]) -> str:
    """Return the recording mode of a test.

    Args:
        item: The test.
        environ: The environment variables, of which ``CI`` is read.

    Returns:
        The mode of the command line, else the marker's, else ``none`` in CI, else ``once``.

    Raises:
        pytest.UsageError: If the mode or an argument of the marker is unknown.
    """
    chosen = item.config.getoption("--lmflow-record") or _marker_options(item).get("mode")
    if chosen is None:
        return "none" if environ.get("CI", "").lower() not in {"", "0", "false"} else "once"
    if chosen not in MODES:
        raise pytest.UsageError(
            f"{item.nodeid}: lmflow_replay(mode={chosen!r}): expected {', '.join(MODES)}"
        )
    return str(chosen)


def recording_path(item: pytest.Item) -> Path:
    """Return the file of a test's recording: one file per test, so that parallel tests share none.

    Args:
        item: The test.

    Returns:
        The path, which may not exist.

    Raises:
        pytest.UsageError: If an argument of the marker is unknown, or its store is a URL.
    """
    store = _marker_options(item).get("store")
    if "://" in str(store):
        problem = "a recording is a file that stands beside the test, not a database"
        raise pytest.UsageError(f"{item.nodeid}: {problem}: store='recordings/'")
    if store is not None and not str(store).endswith("/"):
        return Path(item.path.parent, store)
    folder = item.path.parent / (store or f"recordings/{item.path.stem}")
    _, _, name = item.nodeid.partition("::")
    return Path(folder, f"{_file_name(name or item.name)}.db")


def _marker_options(item: pytest.Item) -> Mapping[str, Any]:
    """Return the options of all markers of a test; those of the nearest marker take precedence."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("lmflow_replay"):
        if marker.args or marker.kwargs.keys() - {"mode", "store"}:
            raise pytest.UsageError(
                f"{item.nodeid}: lmflow_replay takes mode=... and store=..., by name"
            )
        options = {**marker.kwargs, **options}
    return options


def _file_name(test: str) -> str:
    """Return a test's name as a portable file name, with a hash if characters were replaced."""
    name = test.replace("::", ".")
    plain = re.sub(r"[^\w.\-\[\]]", "_", name, flags=re.ASCII)[:LONGEST]
    return plain if plain == name else f"{plain}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


_RECORDING: pytest.StashKey[Recording] = pytest.StashKey()
_NETWORK: pytest.StashKey[NoNetwork] = pytest.StashKey()

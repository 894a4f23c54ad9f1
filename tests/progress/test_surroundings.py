"""The laws of where progress is shown: a pure decision from facts that are read in one place."""

import io
import sys
import types
from typing import Any

import pytest

from lmflow.progress.surroundings import Surroundings, shows_progress, surroundings_of


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


class Broken(io.StringIO):
    """A stream that nobody may ask."""

    def isatty(self) -> bool:
        """Fail as a descriptor does that was closed."""
        raise OSError


def here(stream: Any = None, *arguments: str, **environ: str) -> Surroundings:
    """The facts of a process without modules."""
    return surroundings_of(stream, environ, {}, arguments or ("script.py",))


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({}, False),
        ({"terminal"}, True),
        ({"notebook"}, True),
        ({"terminal", "tests"}, False),
        ({"terminal", "ci"}, False),
        ({"terminal", "server"}, False),
        ({"notebook", "tests", "ci"}, True),
    ],
)
def test_it_is_decided_by_facts(facts: set[str], shown: bool) -> None:  # noqa: FBT001 - a case
    """Terminals and notebooks show progress; tests, CI and servers are quiet on terminals."""
    assert shown == shows_progress(Surroundings(**dict.fromkeys(facts, True)))


def test_a_terminal_is_an_open_one_that_moves_its_cursor() -> None:
    """No stream, a pipe, a closed stream, one that fails and a dumb terminal are none."""
    closed = Terminal()
    closed.close()
    assert here(Terminal()).terminal
    assert not here(Terminal(), TERM="dumb").terminal
    for stream in (None, io.StringIO(), closed, Broken(), object()):
        assert not here(stream).terminal


@pytest.mark.parametrize(("value", "ci"), [("true", True), ("1", True), ("0", False), ("", False)])
def test_ci_says_so_in_its_environment(value: str, ci: bool) -> None:  # noqa: FBT001 - a case
    """The variable CI counts unless it says no."""
    assert ci == here(CI=value).ci


def test_tests_are_a_process_of_pytest() -> None:
    """The variable alone is not enough: a process that a test starts has it too."""
    environ = {"PYTEST_CURRENT_TEST": "test_x.py::test (call)"}
    assert not surroundings_of(None, environ, {}, []).tests
    assert surroundings_of(None, environ, {"_pytest": pytest}, []).tests
    assert not surroundings_of(None, {}, {"_pytest": pytest}, []).tests


@pytest.mark.parametrize(
    ("command", "server"),
    [
        ("/usr/bin/uvicorn", True),
        ("/lib/python/uvicorn/__main__.py", True),
        ("gunicorn", True),
        ("train.py", False),
        ("/usr/bin/lmflow", False),
    ],
)
def test_a_server_is_known_by_its_command(command: str, server: bool) -> None:  # noqa: FBT001
    """Servers of web applications are known; a module of theirs may be a client's too."""
    assert server == surroundings_of(None, {}, {"uvicorn": sys}, [command]).server
    assert not surroundings_of(None, {}, {}, []).server


def test_a_notebook_is_ipython_with_a_kernel() -> None:
    """IPython in a terminal has no kernel."""
    for shell, notebook in (
        (None, False),
        (types.SimpleNamespace(), False),
        (types.SimpleNamespace(kernel=object()), True),
    ):
        ipython = types.SimpleNamespace(get_ipython=lambda shell=shell: shell)
        assert notebook == surroundings_of(None, {}, {"IPython": ipython}, []).notebook

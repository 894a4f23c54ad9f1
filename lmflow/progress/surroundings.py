"""Where a process runs, and whether progress is shown there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, TextIO

import attrs

from lmflow.views.notebook import is_notebook

_SERVERS = {"uvicorn", "gunicorn", "hypercorn", "daphne", "granian", "fastapi"}
"""Commands of web servers. That a module of theirs is loaded says nothing: clients load it too."""


@attrs.frozen(kw_only=True)
class Surroundings:
    """The facts that decide whether progress is shown.

    Attributes:
        terminal: Standard error is an open terminal that can move its cursor.
        notebook: The process is the kernel of a notebook.
        tests: The process runs tests of pytest.
        ci: The environment says that this is continuous integration (``CI``).
        server: The process is the command of a web server.
    """

    terminal: bool = False
    notebook: bool = False
    tests: bool = False
    ci: bool = False
    server: bool = False


def shows_progress(surroundings: Surroundings) -> bool:
    """Decide whether progress is shown if the caller does not say: in a notebook, and on a terminal
    unless tests, continuous integration or a server run there.

    A notebook that tests execute still shows it: the kernel is a process of its own, and the bar is
    part of the notebook.

    Args:
        surroundings: The facts.

    Returns:
        Whether a bar is shown.

    Example:
        >>> shows_progress(Surroundings(terminal=True)), shows_progress(Surroundings())
        (True, False)
    """
    if surroundings.notebook:
        return True
    quiet = surroundings.tests or surroundings.ci or surroundings.server
    return surroundings.terminal and not quiet


def surroundings_of(
    stream: TextIO | None,
    environ: Mapping[str, str],
    modules: Mapping[str, Any],
    arguments: Sequence[str],
) -> Surroundings:
    """Read the facts from standard error, the environment, the loaded modules and the command.

    Args:
        stream: ``sys.stderr``, which may be ``None`` or closed.
        environ: ``os.environ``.
        modules: ``sys.modules``.
        arguments: ``sys.argv``.

    Returns:
        The facts.
    """
    in_pytest = "PYTEST_CURRENT_TEST" in environ or "PYTEST_VERSION" in environ
    return Surroundings(
        terminal=_is_terminal(stream) and environ.get("TERM") != "dumb",
        notebook=is_notebook(modules),
        # A process that tests have started has their environment, but not pytest itself.
        tests=in_pytest and "_pytest" in modules,
        ci=environ.get("CI", "").lower() not in {"", "0", "false", "no"},
        server=_is_server(arguments),
    )


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and not stream.closed and stream.isatty()
    except (OSError, ValueError, AttributeError):  # closed meanwhile, or not a whole stream
        return False


def _is_server(arguments: Sequence[str]) -> bool:
    """Tell whether the command is a server's: ``uvicorn app:app`` or ``python -m uvicorn``."""
    command = PurePath(arguments[0]) if arguments else PurePath()
    name = command.parent.name if command.stem == "__main__" else command.stem
    return name in _SERVERS

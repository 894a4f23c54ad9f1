"""A bar that shows on a terminal how far long work on a store is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import IO, cast

from lmflow.progress.terminal import ForgivingStream


@contextlib.contextmanager
def bar(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give a function of what is done and of all there is; ``None`` if nobody looks."""
    from rich.console import Console  # noqa: PLC0415 - needed only for long work
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(file=cast("IO[str]", ForgivingStream(sys.stderr)))
    if quiet or not console.is_terminal:
        yield None
        return
    with Bar(console=console, transient=True) as shown:
        task = shown.add_task(label, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)

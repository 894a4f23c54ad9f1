"""Progress of long work, as a value that the caller passes in: ``silent`` or ``bar``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

Step = Callable[[bool], None]
Progress = Callable[[str, int], AbstractContextManager[Step]]


@contextlib.contextmanager
def silent(title: str, total: int) -> Iterator[Step]:
    """Show nothing."""
    del title, total
    yield lambda succeeded: None  # noqa: ARG005 - the shape of a step


@contextlib.contextmanager
def bar(title: str, total: int) -> Iterator[Step]:
    """A bar with count, failures and time on standard error, while it lasts."""
    from rich.console import Console  # noqa: PLC0415 - only who wants a bar pays for it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[bad]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=total, bad="")
        failures = 0

        def step(succeeded: bool) -> None:  # noqa: FBT001 - one fact
            nonlocal failures
            failures += not succeeded
            shown.update(task, advance=1, bad=f"{failures} failed" if failures else "")

        yield step

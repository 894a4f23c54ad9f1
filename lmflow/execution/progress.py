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
    """Show a progress bar with count, failures and time on standard error.

    Args:
        title: The text before the bar.
        total: The number of steps.

    Returns:
        A context manager that gives a function: call it after each step with whether the step
        succeeded. The bar disappears at the end.

    Example:
        >>> with bar("examples", 1) as step:
        ...     step(True)
    """
    import rich.progress as rich_progress  # noqa: PLC0415 - only who wants a bar pays for it
    from rich.console import Console  # noqa: PLC0415

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("{task.fields[failures]}"),
    )
    console = Console(stderr=True)
    with rich_progress.Progress(*columns, console=console, transient=True) as display:
        task = display.add_task(title, total=total, failures="")
        failure_count = 0

        def step(succeeded: bool) -> None:  # noqa: FBT001 - one fact
            nonlocal failure_count
            if not succeeded:
                failure_count += 1
            text = f"{failure_count} failed" if failure_count else ""
            display.update(task, advance=1, failures=text)

        yield step

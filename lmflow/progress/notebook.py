"""Progress in a notebook: one output that is updated in place, without widgets."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import Any

from lmflow.progress.update import ProgressUpdate, facts

_SECONDS_BETWEEN = 0.2


def shown_in_notebook(now: Callable[[], ProgressUpdate]) -> Callable[[], None]:
    """Show a bar in the cell that runs.

    rich needs ipywidgets to change what it has printed; an output of IPython with an id needs
    nothing, and what it showed last is stored in the notebook.

    Args:
        now: Returns the update that is true now.

    Returns:
        A function that shows the update of now, if the last one is old enough or this one is the
        last.
    """
    display: Any = sys.modules["IPython"].display
    handle = display.display(_Shown(now()), display_id=True)
    shown_at = time.monotonic()

    def show() -> None:
        nonlocal shown_at
        update = now()
        if update.ended or time.monotonic() - shown_at >= _SECONDS_BETWEEN:
            shown_at = time.monotonic()
            handle.update(_Shown(update))

    return show


class _Shown:
    """An update as a notebook shows it."""

    def __init__(self, update: ProgressUpdate) -> None:
        self._update = update

    def __repr__(self) -> str:
        return str(self._update)

    def _repr_html_(self) -> str:
        # Without a share the bar moves to and fro, which must end with the work.
        share = self._update.share
        if share is None and self._update.ended:
            share = 1.0
        value = "" if share is None else f' max="1" value="{share:.4f}"'
        texts = [html.escape(text) for _, text in facts(self._update)]
        title, *rest = texts
        return (
            f'<div>{title} <progress aria-label="{title}"{value}></progress>'
            f" {' &nbsp; '.join(rest)}</div>"
        )

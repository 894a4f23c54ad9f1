"""The screens and acts of the web view, in the order of the navigation."""

from __future__ import annotations

from lmflow.ui.pages import Act, Screen
from lmflow.ui.screens.runs import RUNS
from lmflow.ui.screens.trace import CALL, TRACE

SCREENS: tuple[Screen, ...] = (
    RUNS,
    TRACE,
    CALL,
)
"""The pages; those with a word stand in the navigation."""

ACTS: tuple[Act, ...] = ()
"""What forms may do."""

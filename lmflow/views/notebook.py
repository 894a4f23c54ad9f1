"""Whether the process is the kernel of a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_notebook(modules: Mapping[str, Any]) -> bool:
    """Tell whether IPython runs with a kernel; IPython in a terminal has none.

    Args:
        modules: ``sys.modules``: IPython is never imported to find out.
    """
    get_ipython = getattr(modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if callable(get_ipython) else None
    return getattr(shell, "kernel", None) is not None

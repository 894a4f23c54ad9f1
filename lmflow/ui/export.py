"""A run as one static file: its page and its traces, without scripts and without a server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from lmflow.ui.assets import load_assets
from lmflow.ui.pages import Asked, Sources
from lmflow.ui.rendering import make_templates
from lmflow.ui.screens.run import load_run
from lmflow.ui.screens.trace import call_data

MOST_TRACES = 100
"""The executions that a file has at most by default."""


def export_run(sources: Sources, run: str, limit: int = MOST_TRACES) -> tuple[str, int, int]:
    """Render a run as one HTML file that loads nothing.

    Args:
        sources: Everything from outside; only the store is read.
        run: The name of the run.
        limit: The executions that the file has at most; the file says how many it leaves out.

    Returns:
        The text of the file, the number of executions in it, and the number that the run has.

    Raises:
        NotFound: If nothing, or more than one thing, has the name.
    """
    style = load_assets()["app.css"].content.decode("utf-8")
    with sources.reading() as reader:
        asked = Asked(sources, reader, {"run": run}, {"fragment": ["costs"]})
        shown = load_run(asked)
        run_id = shown.data["run"]["id"]
        traces = list(_traces(asked, run_id, limit))
    total = shown.data["run"]["traces"]
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    values = {
        **shown.data,
        "title": shown.title,
        "command": shown.command,
        "store": sources.store,
        "style": Markup(style),  # noqa: S704 - a file of this package
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:",
        "traces": traces,
        "in_file": len(traces),
        "in_run": total,
    }
    return make_templates().page("export.html", values), len(traces), total


def _traces(asked: Asked, run: str, limit: int) -> Iterator[dict[str, Any]]:
    for row in asked.outlines.executions(run, limit):
        outline = asked.outlines.trace(row["trace"])
        inputs, outputs, failure = asked.outlines.values(outline.row)
        calls = [
            asked.outlines.call(outline.row, call.address, call.attempt)
            for call in asked.outlines.calls(outline.row)
        ]
        yield {
            **row,
            "inputs": inputs,
            "outputs": outputs,
            "failure": failure,
            "calls": [call_data(call) for call in calls],
        }

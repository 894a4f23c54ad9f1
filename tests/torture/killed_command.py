"""A command of lmflow that is killed at a point of ``kill_points``: WORD ...."""

from __future__ import annotations

import kill_points

kill_points.arm()

from lmflow.cli.main import main  # noqa: E402 - the connections are armed first

main()

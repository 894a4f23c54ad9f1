"""Kills this process at a chosen statement of SQLite: ``arm()`` before lmflow is imported.

``KILL_AT="POINT N"`` names the point and which time that it is reached:

- ``statement``: after a statement that writes, so within a transaction
- ``commit``: before a COMMIT, when all is written and nothing is committed
- ``committed``: after a COMMIT, before who waits for it is told

Without it nothing is killed. ``KILL_LOG`` names a file that gets a line for each point.
"""

from __future__ import annotations

import functools
import os
import signal
import sqlite3
from typing import Any

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "ALTER", "DROP")


def reached(point: str) -> None:
    """Note a point, and kill the process if it is the chosen one."""
    log = os.environ.get("KILL_LOG", "")
    if log:
        with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 - quick
            file.write(f"{point}\n")
    wanted, _, count = os.environ.get("KILL_AT", "").partition(" ")
    if point != wanted:
        return
    if int(count) <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
    os.environ["KILL_AT"] = f"{wanted} {int(count) - 1}"


class _Connection(sqlite3.Connection):
    """A connection that tells its points."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement between its points."""
        head = sql.lstrip()[:7].upper()
        if head.startswith("COMMIT"):
            reached("commit")
        done = super().execute(sql, *values)
        if head.startswith("COMMIT"):
            reached("committed")
        elif head.startswith(_WRITES):
            reached("statement")
        return done

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        """Execute a statement for each row; the point is after the last."""
        done = super().executemany(sql, rows)
        reached("statement")
        return done

    def commit(self) -> None:
        """Commit between two points, if there is anything to commit."""
        is_open = self.in_transaction
        if is_open:
            reached("commit")
        super().commit()
        if is_open:
            reached("committed")


def arm() -> None:
    """Make all connections of this process tell their points."""
    sqlite3.connect = functools.partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]

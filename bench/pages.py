"""The measured tables of a page of the documentation, each between two comments that name it."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path


def machine() -> str:
    """The machine and its load, in words."""
    versions = f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    today = dt.datetime.now(dt.UTC).date()
    load = os.getloadavg()[0]
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{today}: {cores}, {versions}, load {load:.1f}."


def write_table(page: Path, name: str, rows: Sequence[Sequence[str]], words: str) -> None:
    """Write a table and the words below it between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    head, *body = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    before = page.read_text(encoding="utf-8")
    between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not between.search(before):
        raise SystemExit(f"{page} has no place for {name}: <!-- {name} --> and <!-- /{name} -->")
    after = between.sub(lambda found: f"{found[1]}\n{text}\n\n{words}\n\n{found[2]}", before)
    page.write_text(after, encoding="utf-8")

"""A server of PostgreSQL for the tests: Debian's own, in a temporary folder, on a socket there."""

import getpass
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import location
from lmflow.stores.postgres.preparing import prepare

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'change'"
_NUMBERS = itertools.count()
_FAST = "-c fsync=off -c full_page_writes=off -c max_connections=200 -c listen_addresses=''"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, ``None`` if it isn't installed."""
    on_path = shutil.which("initdb")
    folders = [*_FOLDERS, *([Path(on_path).parent] if on_path else [])]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextmanager
def server(folder: Path, options: str = _FAST) -> Iterator[str]:
    """Start a server that keeps nothing, and yield the URL of its database."""
    # A socket's path may have 107 characters, so its folder is a short one.
    place = Path(tempfile.mkdtemp(prefix="pg"))
    as_whom: list[str] = []
    if getpass.getuser() == "root":  # PostgreSQL refuses to run as root
        shutil.chown(place, "nobody")
        as_whom = ["runuser", "-u", "nobody", "--"]
    data = str(place / "data")

    def run(program: str, *arguments: str) -> None:
        command = [*as_whom, str(folder / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=place)

    run(
        "initdb",
        "-D",
        data,
        "-U",
        "lmflow",
        "--auth=trust",
        "--no-sync",
        "--locale=C",
        "-E",
        "UTF8",
    )
    try:
        log = str(place / "log")
        run("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-k {place} {options}", "start")
        try:
            yield f"postgresql://lmflow@{quote(str(place), safe='')}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def emptied(url: str) -> str:
    """The URL of a store that is there and empty, in a moment: making one takes longer."""
    place = location(f"{url}?schema=emptied")
    with closing(PostgresConnection(place)) as db:
        prepare(db, place)
        tables = [row[0] for row in db.run(_TABLES).fetchall()]
        db.run("; ".join(f"DELETE FROM {table}" for table in tables))  # noqa: S608 - our own names
        db.run("INSERT INTO meta (key, value) VALUES ('gc', '0')")
    return f"{url}?schema=emptied"


def new_store(url: str) -> str:
    """The URL of a store that isn't there yet."""
    return f"{url}?schema=s{os.getpid()}_{next(_NUMBERS)}"

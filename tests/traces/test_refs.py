"""Two processes that move one ref: no update is lost, and the log holds each move."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import lmflow as lf

MOVES = 1000
MOVER = """
import sys, lmflow as lf
from lmflow.errors import RefChanged

path, who, moves = sys.argv[1], sys.argv[2], int(sys.argv[3])
with lf.SqliteStore(path) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    current = store.version("best")
    for k in range(moves):
        while True:
            child = current.put({"a.n": current["a.n"] + 1}, note=who)
            try:
                current = lf.commit(store, "best", child, why=str(k), who=who, before=current.id)
                break
            except RefChanged as changed:
                current = store.version(changed.found)
"""


def test_two_processes_lose_no_update(tmp_path: Path) -> None:
    """Each adds one to what it found, a thousand times; the sum is all of them, in one line and in
    the reflog.
    """
    path = tmp_path / "store.db"
    with lf.SqliteStore(path) as store:
        lf.commit(store, "best", lf.Version(params={"a.n": 0}))
    movers = [
        subprocess.Popen(
            [sys.executable, "-c", MOVER, str(path), who, str(MOVES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for who in ("ann", "bob")
    ]
    for mover in movers:
        assert mover.stdout
        mover.stdout.readline()
    for mover in movers:
        mover.communicate(b"go\n")
    assert [0, 0] == [mover.returncode for mover in movers]
    with lf.SqliteStore(path) as store:
        log = store.reflog("best", 10 * MOVES)
        assert 2 * MOVES == store.version("best")["a.n"]
        assert 2 * MOVES == store.version(f"best~{2 * MOVES - 5}")["a.n"] + 2 * MOVES - 5
        assert {"ann": MOVES, "bob": MOVES, "": 1} == Counter(moved.who for moved in log)
        assert all(later.before == earlier.version for later, earlier in itertools.pairwise(log))

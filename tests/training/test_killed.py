"""A killed training goes on: one job, the same data and recipe, no step twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import lmflow as lf

SCRIPT = Path(__file__).with_name("trains_slowly.py")


def started(store: Path, log: Path) -> subprocess.Popen[str]:
    """The process that trains."""
    command = [sys.executable, str(SCRIPT), str(store), str(log)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def steps(log: Path) -> list[dict[str, object]]:
    """The steps that were taken; the last line may be cut."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_killed_at_five_points_it_is_one_job(tmp_path: Path) -> None:
    """After five kills the job ends as one that nobody killed, with each step taken once or, at a
    kill, twice.
    """
    store, log = tmp_path / "s.db", tmp_path / "log"
    for point in (1, 6, 12, 18, 24):
        process = started(store, log)
        deadline = time.monotonic() + 60
        while len(steps(log)) < point and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert len(steps(log)) >= point
    whole, _ = started(store, log).communicate(timeout=60)
    fresh, _ = started(tmp_path / "t.db", tmp_path / "fresh").communicate(timeout=60)
    assert fresh == whole
    taken = steps(log)
    assert 1 == len({step["job"] for step in taken})
    assert list(range(30)) == sorted({int(str(step["step"])) for step in taken})
    assert len(taken) <= 30 + 5
    with lf.SqliteStore(store) as kept:
        version = kept.version(whole.strip())
        assert "openai/slow" == version["step.model"]
        assert 1 == len(tuple(kept.files))

"""The command: prints the link, serves until it is stopped, and writes a run as a file."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

from click.testing import CliRunner

from lmflow.cli.main import main

CODE = "from lmflow.cli.main import main; main()"


def test_it_serves_until_it_is_stopped(filled: Path) -> None:
    """The printed link opens the list of runs; a signal ends the server with exit code 0."""
    words = ["ui", "--store", str(filled), "--port", "0", "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", CODE, *words], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        started = json.loads(server.stdout.readline())
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with opener.open(started["url"]) as page:
            assert "<title>Runs · lmflow</title>" in page.read().decode()
            assert "token" not in page.geturl()
        server.send_signal(signal.SIGTERM)
        assert 0 == server.wait(10)


def test_a_missing_store_is_an_error(tmp_path: Path) -> None:
    """Nothing is served without a store, and none is made."""
    result = CliRunner().invoke(main, ["ui", "--store", str(tmp_path / "none.db")])
    assert 1 == result.exit_code
    assert "there is no such file" in result.output
    assert [] == list(tmp_path.iterdir())


def test_a_run_becomes_a_file(filled: Path, tmp_path: Path) -> None:
    """The file is written once: another one of its name is kept."""
    out = tmp_path / "run.html"
    words = ["ui", "export", "last", "--store", str(filled), "--out", str(out)]
    result = CliRunner().invoke(main, words)
    assert re.search(r"run\.html: 8 of 8 executions", result.output)
    text = out.read_text(encoding="utf-8")
    result = CliRunner().invoke(main, [*words, "--json"])
    assert 1 == result.exit_code
    assert "exists" in result.output
    assert text == out.read_text(encoding="utf-8")

"""The laws of tables and of the pager: what is shown fits the terminal, and a pipe gets all of it."""

import shutil
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from terminals import in_terminal

from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.tables import Column, records, table
from lmflow.values.widths import columns

ROWS = [
    {
        "id": "01m8agc55syv7kmk8s",
        "name": "お茶を淹れるパイプライン " * 3,
        "calls": 12,
        "note": None,
    },
    {"id": "01m8agc55syv7kmk8t", "name": "rag \x1b[31m", "calls": 3, "note": "x" * 90},
]
COLUMNS = (
    Column("id", whole=True, narrow=lambda text: text[-8:]),
    "name",
    Column("calls", rank=1),
    "note",
)

cells = st.one_of(st.none(), st.integers(), st.text(max_size=60), st.booleans(), st.floats())
rows = st.lists(
    st.fixed_dictionaries(dict.fromkeys(["a", "b", "c"], cells)), min_size=1, max_size=5
)


@given(rows, st.integers(30, 200))
def test_no_line_is_wider_than_the_terminal(rows: list[dict[str, object]], width: int) -> None:
    """Whatever the values, every line fits, and every row has its line."""
    lines = table(rows, ("a", "b", Column("c", rank=1)), width=width).split("\n")
    assert len(lines) >= len(rows) + 1
    assert all(columns(line) <= width for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_ids_are_never_cut(width: int) -> None:
    """A column that is copied stays whole, in its short form if need be; numbers stay whole."""
    first = table(ROWS, COLUMNS, width=width).split("\n")[1]
    assert first.split()[0] in {"01m8agc55syv7kmk8s", "yv7kmk8s"}
    assert " 12" in first or "not shown: calls" in table(ROWS, COLUMNS, width=width)


def test_a_pipe_gets_everything() -> None:
    """Without a terminal nothing is cut and no column is left out; control characters are."""
    text = table(ROWS, COLUMNS)
    assert "x" * 90 in text
    assert ("\x1b" in text, "not shown" in text) == (False, False)


def test_numbers_stand_to_the_right() -> None:
    """The digits of a column stand below each other."""
    lines = table([{"n": 5}, {"n": 12345}], ("n",)).split("\n")
    assert ["    n", "    5", "12345"] == lines


def test_records_show_each_value_on_a_line() -> None:
    """Rows that are too wide for a table stand below each other."""
    assert "id    1\nname  x\n\nid    2\nname" == records(
        [{"id": 1, "name": "x"}, {"id": 2, "name": None}], ("id", "name")
    )


@click.command()
@click.option("--lines", default=3)
@pager_option
def _long(lines: int) -> None:
    page("\n".join(f"line {at}" for at in range(lines)))


PAGED = (
    "import click; from lmflow.cli.text.pager import page, pager_option\n"
    "@click.command()\n@click.option('--lines', default=3)\n@pager_option\n"
    "def go(lines): page('\\n'.join(f'line {at}' for at in range(lines)))\n"
    "go()\n"
)


def _in_terminal(*words: str, **environ: str) -> str:
    return in_terminal([sys.executable, "-c", PAGED, *words], width=80, height=20, environ=environ)


def test_a_pipe_is_never_paged() -> None:
    """Without a terminal the text is printed as it is."""
    environ = {"LMFLOW_PAGER": "false"}
    assert 500 == CliRunner().invoke(_long, ["--lines", "500"], env=environ).output.count("\n")


def test_a_short_text_is_not_paged() -> None:
    """A text that fits the screen is printed, without a pager."""
    assert "line 2" in _in_terminal("--lines", "3", LMFLOW_PAGER="sh -c 'echo paged'")


def test_a_long_text_goes_through_the_pager(tmp_path: Path) -> None:
    """LMFLOW_PAGER goes before PAGER; the pager gets the whole text."""
    script = tmp_path / "pager"
    script.write_text("#!/bin/sh\necho paged $(wc -l)\n", "utf-8")
    script.chmod(0o755)
    assert "paged 100" in _in_terminal("--lines", "100", LMFLOW_PAGER=str(script), PAGER="false")
    assert "paged 100" in _in_terminal("--lines", "100", PAGER=str(script))


@pytest.mark.parametrize(
    "environ",
    [
        {"LMFLOW_PAGER": "cat"},
        {"LMFLOW_PAGER": ""},
        {"LMFLOW_PAGER": "no-such-pager-anywhere"},
        {"LMFLOW_PAGER": "an 'open quote"},
    ],
)
def test_without_a_pager_the_text_is_printed(environ: dict[str, str]) -> None:
    """No pager, a missing one, and one that can't be read: the text is there."""
    assert "line 99" in _in_terminal("--lines", "100", **environ)


def test_no_pager_is_an_option() -> None:
    """``--no-pager`` prints the text as it is."""
    text = _in_terminal("--lines", "100", "--no-pager", LMFLOW_PAGER="sh -c 'echo paged'")
    assert "line 99" in text
    assert "paged" not in text


@pytest.mark.parametrize("reader", ["head -1", "true", "sh -c 'exit 3'"])
def test_a_reader_that_leaves_is_no_error(reader: str) -> None:
    """A pager that reads a line, or none, ends the command quietly."""
    text = _in_terminal("--lines", "100000", LMFLOW_PAGER=reader)
    assert "Traceback" not in text
    assert "rror" not in text


def test_less_quits_if_the_text_fits_a_screen() -> None:
    """The default pager leaves the text on the screen."""
    if shutil.which("less") is None:
        pytest.skip("there is no less here")
    assert "line 19" in in_terminal(
        [sys.executable, "-c", PAGED, "--lines", "20"], width=80, height=22
    )

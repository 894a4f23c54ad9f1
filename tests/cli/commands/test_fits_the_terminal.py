"""The law of lists on a terminal: no line is wider than it, and a cut list says so."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
from terminals import in_terminal

import lmflow as lf
from lmflow.values.widths import columns

LMFLOW = str(Path(sys.executable).with_name("lmflow"))
LISTS = [
    "runs ls", "runs ls --all", "runs show last", "runs calls --all", "runs search minutes", "reflog",
    "ref ls", "pin ls", "dataset ls", "dataset show qa", "models ls", "costs --by step", "costs --by version",
    "sql 'select * from v_runs limit 2'", "sql", "log --oneline",
]  # fmt: skip
_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store whose names and texts are long and wide."""
    folder = tmp_path_factory.mktemp("wide")
    asyncio.run(_fill(folder / "lmflow.db"))
    return folder


async def _fill(path: Path) -> None:
    step = lf.predict("a_step_with_quite_a_long_name", "question -> answer")
    model = lf.scripted(
        lambda _: "two minutes 🍵 お茶を淹れる " * 20, name="a-model-with/quite-a-long-name"
    )
    with lf.SqliteStore(path) as store:
        async with lf.Executor(model, store) as ex:
            for at in range(25):
                await ex.run(step, question=f"お茶 {at} " * 30)
        for at in range(60):
            lf.commit(
                store,
                f"ref-{at % 7}",
                lf.Version(note=f"お茶 and a long note {at} " * 5),
                why="because " * 20,
            )
        store.put_dataset("qa", [{"question": "お茶 " * 60, "n": at} for at in range(12)])


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("line", LISTS)
def test_no_line_is_wider_than_the_terminal(folder: Path, line: str, width: int) -> None:
    """At 80 and at 120 columns nothing wraps."""
    text = in_terminal(
        ["sh", "-c", f"{LMFLOW} --no-pager {line}"], width=width, height=24, folder=folder
    )
    wide = [row for row in _CODES.sub("", text).split("\n") if columns(row.rstrip("\r")) > width]
    assert [] == wide
    assert "Error" not in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("runs ls", "20 of 25 shown; more: --all"),
        ("runs calls", "20 of 25 shown; more: --all"),
        ("runs search minutes", "20 calls shown, there are more: --all"),
        ("reflog", "50 moves shown, there are more: --all"),
        ("log", "20 versions shown, there are more: --all"),
        ("dataset show qa", "10 of 12 shown; more: --all"),
    ],
)
def test_a_cut_list_says_so(folder: Path, line: str, words: str) -> None:
    """The last line says how many of how many are shown, and what shows the others."""
    text = in_terminal(["sh", "-c", f"{LMFLOW} --no-pager {line}"], width=100, folder=folder)
    assert words in text
    everything = in_terminal(
        ["sh", "-c", f"{LMFLOW} --no-pager {line} --all"], width=100, folder=folder
    )
    assert "shown" not in everything.replace("not shown", "").splitlines()[-1]

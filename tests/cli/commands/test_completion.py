"""Shell completion: the scripts, and what completes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from commanding import call, done

import lmflow as lf
from lmflow.cli.commands.completion import SHELLS
from lmflow.cli.main import main
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.traces.events import RefMoved, VersionSaved

_SCRIPT = "import sys; from lmflow.cli.main import main; main(sys.argv[1:])"


def _completed(*words: str, begun: str = "") -> list[str]:
    found = BashComplete(main, {}, "lmflow", "_LMFLOW_COMPLETE").get_completions(list(words), begun)
    return [item.value for item in found]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script(here: Path, shell: str) -> None:
    """The script asks lmflow, and standard error alone says where to put it."""
    result = call(here, f"completion {shell}")
    assert "_LMFLOW_COMPLETE" in result.stdout
    assert SHELLS[shell] in result.stderr
    assert result.stdout.strip() == done(here, f"completion {shell}")["script"].strip()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_reads_its_script(here: Path) -> None:
    """The script is one that bash takes."""
    script = call(here, "completion bash").stdout
    ran = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)  # noqa: S607
    assert (0, "") == (ran.returncode, ran.stderr)


def test_runs_are_completed(here: Path) -> None:
    """A RUN is one of the latest of the store."""
    done(here, "run app:size --set text=four")
    (row,) = done(here, "runs ls")
    assert [row["id"]] == _completed("runs", "show") == _completed("verify", begun=row["id"][:5])
    assert [] == _completed("runs", "tail", begun="zzz")


def test_another_store_is_asked_where_it_is_named(here: Path) -> None:
    """``--store`` holds for completion too."""
    done(here, "run app:size --set text=four --store other.db")
    assert ([], 1) == (
        _completed("runs", "show"),
        len(_completed("runs", "show", "--store", "other.db")),
    )


def test_refs_are_completed(here: Path) -> None:
    """A REF is one of the store's."""
    version = lf.Version()
    with SqliteStore(here / "lmflow.db") as store:
        store.append(VersionSaved(version, 1), RefMoved("prod", version.id, "", 2)).result(10)
    assert ["prod"] == _completed("run", "app:rag", "--version", begun="p")


def test_programs_are_completed_from_the_source(here: Path) -> None:
    """MODULE:PROGRAM is found without importing: chains, makers and decorated functions, nothing
    else.
    """
    (here / "mine.py").write_text(
        "import lmflow as lf\nraise SystemExit('imported')\n"
        "@lf.predict\ndef stub(a: str) -> str: ...\n"
        "@lf.flow('a -> b', uses=[])\nasync def whole(a): ...\n"
        "two = stub >> whole\nnotes = lf.Corpus.open('x')\nnumber = 3\ndef helper(): ...\n",
        encoding="utf-8",
    )
    (here / "broken.py").write_text("import lmflow\ndef", encoding="utf-8")
    (here / "other.py").write_text("two = 1 >> 2", encoding="utf-8")
    assert ["mine:stub", "mine:whole", "mine:two"] == _completed("run", begun="mine")
    assert [] == _completed("run", begun="other")


def test_no_store_completes_to_nothing(here: Path) -> None:
    """Where nothing can be read nothing is said: a completion must not break the line."""
    (here / "lmflow.db").write_text("my notes", encoding="utf-8")
    assert [] == _completed("runs", "show") == _completed("run", "app:rag", "--version")


def test_the_shell_s_way_works(here: Path) -> None:
    """Asked as bash asks, the program answers with its commands."""
    env = {"_LMFLOW_COMPLETE": "bash_complete", "COMP_WORDS": "lmflow do", "COMP_CWORD": "1"}
    code = _SCRIPT.replace("main(sys.argv[1:])", "main(prog_name='lmflow')")
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env=env, capture_output=True, text=True, check=False
    )
    assert "plain,doctor" == ran.stdout.strip()

"""``lmflow steer`` appends acts for a search that runs, and lists those of a run."""

from pathlib import Path
from typing import Any

import pytest
from commanding import call, done

import lmflow as lf
from lmflow.traces.events import RunClosed, RunOpened, VersionSaved
from lmflow.traces.trace import Run

START = lf.Version(params={"answer.instruction": "Answer."})
OTHER = START.put({"answer.instruction": "Answer well."}, note="other")


@pytest.fixture
def store(here: Path) -> Any:
    """A store with a search that runs."""
    with lf.SqliteStore(here / "lmflow.db") as opened:
        run = Run("00search", "optimize", "gepa answer", config=lf.Record(version=START.id))
        opened.append(VersionSaved(OTHER, 1), RunOpened(run, (START,))).result()
        yield opened


def test_acts_are_appended_and_listed(here: Path, store: Any) -> None:
    """Each with its version, reason and person; they wait until the search takes them."""
    done(here, "steer 00search pause --why lunch")
    given = done(here, f"steer 00search veto {OTHER.id[6:18]} --why flatters")
    done(here, "steer 00search note 'watch it'")
    assert ("00search", OTHER.id) == (given["run"], given["version"])
    acts = done(here, "steer 00search")
    assert [("pause", "lunch"), ("veto", "flatters"), ("note", "watch it")] == [
        (act["kind"], act["note"]) for act in acts
    ]
    assert all(act["need"] is None and act["who"] for act in acts)
    assert [act.event.kind for act in store.acts("00search")] == ["pause", "veto", "note"]
    text = call(here, "steer 00search").output
    assert "waits" in text
    assert "flatters" in text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("veto", "names no version"),
        (f"veto {START.id[6:18]}", "can't be vetoed"),
        ("veto nothing", "nothing"),
        ("stop now", "names no version"),
        ("note", "has no words"),
        ("note '  '", "has no words"),
    ],
)
def test_what_no_search_can_take_is_refused(
    here: Path, store: Any, words: str, problem: str
) -> None:
    """In one line that says how it is written; nothing is appended."""
    result = call(here, f"steer 00search {words}")
    assert 1 == result.exit_code
    assert problem in result.stderr
    assert [] == store.acts("00search")


def test_only_a_search_that_runs_is_steered(here: Path, store: Any) -> None:
    """One that ended names the command that goes on with it; other runs are no searches."""
    store.append(RunClosed("00search", "done", "", 2)).result()
    assert "lmflow resume 00search" in call(here, "steer 00search stop").stderr
    done(here, "run app:size --set text=four")
    (run,) = done(here, "runs ls --limit 1")
    assert "not an optimization" in call(here, f"steer {run['id']} stop").stderr
    assert "Nobody steered it." in call(here, f"steer {run['id']}").output


@pytest.mark.usefixtures("store")
def test_a_long_note_is_cut_in_the_list_alone(here: Path) -> None:
    """The table stays readable; as JSON the note is whole."""
    note = "y" * 5000
    done(here, f"steer 00search note {note}")
    assert 200 > max(map(len, call(here, "steer 00search").output.splitlines()))
    assert [note] == [act["note"] for act in done(here, "steer 00search")]

"""The commands ``store merge``, ``push`` and ``pull``."""

from pathlib import Path

from commanding import call, done

import lmflow as lf
from lmflow.stores.sqlite.store import reading


def _run(here: Path, text: str, store: str) -> str:
    """Record a run in a store, and return its id."""
    return str(done(here, f"run app:size --set text={text} --store {store}") and _newest(store))


def _newest(store: str) -> str:
    with reading(store) as reader:
        return reader.runs(1, "")[0].id


def test_stores_are_merged_into_the_first_or_a_new_one(here: Path) -> None:
    """What came is told in a line and as JSON; all runs are there, in whatever order."""
    runs = {_run(here, text, f"{text}.db") for text in ("one", "three")}
    text = call(here, "store merge one.db three.db").stdout
    assert text.startswith("three.db into one.db: 1 run, 1 execution, 1 call")
    (first, second) = done(here, "store merge three.db one.db --into all.db")
    assert (1, 1) == (first["runs"], second["runs"])
    assert runs == {run["id"] for run in done(here, "runs ls --store all.db")}
    assert "one.db into all.db: nothing new" in call(here, "push all.db --store one.db").stdout


def test_push_and_pull_exchange_what_each_has(here: Path) -> None:
    """Afterwards both stores have both runs."""
    runs = {_run(here, text, f"{text}.db") for text in ("one", "three")}
    assert 0 == call(here, "push three.db --store one.db").exit_code
    assert 0 == call(here, "pull three.db --store one.db").exit_code
    for store in ("one.db", "three.db"):
        assert runs == {run["id"] for run in done(here, f"runs ls --store {store}")}


def test_a_disagreement_is_told_with_the_command_that_decides(here: Path) -> None:
    """The words of the error are a command line that works."""
    for name, note in (("a.db", "mine"), ("b.db", "yours")):
        with lf.SqliteStore(name) as store:
            lf.commit(store, "prod", lf.Version(note=note))
    refused = call(here, "store merge a.db b.db")
    assert 1 == refused.exit_code
    assert "--take theirs prod" in refused.output
    taken = call(here, "store merge a.db b.db --take theirs prod")
    assert "moved prod" in taken.stdout
    with lf.SqliteStore("a.db") as store:
        assert "yours" == store.version("prod").note
    assert "one store alone" in call(here, "store merge a.db").output


def test_a_first_store_that_is_not_there_is_not_made(here: Path) -> None:
    """It may be mistyped; --into makes one."""
    _run(here, "one", "one.db")
    refused = call(here, "store merge onne.db one.db")
    assert (1, True) == (refused.exit_code, "--into onne.db" in refused.output)
    assert not Path("onne.db").exists()

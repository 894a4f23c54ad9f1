"""Trained weights travel with the versions that name them, by hash, whichever way a store goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main
from lmflow.errors import StoreError
from lmflow.stores.sqlite.merging.merge import merge_store
from lmflow.stores.weights import sweep_weights, weights_folder
from lmflow.values.weights_names import adapted_name

STEP = lf.predict("step", "a -> b")
LONG_AFTER = 4e9


def with_weights(path: Path, ref: str, content: bytes) -> str:
    """Store a version that names weights, with their file, and return their hash."""
    file = path.with_name("adapter")
    file.write_bytes(content)
    sha256 = weights_folder(path).add(file)
    version = lf.init(STEP).put({"step.model": adapted_name("local/x", sha256)}, note=ref)
    with lf.SqliteStore(path) as store:
        lf.commit(store, ref, version)
    return sha256


def merged(*arguments: str) -> int:
    """How many files of weights a command copied."""
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert 0 == result.exit_code, result.output
    (counts,) = json.loads(result.stdout)
    number: int = counts["weights"]
    return number


def test_stores_that_are_pushed_and_pulled_bring_the_weights(tmp_path: Path) -> None:
    """Both ways each store gets the files it lacks, each once, and gc keeps them in both."""
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    hashes = {with_weights(one, "main", b"one"), with_weights(other, "next", b"other")}
    assert 1 == merged("push", str(other), "--store", str(one))
    assert 1 == merged("pull", str(other), "--store", str(one))
    assert 0 == merged("push", str(other), "--store", str(one))
    for store in (one, other):
        assert 0 == sweep_weights(store, dry_run=False, now=LONG_AFTER).files
        assert hashes == set(weights_folder(store))
        assert {b"one", b"other"} == {
            weights_folder(store).check(sha256).read_bytes() for sha256 in hashes
        }


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    """A version whose file the source lacks arrives, and the merge says which file doesn't."""
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    sha256 = with_weights(one, "main", b"one")
    weights_folder(one).remove(sha256)
    assert (sha256,) == merge_store(one, other).missing
    with lf.SqliteStore(other) as store:
        assert sha256 in store.version("main")["step.model"]
    with_weights(one, "main", b"one")
    counts = merge_store(one, other)
    assert ((), 1) == (counts.missing, counts.weights)


def test_weights_that_were_changed_are_not_copied(tmp_path: Path) -> None:
    """A file that doesn't match its hash is refused, and the target keeps no part of it."""
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    sha256 = with_weights(one, "main", b"one")
    weights_folder(one).path(sha256).write_bytes(b"two")
    with pytest.raises(StoreError, match="it was changed"):
        merge_store(one, other)
    assert () == tuple(weights_folder(other))


def test_rolled_back_and_collected_the_old_version_is_whole(tmp_path: Path) -> None:
    """After a rollback the weights stay, since the version does; the start needs none of them."""
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        lf.commit(store, "main", lf.init(STEP))
    sha256 = with_weights(path, "main", b"one")
    assert 0 == CliRunner().invoke(main, ["rollback", "main", "--store", str(path)]).exit_code
    assert 0 == sweep_weights(path, dry_run=False, now=LONG_AFTER).files
    with lf.SqliteStore(path) as store:
        assert lf.init(STEP).id == store.version("main").id
    assert sha256 in weights_folder(path)

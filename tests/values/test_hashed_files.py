"""The laws of files by hash: whole or absent, checked when they are read, kept while named."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main
from lmflow.errors import ModelUnavailable, StoreError
from lmflow.models.local.adapters import LocalPlace
from lmflow.stores.weights import carry_weights, sweep_weights, weights_folder
from lmflow.values.hashed_files import HashedFiles
from lmflow.values.weights_names import adapted_name, files_of, split_name

OLD = time.time() - 2 * 24 * 3600


def written(folder: Path, content: bytes = b"weights") -> Path:
    """A file with a content."""
    file = folder / "file"
    file.write_bytes(content)
    return file


def test_a_file_is_named_by_its_content(tmp_path: Path) -> None:
    """Equal contents are one file, and what was added is there, whole."""
    files = HashedFiles(tmp_path / "files")
    sha256 = files.add(written(tmp_path))
    assert hashlib.sha256(b"weights").hexdigest() == sha256 == files.add(written(tmp_path))
    assert (sha256,) == tuple(files)
    assert (b"weights", 7) == (files.check(sha256).read_bytes(), files.size(sha256))
    assert (7, ()) == (files.remove(sha256), tuple(files))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """A file with another content than its name says isn't used, nor is one that isn't there."""
    files = HashedFiles(tmp_path / "files")
    sha256 = files.add(written(tmp_path))
    files.path(sha256).write_bytes(b"others")
    with pytest.raises(StoreError, match="it was changed"):
        files.check(sha256)
    with pytest.raises(ModelUnavailable, match="it was changed"):
        LocalPlace(files).adapter(f"smollm2-135m+lora:{sha256}")
    with pytest.raises(StoreError, match="there is no file"):
        files.check("0" * 64)
    for name in ("../../etc/passwd", "", "A" * 64):
        with pytest.raises(ValueError, match="is not a sha256"):
            files.path(name)


def test_a_name_has_its_base_and_its_hash() -> None:
    """A model's name with an adapter is taken apart as it was put together."""
    name = adapted_name("local/smollm2-135m", "a" * 64)
    assert ("local/smollm2-135m", "a" * 64) == split_name(name)
    assert ("local/plain", "") == split_name("local/plain")
    assert ("a" * 64,) == files_of({"a.model": name, "b.model": name, "c.demos": (), "d": "x"})


def test_gc_keeps_what_a_version_names(tmp_path: Path) -> None:
    """A file goes a day after the last version that names it, and no earlier."""
    path = tmp_path / "s.db"
    step = lf.predict("step", "a -> b")
    files = weights_folder(path)
    kept, dead, new = (files.add(written(tmp_path, name)) for name in (b"kept", b"dead", b"new"))
    for sha256 in (kept, dead):
        os.utime(files.path(sha256), (OLD, OLD))
    with lf.SqliteStore(path) as store:
        lf.commit(store, "main", lf.init(step).put({"step.model": adapted_name("local/x", kept)}))
    assert 1 == sweep_weights(path, dry_run=True).files
    assert {kept, dead, new} == set(files)
    result = CliRunner().invoke(main, ["gc", "--yes", "--store", str(path)])
    assert "1 file of trained weights" in result.output
    assert {kept, new} == set(files)


def test_versions_travel_with_their_weights(tmp_path: Path) -> None:
    """Exported and imported, a version brings its file; without it the import says what to copy."""
    one, other, bundle = tmp_path / "one.db", tmp_path / "other.db", tmp_path / "v.json"
    sha256 = weights_folder(one).add(written(tmp_path))
    version = lf.init(lf.predict("step", "a -> b")).put(
        {"step.model": adapted_name("local/x", sha256)}
    )
    with lf.SqliteStore(one) as store:
        lf.commit(store, "main", version)
    run = CliRunner()
    shown = run.invoke(main, ["export", "main", "--out", str(bundle), "--store", str(one)]).output
    assert "1 file of trained weights" in shown
    assert 0 == run.invoke(main, ["import", str(bundle), "--store", str(other)]).exit_code
    assert b"weights" == weights_folder(other).check(sha256).read_bytes()
    weights_folder(bundle).remove(sha256)
    third = tmp_path / "third.db"
    shown = run.invoke(main, ["import", str(bundle), "--store", str(third)]).output
    assert f"the weights {sha256[:12]} are missing" in shown
    carried = carry_weights([version], weights_folder(one), weights_folder(third))
    assert ((sha256,), ()) == (carried.copied, carried.missing)

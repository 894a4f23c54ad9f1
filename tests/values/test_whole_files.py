"""The laws of files that are replaced as a whole: the new content, or what was there before."""

import stat
from pathlib import Path

import pytest

from lmflow.errors import StoreError
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.values.whole_files import replacing, write_whole


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    """Missing folders are made, and nothing else is left beside the file."""
    file = tmp_path / "a" / "b.txt"
    write_whole(file, "é\n")
    assert ("é\n".encode(), [file]) == (file.read_bytes(), list(file.parent.iterdir()))


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """The draft is gone, the file is as it was, and the error goes through."""
    file = tmp_path / "x.txt"
    write_whole(file, "old")
    with pytest.raises(ZeroDivisionError):
        _write_half(file)
    assert ("old", [file]) == (file.read_text(), list(tmp_path.iterdir()))


def test_readers_see_the_old_content_until_the_end(tmp_path: Path) -> None:
    """While the draft is written, the file is what it was."""
    file = tmp_path / "x.txt"
    write_whole(file, "old")
    with replacing(file) as draft:
        draft.write_text("new")
        assert "old" == file.read_text()
    assert "new" == file.read_text()


@pytest.mark.parametrize("place", ["file/x.txt", "folder"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    """A folder of the same name, or a file where a folder should be, is a StoreError."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="it can't be written"):
        write_whole(tmp_path / place, "x")
    assert {"file", "folder"} == {path.name for path in tmp_path.iterdir()}


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    """A draft that was never made can't take the file's place."""
    with pytest.raises(StoreError), replacing(tmp_path / "x.txt"):
        pass
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", ".", "a\0b"])
def test_a_name_of_no_file_is_refused(name: str) -> None:
    """An empty name and one with a NUL are a StoreError like any other bad place."""
    with pytest.raises(StoreError, match="names no file"):
        write_whole(name, "x")


def test_permissions_of_the_file_stay(tmp_path: Path) -> None:
    """Replacing a file that only its owner may read does not open it to others."""
    file = tmp_path / "x.txt"
    write_whole(file, "old")
    file.chmod(0o600)
    write_whole(file, "new")
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_database_is_never_replaced_by_a_text(tmp_path: Path) -> None:
    """A store's file is refused, open or not, and stays as it was."""
    file = tmp_path / "lmflow.db"
    with SqliteStore(file), pytest.raises(StoreError, match="is open"):
        write_whole(file, "x")
    with pytest.raises(StoreError, match="is a database"):
        write_whole(file, "x")
    assert file.read_bytes().startswith(b"SQLite")


def _write_half(file: Path) -> None:
    with replacing(file) as draft:
        draft.write_text("half")
        raise ZeroDivisionError

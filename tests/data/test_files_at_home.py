"""The law of files in data: a row names files in the folder of the data, and nowhere else."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pictures_and_sounds import PNG

import lmflow as lf
from lmflow.errors import BadData

SIGNATURE = "picture: Image, question -> answer"
SECRET = b"%PDF-1.4 secret"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a picture, beside a file that is none of the data's business."""
    (tmp_path / "secret.pdf").write_bytes(SECRET)
    (tmp_path / "other.png").write_bytes(PNG)
    folder = tmp_path / "data"
    (folder / "in").mkdir(parents=True)
    (folder / "cat.png").write_bytes(PNG)
    (folder / "in" / "dog.png").write_bytes(PNG)
    return folder


def _rows(home: Path, ending: str, cell: str) -> Path:
    """A data file of one row with that cell."""
    path, row = home / f"rows{ending}", {"question": "What?", "picture": cell}
    if ending == ".jsonl":
        path.write_text(json.dumps(row), "utf-8")
    elif ending == ".json":
        path.write_text(json.dumps([row]), "utf-8")
    elif ending == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist([row]), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row, delimiter="\t" if ending == ".tsv" else ",")
            writer.writeheader()
            writer.writerow(row)
    return path


ENDINGS = [".jsonl", ".json", ".csv", ".tsv", ".parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("cell", ["cat.png", "in/dog.png", "in/../cat.png", "./cat.png"])
def test_files_of_the_data_are_read(ending: str, cell: str, home: Path) -> None:
    """A path in the folder of the file is read, wherever the current folder is."""
    assert PNG == lf.dataset(_rows(home, ending, cell), signature=SIGNATURE)[0].picture.data


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "cell", ["../other.png", "ABSOLUTE", "file://ABSOLUTE", "in/../../other.png"]
)
def test_files_outside_are_refused(ending: str, cell: str, home: Path) -> None:
    """Another path is refused, by row and field, before anything is read."""
    path = _rows(home, ending, cell.replace("ABSOLUTE", str(home.parent / "other.png")))
    with pytest.raises(BadData, match=r"'picture': .* is outside the folder of the data") as caught:
        lf.dataset(path, signature=SIGNATURE)
    assert str(path) in caught.value.where
    assert "allow_files" in caught.value.fix


@pytest.mark.parametrize("link", ["link.png", "linked/other.png"])
def test_links_are_followed(link: str, home: Path) -> None:
    """A link in the folder to a file outside is refused, and one to a file inside is read."""
    (home / "link.png").symlink_to(home.parent / "other.png")
    (home / "linked").symlink_to(home.parent)
    (home / "own.png").symlink_to(home / "cat.png")
    with pytest.raises(BadData, match="outside"):
        lf.dataset(_rows(home, ".jsonl", link), signature=SIGNATURE)
    assert lf.dataset(_rows(home, ".jsonl", "own.png"), signature=SIGNATURE)


@pytest.mark.parametrize("allowed", ["parent", "list", "path"])
def test_a_folder_can_be_allowed(allowed: str, home: Path) -> None:
    """``allow_files`` names folders whose files rows may name too."""
    places: dict[str, Any] = {
        "parent": str(home.parent),
        "list": [home, home.parent],
        "path": home.parent,
    }
    for cell in ("../other.png", str(home.parent / "other.png")):
        rows = lf.dataset(
            _rows(home, ".csv", cell), signature=SIGNATURE, allow_files=places[allowed]
        )
        assert PNG == rows[0].picture.data


def test_a_file_url_in_the_folder_is_read(home: Path) -> None:
    """``file://`` is a way to write a path, with escapes, and names no other machine."""
    (home / "a cat.png").write_bytes(PNG)
    url = (home / "a cat.png").as_uri()
    assert lf.dataset(_rows(home, ".jsonl", url), signature=SIGNATURE)[0].picture.data == PNG
    with pytest.raises(BadData, match="no file of this machine"):
        lf.dataset(_rows(home, ".jsonl", "file://elsewhere/x.png"), signature=SIGNATURE)


@pytest.mark.parametrize(
    "cell", ["\0", "x" * 5000, "in", "no.png", "/dev/zero", "file:", "file://"]
)
def test_odd_names_are_typed_errors(cell: str, home: Path) -> None:
    """Folders, devices and names that no file can have are refused by row and field."""
    with pytest.raises(BadData, match="'picture'"):
        lf.dataset(_rows(home, ".jsonl", cell), signature=SIGNATURE)


def test_a_pipe_is_not_waited_for(home: Path) -> None:
    """A special file in the folder is refused, not read."""
    os.mkfifo(home / "pipe.png")
    with pytest.raises(BadData, match="not a regular file"):
        lf.dataset(_rows(home, ".jsonl", "pipe.png"), signature=SIGNATURE)


def test_lists_and_rows_of_python(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path of a list is checked; rows without a file are in the current folder."""
    monkeypatch.chdir(home)
    signature = "pictures: list[Image] -> answer"
    rows = [{"pictures": ["cat.png", "../other.png"]}]
    with pytest.raises(BadData, match=r"'pictures': '\.\./other\.png' is outside"):
        lf.dataset(rows, signature=signature)
    assert 2 == len(lf.dataset([{"pictures": ["cat.png"] * 2}], signature=signature)[0].pictures)


def test_a_picture_of_python_may_be_anywhere(home: Path) -> None:
    """A value that Python code made is no text of a row."""
    rows = [{"picture": lf.Image(home.parent / "other.png"), "question": "What?"}]
    assert PNG == lf.dataset(rows, signature=SIGNATURE)[0].picture.data

"""The laws of reading data sets: what each kind of source gives, and that a mistake names file,
line and fix.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import names, records

import lmflow as lf
from lmflow.data.dataset import Dataset
from lmflow.data.readers import dataset
from lmflow.errors import BadData, BadValue, LmflowError
from lmflow.values.record import Record, plain

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
ROWS = [{"id": "a", "question": "1+1", "answer": 2}, {"id": "b", "question": "2+2", "answer": 4}]


def written(folder: Path, text: str | bytes, name: str = "rows.jsonl") -> Path:
    """A file with that text."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problem(source: Any, **how: Any) -> str:
    """The words of the error."""
    with pytest.raises(BadData) as caught:
        dataset(source, **how)
    return str(caught.value)


@given(
    st.lists(
        records.filter(lambda row: "id" not in row),
        min_size=1,
        max_size=4,
        unique_by=lambda row: row.digest,
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_lines_round_trip(tmp_path: Path, rows: list[Record]) -> None:
    """What is written one object a line is read back, under the file's name."""
    path = written(tmp_path, "\n".join(json.dumps(plain(row)) for row in rows))
    assert Dataset("rows", rows) == dataset(path)


def test_blank_lines_and_marks_are_no_rows(tmp_path: Path) -> None:
    """A byte order mark, blank lines, carriage returns and line separators inside texts don't count
    as lines.
    """
    path = written(tmp_path, '\ufeff{"q": "a\u2028b"}\r\n\r\n{"q": "c"}\n\n')
    assert [Record(q="a\u2028b"), Record(q="c")] == [*dataset(path)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"q": }', r"line 2: it is not JSON \(Expecting value, column 7\)"),
        (
            "[1]",
            "line 2: it is a list, no mapping of names to values. Write each example as an object",
        ),
        ('{"q": NaN}', "line 2: q is nan. Use a finite number"),
        ('{"q": {"": {"x": Infinity}}}', "line 2: q..x is inf"),
        ('{"id": 1, "q": 2}', "line 2: it has the id of .*, line 1, '1'. Give each example an"),
        ('{"id": 1}', r"line 2: it repeats .*, line 1. Give each example .*drop_repeats=True"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    """File, line, what was found there and what mends it."""
    path = written(tmp_path, f'{{"id": 1}}\n{line}')
    with pytest.raises(BadData, match=words) as caught:
        dataset(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")


def test_repeats_may_be_dropped(tmp_path: Path) -> None:
    """Rows that are wholly equal count once where that is asked for; one id for two examples never
    passes.
    """
    path = written(tmp_path, '{"q": 1}\n{"q": 1}\n{"q": 2}')
    assert [1, 2] == [row.q for row in dataset(path, drop_repeats=True)]
    assert "it has the id of row 0, 'a'" in problem(
        [{"id": "a"}, {"id": "a", "q": 1}], drop_repeats=True
    )


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_no_rows_are_a_mistake(tmp_path: Path, text: str) -> None:
    """An empty file is no data set."""
    assert "it has no rows" in problem(written(tmp_path, text))
    assert "it has no rows" in problem([])


def test_a_file_that_is_no_utf_8(tmp_path: Path) -> None:
    """Another encoding is named by the first byte that can't be read."""
    assert "it is not UTF-8 (byte 7)" in problem(written(tmp_path, b'{"q": "\xe9"}'))


def test_a_missing_file_names_the_near_one(tmp_path: Path) -> None:
    """A mistyped path is refused with what lies beside it."""
    written(tmp_path, "{}", "train.jsonl")
    assert "there is no such file. Give the path of one. Did you mean 'train.jsonl'?" in problem(
        tmp_path / "tran.jsonl"
    )
    assert "there is no such file" in problem(str(tmp_path / "no" / "rows.csv"))


@pytest.mark.parametrize("name", ["rows.txt", "rows"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    """A file is read by its ending; the words list those that are."""
    assert ".jsonl, .json, .csv, .tsv, .parquet" in problem(written(tmp_path, "{}", name))


def test_a_list_of_objects(tmp_path: Path) -> None:
    """A JSON file is a list of objects; what is none is named by its place, with what it is."""
    assert [Record(row) for row in ROWS] == [
        *dataset(written(tmp_path, json.dumps(ROWS), "rows.json"))
    ]
    for text, words in [
        ("[1, 2", "it is not JSON (Expecting ',' delimiter, line 1, column 6)"),
        (
            '{"examples": [], "canary": ""}',
            "it holds an object with 'examples', 'canary', no list of objects",
        ),
        ("7", "it holds 7, no list of objects"),
        ('[{"q": "a"}, 2]', "item 1: it is a int, no mapping"),
        ("[]", "it has no rows"),
    ]:
        assert words in problem(written(tmp_path, text, "rows.json"))


@given(st.lists(names, min_size=1, max_size=3, unique=True), st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_round_trips(tmp_path: Path, header: list[str], data: st.DataObject) -> None:
    """Quotes, commas, tabs, separators and line ends inside cells are read as they were written."""
    import csv  # noqa: PLC0415

    rows = data.draw(
        st.lists(st.tuples(*[cells for _ in header]), min_size=1, max_size=3, unique=True)
    )
    made = [{"id": str(at), **dict(zip(header, row, strict=True))} for at, row in enumerate(rows)]
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        path = tmp_path / f"rows{suffix}"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*made[0]], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(made)
        assert [Record(row) for row in made] == [*dataset(path)]


def test_cells_are_texts_until_a_signature_reads_them(tmp_path: Path) -> None:
    """A CSV has texts; a signature says which are numbers, truths, lists or nothing."""
    path = written(tmp_path, 'id,n,ok,tags,note,other\n1,3,yes,"[""a"", ""b""]",,4\n', "rows.csv")
    signature = "id, n: int, ok: bool -> tags: list[str], note: int | None"
    assert (
        Record(id="1", n="3", ok="yes", tags='["a", "b"]', note="", other="4") == dataset(path)[0]
    )
    assert (
        Record(id="1", n=3, ok=True, tags=("a", "b"), note=None, other="4")
        == dataset(path, signature=signature)[0]
    )


def test_a_program_is_a_signature() -> None:
    """Rows are read for a program as its fields say; what is no text already stays."""
    step = lf.predict("add", "a: int, b: int -> total: int")
    assert [Record(a=1, b=2, total=3)] == [
        *dataset([{"a": "1", "b": 2, "total": "3"}], signature=step)
    ]


def test_a_cell_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """File, line, field, what was found and the type that the signature has."""
    words = problem(written(tmp_path, "q,n\na,1\nb,two\n", "rows.csv"), signature="q -> n: int")
    assert "rows.csv, line 3: 'n': 'two' is no whole number. n is int in the signature" in words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1\n", "line 2: it has 1 cells, the header 2. Quote cells"),
        ("a,b\n1,2\n1,2,3\n", "line 3: it has 3 cells"),
        ("a,a\n1,2\n", "line 1: two columns are called 'a'"),
        ('a,b\n"1,2\n', r"line 2: it is not CSV \(unexpected end of data\)"),
        ("a,b\n", "it has no rows"),
    ],
)
def test_a_bad_csv_is_named(tmp_path: Path, text: str, words: str) -> None:
    """Rows of another width, columns of one name and open quotes are refused where they stand."""
    with pytest.raises(BadData, match=words):
        dataset(written(tmp_path, text, "rows.csv"))


def test_blank_lines_of_a_csv_are_no_rows(tmp_path: Path) -> None:
    """A line without cells is passed over."""
    assert 2 == len(dataset(written(tmp_path, "a,b\r\n1,2\r\n\r\n3,4\r\n", "rows.csv")))


def test_rows_of_any_kind() -> None:
    """Lists, generators and data sets of mappings are data sets; each may be given a name."""
    assert ROWS == [plain(row) for row in dataset(row for row in ROWS)]
    assert ("mine", "examples") == (dataset(ROWS, "mine").name, dataset(ROWS).name)
    assert dataset(ROWS) == dataset(dataset(ROWS))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            {"train": ROWS},
            "it is one mapping of train, no rows. Name one of its parts: source['train']",
        ),
        ({}, "it is one mapping of nothing"),
        (7, "it is a int, no rows"),
        ([1], "row 0: it is a int, no mapping"),
        ([{"q": object()}], "row 0: q is a object"),
        ([{"q": {"x": {1: 2}}}], "row 0: .* is a mapping with the key 1"),
    ],
)
def test_what_is_no_rows(source: Any, words: str) -> None:
    """Anything else is refused in words."""
    with pytest.raises(BadData, match=words.replace("[", r"\[").replace("]", r"\]")):
        dataset(source)


def test_every_mistake_is_lmflows() -> None:
    """One except catches them all."""
    assert issubclass(BadData, LmflowError)


@attrs.frozen
class Label:
    """A class label as Hugging Face has it."""

    names: tuple[str, ...]


@attrs.frozen
class Hub:
    """A Hugging Face data set, by what is read of it."""

    rows: tuple[dict[str, Any], ...]
    features: dict[str, Any]
    column_names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


def test_class_labels_become_their_names() -> None:
    """A model is asked for a name, not for a number; a missing label (-1) is none."""
    hub = Hub(({"text": "a", "label": 1}, {"text": "b", "label": -1}, {"text": "c", "label": None}), {
        "text": object(), "label": Label(("no", "yes"))})  # fmt: skip
    assert ["yes", None, None] == [row.label for row in dataset(hub)]
    assert 2 == len(dataset(Hub(({"text": "a"}, {"text": "b"}), {})))


def test_pandas() -> None:
    """Values of numpy become Python's, missing ones none, times datetimes."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({
        "q": ["a", None], "n": pandas.array([1, None], dtype="Int64"), "x": [0.5, float("nan")],
        "at": pandas.to_datetime(["2024-01-02", None]), "tags": [["a"], [1, float("nan")]], 3: [True, False],
        "in": [{"k": float("nan")}, {"k": 1}],
    })  # fmt: skip
    first, second = dataset(frame, "frame")
    assert (
        Record(
            {
                "q": "a",
                "n": 1,
                "x": 0.5,
                "at": dt.datetime.fromisoformat("2024-01-02"),
                "tags": ["a"],
                "3": True,
                "in": {"k": None},
            }
        )
        == first
    )
    assert (
        Record(
            {
                "q": None,
                "n": None,
                "x": None,
                "at": None,
                "tags": [1, None],
                "3": False,
                "in": {"k": 1},
            }
        )
        == second
    )


def test_parquet(tmp_path: Path) -> None:
    """A table's rows, lists and nulls included."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    parquet.write_table(
        pyarrow.Table.from_pylist([{"q": "a", "tags": ["x"]}, {"q": None, "tags": []}]),
        tmp_path / "t.parquet",
    )
    assert [Record(q="a", tags=("x",)), Record(q=None, tags=())] == [
        *dataset(tmp_path / "t.parquet")
    ]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    """The optional package is named; nothing else needs it."""
    path = written(tmp_path, b"PAR1", "rows.parquet")
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import lmflow as lf\n"
        f"try: lf.dataset({str(path)!r})\nexcept lf.errors.BadData as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(
        'reading Parquet needs pyarrow. pip install "lmflow-dsl[data]"'
    )


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_cell_may_be_long(tmp_path: Path, ending: str) -> None:
    """A cell of more than the csv module's 131,072 characters is read, and its limit stays."""
    limit = csv.field_size_limit()
    delimiter = "\t" if ending == "tsv" else ","
    path = written(tmp_path, f"q{delimiter}a\n{'w' * 200_000}{delimiter}b\n", f"rows.{ending}")
    assert (200_000, limit) == (len(dataset(path)[0].q), csv.field_size_limit())


def test_a_limit_that_others_set_stays(tmp_path: Path) -> None:
    """Whatever limit a process has for the cells of CSV files, it has after a bad file too."""
    before = csv.field_size_limit(77)
    try:
        assert "it is not CSV" in problem(written(tmp_path, f'q\n"{"w" * 100}', "rows.csv"))
        assert 77 == csv.field_size_limit()
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("9" * 5000, "it has a number of more than 4,300 digits"),
        ("[" * 100_000 + "]" * 100_000, "it is nested too deeply"),
        ('{"a":' * 400 + "1" + "}" * 400, "deep"),
        ("[" * 201 + "1" + "]" * 201, "nested more than 200 levels deep"),
    ],
)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_json_beyond_limits_is_named(tmp_path: Path, ending: str, value: str, words: str) -> None:
    """A number that is too long and a value that is nested too deeply are named with their file."""
    row = f'{{"q": {value}}}'
    said = problem(written(tmp_path, f"[{row}]" if ending == "json" else row, f"rows.{ending}"))
    assert words in said
    assert f"rows.{ending}" in said


def test_the_deepest_row_is_read(tmp_path: Path) -> None:
    """A value that is nested 199 levels deep in its row is read and has a digest."""
    row = '{"q": ' + "[" * 199 + "1" + "]" * 199 + "}"
    assert dataset(written(tmp_path, row)).digest


def test_a_long_number_of_python_is_refused() -> None:
    """A number of more digits than can be written is ``BadData`` in a row, ``BadValue`` elsewhere."""
    assert "q is a whole number of more than 4,300 digits" in problem([{"q": 10**4300}])
    with pytest.raises(BadValue, match="more than 4,300 digits"):
        Dataset("x", [{"q": -(10**5000)}])
    assert 10**4299 == Dataset("x", [{"q": 10**4299}])[0].q

"""The laws of damaged corpora and indexes: whatever was changed, an error is typed."""

import contextlib
import shutil
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmflow.errors import LmflowError
from lmflow.stores.corpora.corpus import Corpus
from lmflow.stores.corpora.dense import Dense

DOCS = [{"id": f"d{n}", "text": f"green tea number {n}, 東京 " * 20} for n in range(20)]

UNCHECKED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@cache
def _sound() -> tuple[bytes, bytes]:
    """The files of a corpus and of its index."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.db")
        with Corpus.build(DOCS, path) as corpus:
            draft = corpus.draft("m/x")
            texts = draft.missing()
            draft.keep(texts, [[float(n), 1.0, 0.5] for n, _ in enumerate(texts)])
            index = draft.finish()
        return path.read_bytes(), index.path.read_bytes()


def _use(path: Path) -> None:
    with contextlib.suppress(LmflowError), Corpus.open(path) as corpus:
        corpus.search("green tea")
        corpus.search("東京")
        len(corpus)
        list(corpus)
        corpus.passage("d1#0")
    with contextlib.suppress(LmflowError):
        Dense.open(path).near([1.0, 0.0, 0.0])


def _holds(content: bytes) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "f.db").write_bytes(content)
        _use(folder / "f.db")
    finally:
        shutil.rmtree(folder)


@settings(max_examples=100, deadline=None, suppress_health_check=UNCHECKED)
@given(st.data(), st.integers(0, 1), st.booleans())
def test_flipped_bits(data: st.DataObject, which: int, first_pages: bool) -> None:  # noqa: FBT001
    """Any bits of the file, often those of the schema."""
    content = bytearray(_sound()[which])
    last = min(len(content), 9000 if first_pages else len(content)) - 1
    for _ in range(data.draw(st.integers(1, 10))):
        content[data.draw(st.integers(0, last))] ^= 1 << data.draw(st.integers(0, 7))
    _holds(bytes(content))


@settings(max_examples=40, deadline=None, suppress_health_check=UNCHECKED)
@given(st.data(), st.integers(0, 1))
def test_truncated_files(data: st.DataObject, which: int) -> None:
    """A file that ends too soon."""
    content = _sound()[which]
    _holds(content[: data.draw(st.integers(0, len(content)))])

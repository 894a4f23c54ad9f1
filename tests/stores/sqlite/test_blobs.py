"""The laws of blobs: values by their hash, once each, whole or refused."""

import gzip
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

import lmflow as lf
from lmflow.errors import Tampered
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.sqlite.blobs.format import Body, body_of, digest_bytes, digest_text, pack, unpack
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.blobs.writer import BlobWriter
from lmflow.stores.sqlite.migrations import migrations
from lmflow.stores.sqlite.store import reading
from lmflow.values.record import Record, canonical, digest

_RECORDED = Path(__file__).parents[2] / "fixtures" / "recorded" / "store.db.gz"
_BLOB_TABLE = """
CREATE TABLE blob (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, kind TEXT NOT NULL,
    enc INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL
)
"""


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """An empty store in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrations.apply(Database(connection))
        yield connection


def _chat(*contents: str) -> ChatRequest:
    return ChatRequest(
        tuple(Message("user", content) for content in contents), "p/m", "e", Record(seed=1)
    )


def _count(db: sqlite3.Connection, kind: str) -> int:
    return int(db.execute("SELECT count(*) FROM blob WHERE kind = ?", (kind,)).fetchone()[0])


@given(st.text(max_size=400))
def test_packing_keeps_the_value(value: str) -> None:
    """What was packed is unpacked, compressed or not."""
    assert value == unpack(*pack(canonical(value)))


@pytest.mark.parametrize(("value", "enc"), [("a", 0), ("a" * 1000, 1)])
def test_only_what_shrinks_is_compressed(value: str, enc: int) -> None:
    """Short texts stay plain."""
    assert enc == pack(canonical(value))[0]


def _put(db: sqlite3.Connection, body: Body) -> int:
    writer = BlobWriter(db)
    writer.begin()
    blob = writer.put(body)
    writer.flush()
    return blob


def _asked(db: sqlite3.Connection, request: Request) -> sqlite3.Row:
    """Store a request, and return what a row of the table ``call`` has of it."""
    key = digest_bytes(request.key)
    writer = BlobWriter(db)
    writer.begin()
    ids = writer.request(request, request.key)
    writer.flush()
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    query = "SELECT 1 AS id, ? AS key, ? AS request, ? AS prefix, ? AS last"
    row: sqlite3.Row = cursor.execute(query, (key, *ids)).fetchone()
    return row


def test_a_digest_has_32_bytes() -> None:
    """Bytes and text of a digest are one thing."""
    found = digest("x", 1)
    assert (32, found) == (len(digest_bytes(found)), digest_text(digest_bytes(found)))


def test_equal_values_are_one_blob(db: sqlite3.Connection) -> None:
    """A value is stored once, also by a writer that forgot."""
    writer = BlobWriter(db)
    writer.begin()
    first = writer.put(body_of("inputs", {"b": 1, "a": 2}))
    writer.flush()
    writer.forget()
    writer.begin()
    assert (first, 1) == (writer.put(body_of("inputs", {"a": 2, "b": 1})), _count(db, "inputs"))


def test_what_was_found_together_is_not_looked_up_alone(db: sqlite3.Connection) -> None:
    """``find`` answers for all: what is there keeps its number, what isn't gets the next."""
    bodies = [body_of("inputs", number) for number in range(300)]
    first = [_put(db, body) for body in bodies[:150]]
    writer = BlobWriter(db)
    writer.begin()
    writer.find(body.hashed for body in bodies)
    queries: list[str] = []
    db.set_trace_callback(queries.append)
    ids = [writer.put(body) for body in bodies]
    assert (first, []) == (ids[:150], queries)
    assert list(range(max(first) + 1, max(first) + 151)) == ids[150:]


def test_nothing_is_written_before_it_is_flushed(db: sqlite3.Connection) -> None:
    """Blobs wait for ``flush``; what a rollback forgot is never written."""
    writer = BlobWriter(db)
    writer.begin()
    writer.put(body_of("inputs", 1))
    assert 0 == _count(db, "inputs")
    writer.forget()
    writer.flush()
    assert 0 == _count(db, "inputs")


def test_a_kind_is_part_of_the_hash(db: sqlite3.Connection) -> None:
    """The same value of another kind is another blob."""
    assert _put(db, body_of("inputs", 1)) != _put(db, body_of("outputs", 1))


@pytest.mark.parametrize(
    "request_",
    [
        _chat(),
        _chat("a"),
        _chat("a", "b", "c"),
        ChatRequest((Message("user", "é\x00\ud83d😀"), Message("tool", "4", answers="call_0"))),
        ChatRequest(
            (Message("assistant", "", (ToolCall("t", "{}", state={"sig": [1]}),)),),
            tools=(Record(name="t", parameters={"type": "object"}),),
            schema=Record(type="object"),
            sample=3,
        ),
        ToolRequest("t", "i", Record(a=[1, None]), 2),
        EmbedRequest(("a", "é"), "p/m"),
    ],
)
def test_a_request_reads_back(db: sqlite3.Connection, request_: Request) -> None:
    """A request is what it was, with the key that it had."""
    read = BlobReader(db, "s").request(_asked(db, request_))
    assert (request_, request_.key) == (read, read.key)


@given(
    st.lists(st.text(max_size=20), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
    st.integers(0, 3),
)
def test_the_parts_of_a_request_give_its_key(
    contents: list[str], options: dict[str, int | str], sample: int
) -> None:
    """Whatever is asked, the key derived from the stored parts is that of the request."""
    messages = tuple(Message("user", content) for content in contents)
    asked = ChatRequest(messages, "p/m", "e", Record(options), sample=sample)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(_BLOB_TABLE)
        assert asked == BlobReader(db, "s").request(_asked(db, asked))


@pytest.mark.parametrize("part", ["request", "prefix", "last"])
def test_parts_that_do_not_belong_together_are_tampered(db: sqlite3.Connection, part: str) -> None:
    """Parts that are sound one by one don't give the key of another request."""
    row = _asked(db, _chat("a", "b", "c"))
    other = _asked(db, ChatRequest((Message("user", "x"), Message("user", "y")), "p/other"))
    mixed = {name: row[name] for name in row.keys()} | {part: other[part]}  # noqa: SIM118
    columns = ", ".join(f"? AS {name}" for name in mixed)
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    found = cursor.execute(f"SELECT {columns}", tuple(mixed.values())).fetchone()
    with pytest.raises(Tampered, match="the key of call 1 doesn't match its request"):
        BlobReader(db, "s").request(found)


def test_messages_are_shared(db: sqlite3.Connection) -> None:
    """Of requests that begin alike, each message, the common beginning and what else they have in
    common are stored once.
    """
    writer = BlobWriter(db)
    writer.begin()
    for last in "xyz":
        request = _chat("one", "two", last)
        writer.request(request, request.key)
    writer.flush()
    kinds = ("message", "prefix", "shape", "request")
    assert [5, 1, 1, 0] == [_count(db, kind) for kind in kinds]


def test_a_value_is_read_once(db: sqlite3.Connection) -> None:
    """A reader gives the same object again."""
    blob, reader = _put(db, body_of("inputs", {"a": [1]})), BlobReader(db, "s")
    assert reader.get(blob) is reader.get(blob)


def test_no_blob_is_no_value(db: sqlite3.Connection) -> None:
    """``None`` is the absent blob."""
    assert BlobReader(db, "s").get(None) is None


@pytest.mark.parametrize(
    "change", ["data = x'7b7d'", "data = x'ff'", "enc = 1", "kind = 'outputs'"]
)
def test_a_changed_blob_is_tampered(db: sqlite3.Connection, change: str) -> None:
    """A blob that doesn't match its hash, or can't be read, is named."""
    blob = _put(db, body_of("inputs", {"a": 1}))
    db.execute(f"UPDATE blob SET {change} WHERE id = ?", (blob,))  # noqa: S608 - the cases above
    with pytest.raises(Tampered, match=f"blob {blob} "):
        BlobReader(db, "s").get(blob)


def test_a_missing_blob_is_tampered(db: sqlite3.Connection) -> None:
    """A blob that is gone is named."""
    with pytest.raises(Tampered, match="blob 7 is missing"):
        BlobReader(db, "s").get(7)


def test_a_changed_message_is_found_through_its_request(db: sqlite3.Connection) -> None:
    """Whoever reads a request reads the messages that were asked."""
    request = _chat("one", "two")
    row = _asked(db, request)
    db.execute(
        "UPDATE blob SET data = CAST(replace(CAST(data AS TEXT), 'one', 'won') AS BLOB) WHERE kind = 'message'"
    )
    with pytest.raises(Tampered, match="message blob"):
        BlobReader(db, "s").request(row)


def test_a_key_is_the_address_of_a_request(db: sqlite3.Connection) -> None:
    """A request of a tool is found by the hash of what was asked."""
    request = ToolRequest("t", "i", Record(a=1))
    blob = _asked(db, request)["request"]
    assert [(blob,)] == db.execute(
        "SELECT id FROM blob WHERE hash = ?", (digest_bytes(request.key),)
    ).fetchall()


async def test_calls_of_both_forms_stand_in_one_store(tmp_path: Path) -> None:
    """A store whose requests are blobs goes on with requests in parts; all of it verifies."""
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress(_RECORDED.read_bytes()))
    with lf.SqliteStore(path) as store:
        earlier = [run.id for run in store.runs()]
        async with lf.Executor(lf.scripted(lambda _: "4"), store) as ex:
            run = await ex.map(lf.predict("answer", "question -> answer"), [{"question": "2+2?"}])
    with reading(path) as reader:
        assert () == reader.check().problems
        assert run == reader.verify(run.id)
        assert earlier == [reader.verify(name).id for name in earlier]
    with closing(sqlite3.connect(path)) as db:
        forms = "SELECT DISTINCT prefix IS NULL FROM call WHERE kind = 'chat' ORDER BY 1"
        assert [(0,), (1,)] == db.execute(forms).fetchall()

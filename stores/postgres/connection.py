"""A connection to PostgreSQL that the readers of both stores use like one of ``sqlite3``."""

from __future__ import annotations

import contextlib
import select
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

try:
    import psycopg
except ImportError as error:  # without the driver, or without the library that it calls
    _LINE = "a store in PostgreSQL needs psycopg: pip install 'lmflow-dsl[postgres]'"
    raise ModuleNotFoundError(_LINE, name="psycopg") from error
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import TransactionStatus

from lmflow.errors import NoContent, StoreError
from lmflow.stores.postgres.dialect import is_delete_of_words, is_insert_of_words, translated
from lmflow.stores.postgres.location import Location
from lmflow.stores.postgres.nul import escaped, unescaped
from lmflow.stores.postgres.own import PostgresDialect
from lmflow.stores.postgres.schema import REFERENCES
from lmflow.stores.postgres.words import vector
from lmflow.stores.sqlite.blobs.media import check_content
from lmflow.stores.sqlite.schema import VERSION as READERS_SCHEMA
from lmflow.values.media import SHA

CHANNEL = "lmflow"
"""The channel on which a commit is announced to those who follow a store."""

# The lock waits for the other writers of the store, and goes with the transaction. It would be held
# while the server flushes its disk: so the commit doesn't flush, a small one without the lock does,
# and the server flushes once for the writers of many processes.
_BEGIN = (
    b"BEGIN; SET LOCAL synchronous_commit = off;"
    b" SELECT pg_advisory_xact_lock(hashtextextended('lmflow ' || current_schema(), 0))"
)
_FLUSH = "SELECT pg_logical_emit_message(true, 'lmflow', '')"
_COMMIT = f"NOTIFY {CHANNEL}; COMMIT".encode()

_CONTENT = "SELECT data FROM blob WHERE hash = $1 AND kind = 'media'"
_SECONDS, _PREPARED = 10, 300
_FETCH = "FETCH FORWARD 500 FROM lmflow_rows"
_MOST = 2**31 - 1
_ADD_WORDS = "INSERT INTO search (rowid, words) VALUES {rows}"

Parameters = Sequence[Any] | Mapping[str, Any]


class Row(Sequence[Any]):
    """A row whose values are found by place and by the name of their column."""

    __slots__ = ("_places", "_values")

    def __init__(self, values: Sequence[Any], places: Mapping[str, int]) -> None:
        self._values, self._places = values, places

    def __getitem__(self, key: Any) -> Any:
        return self._values[self._places[key] if type(key) is str else key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._places)


class _NumberLoader(Loader):
    """Reads a sum of integers as an integer, anything else as a float."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else float(text)


# A value without a type of its own takes that of its place. So a statement has the same types
# whichever values are missing, and is prepared once.
class _IntDumper(Dumper):
    oid = 0

    def dump(self, obj: int) -> bytes:
        return str(obj).encode()


class _TextDumper(Dumper):
    oid = 0

    def dump(self, obj: str) -> bytes:
        return escaped(obj).encode()


class _TextLoader(Loader):
    def load(self, data: Buffer) -> str:
        return unescaped(bytes(data).decode())


class PostgresConnection:
    """Runs the statements of SQLite's readers and writers on PostgreSQL.

    Args:
        location: The server, the database and the schema.
        read_only: Whether nothing may be written.
    """

    def __init__(self, location: Location, *, read_only: bool = False) -> None:
        self.location = location
        self.row_factory: Any = None
        self.dialect = PostgresDialect(self, read_content)
        self.commits = 0
        self._listens = False
        self._pipeline: psycopg.Pipeline | None = None
        self._db = _connected(location)
        self._db.add_notify_handler(self._count)
        if read_only:
            self._db.execute("SET default_transaction_read_only = on")

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._db.info.transaction_status != TransactionStatus.IDLE

    @property
    def is_lost(self) -> bool:
        """Whether the server closed the connection."""
        return self._db.closed

    @property
    def is_alive(self) -> bool:
        """Whether the server has not hung up, as far as this side was told."""
        # A server that hangs up says so, and then there is the end of the stream to be read.
        with contextlib.suppress(psycopg.Error):
            while select.select([self._db.fileno()], [], [], 0)[0]:
                self._drained()
            return not self.is_lost
        return False

    def execute(self, sql: str, parameters: Parameters = ()) -> Any:
        """Run a statement of SQLite and return its rows."""
        if sql.startswith("PRAGMA"):
            return self._pragma(sql)
        if sql == "BEGIN IMMEDIATE":
            return self._db.execute(_BEGIN, prepare=False)
        if sql == "BEGIN":
            return self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        if is_insert_of_words(sql):
            return self._add_words(list(parameters))
        if is_delete_of_words(sql):
            return self._db.execute("DELETE FROM search WHERE rowid = $1", list(parameters)[:1])
        statement = translated(sql)
        rows = self._db.execute(statement.text.encode(), _ordered(statement.names, parameters))
        if self._pipeline is not None and not statement.only_writes:
            self._pipeline.sync()
        return rows

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once a row."""
        values = [tuple(row) for row in rows]
        if values and is_delete_of_words(sql):
            sql, values = "DELETE FROM search WHERE rowid = ?", [row[:1] for row in values]
        if values:
            self._db.cursor().executemany(translated(sql).text.encode(), values)

    def as_sqlite(self) -> sqlite3.Connection:
        """Return the connection as the type that the shared readers and writers name."""
        return cast("sqlite3.Connection", self)

    def cursor(self) -> PostgresConnection:
        """Return what runs statements: the connection itself."""
        return self

    def run(self, text: str, parameters: Sequence[Any] | None = None) -> Any:
        """Run a statement of PostgreSQL as it is."""
        return self._db.execute(text.encode(), parameters)

    @contextlib.contextmanager
    def pipelined(self) -> Iterator[None]:
        """Send what only writes without waiting for the server; errors come a little later."""
        failure: psycopg.Error | None = None
        try:
            with self._db.pipeline() as self._pipeline:
                try:
                    yield
                except psycopg.Error as error:  # the pipeline would print that it is aborted
                    failure = error
        except psycopg.Error as error:
            failure = failure or error
        finally:
            self._pipeline = None
        if failure is not None:
            raise failure

    def commit(self, *, durable: bool = True) -> None:
        """Commit the open transaction, and tell those who follow the store.

        Args:
            durable: Whether to wait until the server has flushed it to its disk.
        """
        self._db.execute(_COMMIT, prepare=False)
        if durable:
            self._db.execute(_FLUSH)

    def rollback(self) -> None:
        """End the open transaction without its changes."""
        self._db.rollback()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def streamed(self, query: str) -> Iterator[Row]:
        """Yield the rows of a long query of SQLite, which are fetched a few at a time."""
        with self._db.transaction():
            declare = f"DECLARE lmflow_rows NO SCROLL CURSOR FOR {translated(query).text}"
            self._db.execute(declare.encode())
            while rows := self._db.execute(_FETCH).fetchall():
                yield from rows

    def declared(self, query: str, limit: int, seconds: float) -> tuple[list[str], list[Row]]:
        """Return the columns and first rows of one query; PostgreSQL declares nothing else."""
        with self._db.transaction():
            timeout = [str(max(1, round(seconds * 1000)))]
            self._db.execute("SELECT set_config('statement_timeout', $1, true)", timeout)
            declare = f"DECLARE lmflow_rows NO SCROLL CURSOR FOR {query.strip().rstrip(';')}"
            self._db.execute(declare.encode(), [])
            fetch = f"FETCH FORWARD {min(limit, _MOST)} FROM lmflow_rows"
            rows = self._db.execute(fetch.encode())
            return [column.name for column in rows.description or ()], rows.fetchall()

    def wait(self, seconds: float) -> None:
        """Wait until something is committed, for so many seconds at most."""
        self._listen()
        if self._drained() == 0:
            select.select([self._db.fileno()], [], [], seconds)

    def _add_words(self, values: Sequence[Any]) -> Any:
        rows, parameters = list[str](), list[Any]()
        for at in range(0, len(values), 3):
            call, asked, answered = values[at : at + 3]
            rows.append(f"(${len(parameters) + 1}, ${len(parameters) + 2})")
            parameters += [call, vector(asked, answered)]
        return self._db.execute(_ADD_WORDS.format(rows=", ".join(rows)).encode(), parameters)

    def _pragma(self, sql: str) -> Any:
        name = sql.removeprefix("PRAGMA ")
        if name == "user_version":
            return _Rows([(READERS_SCHEMA,)])
        if name == "data_version":
            self._listen()
            self._drained()
            return _Rows([(self.commits,)])
        if name == "database_list":
            return _Rows([(0, "main", self.location.name)])
        if name.startswith("foreign_key_list("):
            keys = REFERENCES.get(name.partition("(")[2].rstrip(")"), ())
            return _Rows([(at, 0, other, column) for at, (column, other) in enumerate(keys)])
        return _Rows([])  # the others are settings of SQLite

    def _listen(self) -> None:
        if not self._listens:
            self._db.execute(f"LISTEN {CHANNEL}")
            self._listens = True
            self.commits += 1

    def _drained(self) -> int:
        """Count the commits that were announced meanwhile."""
        before, connection = self.commits, self._db.pgconn
        connection.consume_input()
        while connection.notifies() is not None:
            self.commits += 1
        return self.commits - before

    def _count(self, _: object) -> None:
        self.commits += 1


class _Rows:
    """The rows of a statement that PostgreSQL needs not be asked for."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self._rows)

    def fetchone(self) -> Sequence[Any] | None:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> Sequence[Sequence[Any]]:
        return self._rows


def read_content(place: Location, digest: str) -> bytes:
    """Read a content through a connection of its own: the caller may be any thread, much later.

    Raises:
        NoContent: If the store doesn't have it, or can't be read.
        Tampered: If it does not match its hash.
    """
    hashed = bytes.fromhex(digest.removeprefix(SHA))
    try:
        with contextlib.closing(PostgresConnection(place, read_only=True)) as db:
            row = db.run(_CONTENT, [hashed]).fetchone()
    except (psycopg.Error, StoreError) as error:
        raise NoContent(f"{digest[:19]} ({place.name}: {place.clean(error)})") from None
    if row is None:
        raise NoContent(digest[:19])
    return check_content(place.name, hashed, row[0])


def _connected(location: Location) -> psycopg.Connection[Any]:
    try:
        db: psycopg.Connection[Any] = psycopg.connect(
            location.url,
            autocommit=True,
            connect_timeout=_SECONDS,
            cursor_factory=psycopg.RawCursor,
            row_factory=cast("Any", _row_maker),
            application_name="lmflow",
        )
    except psycopg.Error as error:
        fix = "Is the server up, and are user, password and database right?"
        raise StoreError(
            location.name, f"it can't be opened ({location.clean(error)})", fix
        ) from None
    db.prepared_max = _PREPARED
    db.prepare_threshold = 2
    db.adapters.register_dumper(int, _IntDumper)
    db.adapters.register_dumper(str, _TextDumper)
    db.adapters.register_loader("numeric", _NumberLoader)
    db.adapters.register_loader("text", _TextLoader)
    db.execute("SELECT set_config('search_path', $1, false)", [f'"{location.schema}"'])
    return db


def _row_maker(cursor: Any) -> Callable[[Sequence[Any]], Row]:
    places: dict[str, int] = {column.name: at for at, column in enumerate(cursor.description or ())}
    return lambda values: Row(values, places)


def _ordered(names: Sequence[str], parameters: Parameters) -> Sequence[Any] | None:
    if isinstance(parameters, Mapping):
        return [parameters[name] for name in names]
    return list(parameters) or None

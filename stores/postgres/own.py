"""What PostgreSQL does in its own way: search, checks in Python, contents, waiting."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import attrs

from lmflow.stores.postgres.location import Location
from lmflow.stores.postgres.words import matched, vector
from lmflow.stores.sqlite.full_text import indexed_calls
from lmflow.values.media import SHA

_HITS = """
SELECT call.id, call.address, call.attempt, call.model, call.status, trace.uid AS trace,
       call.reply,
       (SELECT run FROM run_item WHERE run_item.trace = trace.id ORDER BY run LIMIT 1) AS run
FROM search JOIN call ON call.id = search.rowid JOIN trace ON trace.id = call.trace
WHERE search.words @@ CAST(:words AS tsquery) AND search.rowid < :before AND {where}
ORDER BY call.id DESC LIMIT :limit
"""
_SAME = "SELECT words = $1::tsvector FROM search WHERE rowid = $2"


class Connection(Protocol):
    """What the dialect needs of its connection."""

    location: Location

    def run(self, text: str, parameters: Sequence[Any] | None = None) -> Any:
        """Run a statement of PostgreSQL as it is."""
        ...

    def streamed(self, query: str) -> Iterator[Sequence[Any]]:
        """Yield the rows of a long query of SQLite."""
        ...

    def as_sqlite(self) -> sqlite3.Connection:
        """Return the connection as the type that the shared readers name."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait until something is committed, for so many seconds at most."""
        ...


@attrs.frozen(eq=False)
class PostgresDialect:
    """What the readers ask of a connection to PostgreSQL."""

    connection: Connection
    read_content: Callable[[Location, str], bytes]

    def matching(self, words: Sequence[str], where: str) -> tuple[str, dict[str, Any]] | None:
        """Return the query of the calls with all words, and its parameters."""
        expression = matched(words)
        return (_HITS.format(where=where), {"words": expression}) if expression else None

    def passing(self, query: str, check: Callable[[Any, Any], bool]) -> list[Any]:
        """Return the first column of a query's rows for which a check of the others holds."""
        return [row[0] for row in self.connection.streamed(query) if check(row[1], row[2])]

    def content(self, digest: str) -> Callable[[], bytes] | None:
        """Return what reads a content, ``None`` if ``digest`` is no SHA-256."""
        if not digest.startswith(SHA):
            return None
        return functools.partial(self.read_content, self.connection.location, digest)

    def problems(self) -> Iterator[str]:
        """Yield what of the full-text index does not agree with the calls."""
        db = self.connection
        extra = "SELECT count(*) FROM search WHERE rowid NOT IN (SELECT id FROM call)"
        if (count := db.run(extra).fetchone()[0]) > 0:
            yield f"the full-text index has {count} calls that are not there"
        missing = wrong = 0
        for entries in indexed_calls(db.as_sqlite()):
            for call, asked, answered in entries:
                row = db.run(_SAME, [vector(asked, answered), call]).fetchone()
                missing += row is None
                wrong += row is not None and not row[0]
        if missing:
            yield f"the full-text index lacks {missing} calls"
        if wrong:
            yield f"the full-text index does not hold the words of {wrong} calls"

    def wait(self, seconds: float) -> None:
        """Wait until something is committed, for so many seconds at most."""
        self.connection.wait(seconds)

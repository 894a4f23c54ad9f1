"""Conditions on recordings as SQL: literals are bound, never pasted; what SQLite can't compare
(compressed texts, letters of any case) Python compares.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.conditions import Condition, label_names, members, step_names
from lmflow.messages.replies import outcome_of
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.dialect import dialect_of
from lmflow.stores.filters import PARTS, Level, failure_words, level_of, outcome_errors
from lmflow.stores.sqlite.blobs.format import digest_bytes, unpack
from lmflow.stores.sqlite.lists.run_totals import has_references, reused_column
from lmflow.values.unicode import well_formed

_HOLDS = "lmflow_holds"
"""The name of the SQL function that checks a condition in Python."""

Read = Callable[[Any, Any], list[Any]]
"""Makes the values of a field from a value and nothing, or from the encoding and data of a blob."""

Check = Callable[[Any, Any], bool]
"""Tells whether a condition holds for what would be read."""

_FAILED_CALLS = "call WHERE call.status = 'failed'"
_OF_RUN = "FROM run_item JOIN call ON call.trace = run_item.trace WHERE run_item.run = run.id"
_OF_TRACE = "FROM call WHERE call.trace = trace.id"
_SENT = "call.source = '' AND NOT {reused}"
_TOKENS = "call.tok_in IS NOT NULL OR call.tok_out IS NOT NULL"
_SUM_TOKENS = "coalesce(call.tok_in, 0) + coalesce(call.tok_out, 0)"
_LATEST = (
    "(SELECT value FROM score WHERE score.trace = {trace} AND value IS NOT NULL{named}"
    " ORDER BY score.id DESC LIMIT 1)"
)
_IN_SOME_RUN = (
    "SELECT 1 FROM run_item JOIN run ON run.id = run_item.run WHERE run_item.trace = trace.id"
)
_IN_PLACE = "SELECT 1 FROM run WHERE run.id = run_item.run"
_BLOB = "(SELECT enc FROM blob WHERE id = {0}), (SELECT data FROM blob WHERE id = {0})"
_TEXTS = "SELECT DISTINCT CAST({0} AS TEXT), {0}, NULL FROM {1}"
_BLOBS = "SELECT id, enc, data FROM blob WHERE id IN (SELECT {0} FROM {1})"


def _seconds(table: str) -> str:
    return f"CASE WHEN {table}.ended_ns > 0 THEN ({table}.ended_ns - {table}.started_ns) / 1e9 END"


def _started(table: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%S', {table}.started_ns / 1000000000, 'unixepoch')"


_COLUMNS: Mapping[tuple[Level, str], tuple[str, ...]] = {
    ("run", "run"): ("run.id",),
    ("run", "kind"): ("run.kind",),
    ("run", "program"): ("run.name", "run.target"),
    ("run", "status"): ("run.status",),
    ("run", "started"): (_started("run"),),
    ("run", "seconds"): (_seconds("run"),),
    ("run", "calls"): (f"(SELECT count(*) {_OF_RUN})",),
    ("run", "cost"): (f"(SELECT sum(call.cost) {_OF_RUN} AND {_SENT}) / 1e9",),
    ("run", "tokens"): (f"(SELECT sum({_SUM_TOKENS}) {_OF_RUN} AND {_SENT} AND ({_TOKENS}))",),
    ("trace", "trace"): ("trace.uid",),
    ("trace", "program"): ("trace.name", "trace.target"),
    ("trace", "version"): (
        "(SELECT 'v1:b2:' || lower(hex(hash)) FROM version WHERE version.id = trace.version)",
    ),
    ("trace", "status"): (
        """CASE WHEN trace.failure IS NOT NULL THEN 'failed'
           WHEN trace.outputs IS NULL THEN 'open' ELSE 'done' END""",
    ),
    ("trace", "started"): (_started("trace"),),
    ("trace", "seconds"): (_seconds("trace"),),
    ("trace", "calls"): (f"(SELECT count(*) {_OF_TRACE})",),
    ("trace", "cost"): (f"(SELECT sum(call.cost) {_OF_TRACE} AND call.source = '') / 1e9",),
    ("trace", "tokens"): (
        f"(SELECT sum({_SUM_TOKENS}) {_OF_TRACE} AND call.source = '' AND ({_TOKENS}))",
    ),
    ("trace", "sample"): ("trace.sample",),
    ("call", "kind"): ("call.kind",),
    ("call", "address"): ("call.address",),
    ("call", "model"): ("CASE WHEN call.kind <> 'tool' THEN call.model END",),
    ("call", "tool"): ("CASE WHEN call.kind = 'tool' THEN call.model END",),
    ("call", "attempt"): ("call.attempt + 1",),
    ("call", "status"): (
        "call.status",
        "CASE call.status WHEN 'ok' THEN 'done' WHEN 'started' THEN 'open' END",
    ),
    ("call", "reused"): ("CASE call.source WHEN '' THEN 'false' ELSE 'true' END",),
    ("call", "started"): (_started("call"),),
    ("call", "seconds"): (_seconds("call"),),
    ("call", "cost"): ("call.cost / 1e9",),
    ("call", "tokens"): (f"CASE WHEN {_TOKENS} THEN {_SUM_TOKENS} END",),
}
"""The SQL of a field's values, by the thing that has it."""


@attrs.frozen
class Filter:
    """A boolean SQL expression over the tables ``run``, ``trace`` and ``call`` of a query, and the
    parameters in it.
    """

    sql: str
    parameters: Mapping[str, Any]


class ConditionFilters:
    """Makes conditions to SQL for one connection, on which it registers a function."""

    def __init__(self, db: sqlite3.Connection, store: str) -> None:
        self._db = db
        self._store = store
        self._checks: list[Check] = []
        self._damage: Exception | None = None
        self._parameters: dict[str, Any] = {}
        self._run_holds = _IN_SOME_RUN
        self._dialect = dialect_of(db)
        if self._dialect is None:
            db.create_function(_HOLDS, 3, self._holds)

    def filter(
        self, conditions: Iterable[Condition], listed: Level, *, place: bool = False
    ) -> Filter:
        """Return the filter of a query of ``listed`` things.

        The query has the table ``listed``; one of calls has the table ``trace`` too. With ``place``
        it has a row of ``run_item``, on whose run conditions on a run must hold.
        """
        self._parameters = {}
        self._run_holds = _IN_PLACE if place else _IN_SOME_RUN
        own: list[str] = []
        wanted: list[tuple[Level, str]] = []
        for criterion in conditions:
            level = level_of(criterion, listed)
            if level not in PARTS[listed]:
                own.append(self._own(criterion, listed, level))
            elif criterion.operator == "!=":
                part: list[tuple[Level, str]] = [(level, self._sql(criterion.positive, level))]
                own.append(f"NOT {_some_part(listed, part)}")
            else:
                wanted.append((level, self._sql(criterion, level)))
        if wanted:
            own.append(_some_part(listed, wanted))
        return Filter(" AND ".join(own) or "TRUE", self._parameters)

    def rows(self, query: str, parameters: Mapping[str, Any]) -> list[sqlite3.Row]:
        """Return the rows of a query with filters; ``Tampered`` if a blob in it can't be read."""
        self._damage = None
        try:
            return self._db.execute(query, dict(parameters)).fetchall()
        except sqlite3.OperationalError:
            if self._damage is None:
                raise
            raise damaged(self._store, "a blob", self._damage) from self._damage

    def _holds(self, check: int, first: Any, second: Any) -> bool:
        try:
            return self._checks[check](first, second)
        except DAMAGE as error:
            self._damage = error
            raise

    def _own(self, criterion: Condition, listed: Level, level: Level) -> str:
        """Return the SQL of a condition on the thing itself, or on what it belongs to."""
        sql = self._sql(criterion.positive, level, alone=listed == "call")
        if level == "run" and listed != "run":
            sql = f"EXISTS ({self._run_holds} AND {sql})"
        return f"NOT {sql}" if criterion.operator == "!=" else sql

    def _sql(  # noqa: PLR0911 - one return a field
        self, criterion: Condition, level: Level, *, alone: bool = False
    ) -> str:
        match criterion.field:
            case "score":
                return self._compared(criterion, [self._score(criterion, level)], level)
            case "step":
                return self._checked(criterion, _names_of_steps, "call.address", "call")
            case "label":
                holds = self._checked(criterion, _names_of_labels, "label", "run_item")
                return (
                    f"EXISTS (SELECT 1 FROM run_item WHERE run_item.trace = trace.id AND {holds})"
                )
            case "input" | "output" as field:
                read = _member_reader(criterion.name)
                return self._checked_blob(criterion, read, f"trace.{field}s", "trace")
            case "error":
                return self._error(criterion, level, alone=alone)
            case "version" if criterion.operator == "=":
                named = self._bound(_hash_of(criterion.literal))
                version = f"(SELECT id FROM version WHERE hash = {named})"
                return f"coalesce(trace.version = {version}, FALSE)"
        reused = reused_column(self._db)
        columns = [sql.replace("{reused}", reused) for sql in _COLUMNS[level, criterion.field]]
        return self._compared(criterion, columns, level)

    def _score(self, criterion: Condition, level: Level) -> str:
        named = ""
        if criterion.name:
            named = f" AND score.name = {self._bound(well_formed(criterion.name))}"
        if level == "trace":
            return _LATEST.format(trace="trace.id", named=named)
        if has_references(self._db):
            named += " AND score.run IN ('', run_item.run)"
        latest = _LATEST.format(trace="run_item.trace", named=named)
        return f"(SELECT avg({latest}) FROM run_item WHERE run_item.run = run.id)"

    def _error(self, criterion: Condition, level: Level, *, alone: bool) -> str:
        failed = self._checked_blob(criterion, _failure_errors, "trace.failure", "trace")
        called = self._checked_blob(criterion, _reply_errors, "call.reply", _FAILED_CALLS)
        called = f"(call.status = 'failed' AND {called})"
        if level == "call":
            return f"({called} OR {failed})" if alone else called
        return f"({failed} OR EXISTS (SELECT 1 {_OF_TRACE} AND {called}))"

    def _compared(self, criterion: Condition, values: Sequence[str], level: Level) -> str:
        if criterion.operator == "~":
            parts = [self._checked(criterion, _itself, value, level) for value in values]
            return f"({' OR '.join(parts)})"
        literal = criterion.literal
        if isinstance(literal, str):
            literal = well_formed(literal)
        bound = self._bound(literal)
        if criterion.field == "started":
            values = [f"substr({value}, 1, {len(literal)})" for value in values]
        parts = [f"coalesce({value} {criterion.operator} {bound}, FALSE)" for value in values]
        return f"({' OR '.join(parts)})"

    def _checked(self, criterion: Condition, read: Read, value: str, table: str) -> str:
        """Return the SQL that checks a condition in Python, on what ``read`` makes of a value;
        ``table`` has the rows that the value is of.
        """
        check = _check_of(criterion, read)
        if self._dialect is not None:
            texts = self._passing(_TEXTS.format(value, table), check)
            return f"coalesce(CAST({value} AS TEXT) = ANY({texts}), FALSE)"
        return f"{_HOLDS}({self._number(check)}, {value}, NULL)"

    def _checked_blob(self, criterion: Condition, read: Read, column: str, table: str) -> str:
        """Return the SQL that checks a condition in Python, on what ``read`` makes of a blob."""
        check = _check_of(criterion, read)
        if self._dialect is not None:
            ids = self._passing(_BLOBS.format(column, table), check)
            return f"coalesce({column} = ANY({ids}), FALSE)"
        return f"{_HOLDS}({self._number(check)}, {_BLOB.format(column)})"

    def _passing(self, query: str, check: Check) -> str:
        """Return the place of the values that pass a check, for a database that can't call it."""
        assert self._dialect is not None  # noqa: S101 - the caller asked
        try:
            return self._bound(self._dialect.passing(query, check))
        except DAMAGE as error:
            raise damaged(self._store, "a blob", error) from error

    def _number(self, check: Check) -> str:
        self._checks.append(check)
        return self._bound(len(self._checks) - 1)

    def _bound(self, value: Any) -> str:
        name = f"where{len(self._parameters)}"
        self._parameters[name] = value
        return f":{name}"


def _some_part(listed: Level, wanted: Sequence[tuple[Level, str]]) -> str:
    """Return the SQL that says whether one part fulfils all conditions."""
    on_traces = [sql for level, sql in wanted if level == "trace"]
    on_calls = [sql for level, sql in wanted if level == "call"]
    inner = list(on_traces)
    if on_calls:
        call = f"EXISTS (SELECT 1 {_OF_TRACE} AND {' AND '.join(on_calls)})"
        if listed == "trace":
            return call
        inner.append(call)
    return (
        "EXISTS (SELECT 1 FROM run_item JOIN trace ON trace.id = run_item.trace"
        f" WHERE run_item.run = run.id AND {' AND '.join(inner)})"
    )


def _check_of(criterion: Condition, read: Read) -> Check:
    return lambda first, second: first is not None and criterion.holds(read(first, second))


def _itself(text: Any, _: Any) -> list[Any]:
    return [text]


def _names_of_steps(address: str, _: Any) -> list[str]:
    return list(step_names(address))


def _names_of_labels(label: str, _: Any) -> list[str]:
    return list(label_names(label))


def _member_reader(name: str) -> Read:
    return lambda enc, data: members(unpack(enc, data), name)


def _failure_errors(enc: int, data: bytes) -> list[str]:
    failure = unpack(enc, data)
    return failure_words(failure["kind"], failure["text"])


def _reply_errors(enc: int, data: bytes) -> list[str]:
    return outcome_errors(outcome_of(unpack(enc, data)))


def _hash_of(version: Any) -> bytes:
    """Return the hash of a version's whole id; of any other text, one that no version has."""
    try:
        return digest_bytes(str(version))
    except ValueError:
        return b""

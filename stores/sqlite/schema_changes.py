"""The changes that made the schema of a SQLite trace store what it is, oldest first, in plain SQL.

New ones are added at the end; existing ones never change. A new store is made by all of them in one
transaction, so that its schema can't differ from that of a store that was brought up to date.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable

import attrs

from lmflow.stores.sqlite.full_text import CREATE_INDEX, index_bigrams, index_earlier_calls
from lmflow.stores.sqlite.lists.run_totals import CREATE_TOTALS
from lmflow.stores.sqlite.views import DATASETS, LAZY, PARTS, PLACES
from lmflow.stores.sqlite.writing.waiting import CREATE_LOG

MIGRATIONS = "lmflow"
"""The name under which sqlite-utils keeps a store's migrations on record."""

# Word for word what sqlite-utils makes: a run in a file is refused if its schema differs.
_CREATE_RECORD = (
    """CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
)""",
    """CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name")""",
)
_WRITE_RECORD = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)"


@attrs.frozen
class Change:
    """A change of the schema.

    Args:
        name: The name under which a store has it on record.
        apply: Makes the change through a connection, inside a transaction that is open.
    """

    name: str
    apply: Callable[[sqlite3.Connection], None]


def _m001_spine(db: sqlite3.Connection) -> None:
    """Create blobs, versions and refs, runs, traces and calls."""
    _execute(db, _SPINE)


def _m002_costs(db: sqlite3.Connection) -> None:
    """Add the cost of a call, and the trace that a reused reply came from."""
    _execute(db, _COSTS)


def _m003_wanted(db: sqlite3.Connection) -> None:
    """Add what a run executes again and what it was started for, so that it can be resumed."""
    _execute(db, _WANTED)


def _m004_search(db: sqlite3.Connection) -> None:
    """Create the full-text index over prompts and answers, and index earlier calls.

    The table stores no text, only the index; a row's id is a call's id. Code that deletes a call
    must delete its entry too, with the same texts: ``INSERT INTO search (search, rowid, asked,
    answered) VALUES ('delete', ...)``.
    """
    db.execute(CREATE_INDEX)
    index_earlier_calls(db)


def _m005_versions(db: sqlite3.Connection) -> None:
    """Add authors of versions and moves, scores, pins, and the tables of garbage collection."""
    _execute(db, _VERSIONS)


def _m006_datasets(db: sqlite3.Connection) -> None:
    """Create data sets with splits and names, and the views that people read."""
    _execute(db, DATASETS)


def _m007_config(db: sqlite3.Connection) -> None:
    """Add the settings and the result of an evaluation or optimization."""
    _execute(db, _CONFIG)


def _m008_bigrams(db: sqlite3.Connection) -> None:
    """Index unspaced scripts by bigrams, and correct views that failed on compressed blobs."""
    _execute(db, LAZY)
    index_bigrams(db)


def _m009_places(db: sqlite3.Connection) -> None:
    """Show the run and label of calls and traces, and the version and step of calls, in views."""
    _execute(db, PLACES)


def _m011_parts(db: sqlite3.Connection) -> None:
    """Let a call name the parts of its request, which needs no blob of its own then."""
    _execute(db, PARTS)


def _m012_references(db: sqlite3.Connection) -> None:
    """Let runs refer to executions of earlier runs, and write the totals of a run at its end."""
    _execute(db, CREATE_TOTALS)


def _m013_log(db: sqlite3.Connection) -> None:
    """Create the log, in which events are durable before rows are made of them."""
    _execute(db, CREATE_LOG)


def _m014_acts(db: sqlite3.Connection) -> None:
    """Create the acts by which people steer searches."""
    _execute(db, _ACTS)


def _m015_leases(db: sqlite3.Connection) -> None:
    """Create the leases by which workers share a run."""
    _execute(db, _LEASES)


def _execute(db: sqlite3.Connection, script: str) -> None:
    """Run each statement of a script inside the open transaction.

    ``executescript`` would commit that transaction first.
    """
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)


_SPINE = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) STRICT;
CREATE TABLE blob (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, kind TEXT NOT NULL,
    enc INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE version (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, tree BLOB NOT NULL,
           params INTEGER NOT NULL REFERENCES blob(id),
    note TEXT NOT NULL, origin INTEGER NOT NULL REFERENCES blob(id), created_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE parent (
    version INTEGER NOT NULL REFERENCES version(id), position INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (version, position)
) STRICT;
CREATE TABLE ref (name TEXT PRIMARY KEY, version INTEGER NOT NULL REFERENCES version(id),
           updated_ns INTEGER NOT NULL) STRICT;
CREATE TABLE reflog (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, before INTEGER REFERENCES version(id),
    after INTEGER REFERENCES version(id), why TEXT NOT NULL, at_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE run (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL, status TEXT NOT NULL,
    root BLOB, started_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE trace (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, program BLOB NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL,
    version INTEGER NOT NULL REFERENCES version(id), inputs INTEGER NOT NULL REFERENCES blob(id),
    world INTEGER NOT NULL REFERENCES blob(id), sample INTEGER NOT NULL, outputs INTEGER REFERENCES blob(id),
    failure INTEGER REFERENCES blob(id), root BLOB, started_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE run_item (
    run TEXT NOT NULL REFERENCES run(id), position INTEGER NOT NULL, label TEXT NOT NULL,
    trace INTEGER NOT NULL REFERENCES trace(id), PRIMARY KEY (run, position)
) STRICT;
CREATE INDEX run_item_trace ON run_item(trace);
CREATE TABLE call (
    id INTEGER PRIMARY KEY, trace INTEGER NOT NULL REFERENCES trace(id), address TEXT NOT NULL,
           attempt INTEGER NOT NULL,
    key BLOB NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, request INTEGER NOT NULL REFERENCES blob(id),
    reply INTEGER REFERENCES blob(id), status TEXT NOT NULL, tok_in INTEGER, tok_out INTEGER, tok_cached INTEGER,
    started_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, UNIQUE (trace, address, attempt)
) STRICT;
CREATE INDEX call_key ON call(key);
CREATE TABLE choice (
    trace INTEGER NOT NULL REFERENCES trace(id), address TEXT NOT NULL, winner TEXT NOT NULL, PRIMARY KEY (trace,
           address)
) STRICT;
CREATE VIEW v_calls AS
    SELECT call.id, trace.uid AS trace, call.address, call.attempt, call.kind, call.model, call.status, call.tok_in,
           call.tok_out, call.tok_cached, (call.ended_ns - call.started_ns) / 1e6 AS ms, lower(hex(call.key)) AS key
    FROM call JOIN trace ON trace.id = call.trace;
CREATE VIEW v_versions AS
    SELECT lower(hex(version.hash)) AS id, lower(hex(version.tree)) AS tree, version.note,
           (SELECT group_concat(ref.name, ', ') FROM ref WHERE ref.version = version.id) AS refs,
           (SELECT group_concat(lower(hex(hash)), ', ') FROM parent WHERE version = version.id) AS parents,
           datetime(version.created_ns / 1000000000, 'unixepoch') AS created
    FROM version;
CREATE VIEW v_runs AS
    SELECT run.id, run.kind, run.name, run.target, run.status, datetime(run.started_ns / 1000000000,
           'unixepoch') AS started,
           (run.ended_ns - run.started_ns) / 1e9 AS seconds, count(DISTINCT run_item.trace) AS traces,
           count(call.id) AS calls,
           coalesce(sum(call.tok_in), 0) AS tok_in, coalesce(sum(call.tok_out), 0) AS tok_out,
           coalesce(sum(call.status = 'failed'), 0) AS failed, coalesce(sum(call.status = 'started'), 0) AS orphans,
           lower(hex(run.root)) AS root
    FROM run LEFT JOIN run_item ON run_item.run = run.id LEFT JOIN call ON call.trace = run_item.trace
    GROUP BY run.id;
"""

_COSTS = """
ALTER TABLE call ADD COLUMN cost INTEGER;
ALTER TABLE call ADD COLUMN source TEXT NOT NULL DEFAULT '';
DROP VIEW v_calls;
DROP VIEW v_runs;
CREATE VIEW v_calls AS
    SELECT call.id, trace.uid AS trace, call.address, call.attempt, call.kind, call.model, call.status, call.tok_in,
           call.tok_out, call.tok_cached, call.cost / 1e9 AS usd, call.source,
           (call.ended_ns - call.started_ns) / 1e6 AS ms, lower(hex(call.key)) AS key
    FROM call JOIN trace ON trace.id = call.trace;
CREATE VIEW v_runs AS
    SELECT run.id, run.kind, run.name, run.target, run.status,
           datetime(run.started_ns / 1000000000, 'unixepoch') AS started,
           (run.ended_ns - run.started_ns) / 1e9 AS seconds, count(DISTINCT run_item.trace) AS traces,
           count(call.id) AS calls, coalesce(sum(call.source <> ''), 0) AS reused,
           coalesce(sum(CASE WHEN call.source = '' THEN call.tok_in END), 0) AS tok_in,
           coalesce(sum(CASE WHEN call.source = '' THEN call.tok_out END), 0) AS tok_out,
           sum(CASE WHEN call.source = '' THEN call.cost END) / 1e9 AS usd,
           coalesce(sum(call.kind <> 'tool' AND call.source = '' AND call.status = 'ok' AND call.cost IS NULL), 0)
               AS unpriced,
           coalesce(sum(call.status = 'failed'), 0) AS failed, coalesce(sum(call.status = 'started'), 0) AS orphans,
           lower(hex(run.root)) AS root
    FROM run LEFT JOIN run_item ON run_item.run = run.id LEFT JOIN call ON call.trace = run_item.trace
    GROUP BY run.id;
"""

_WANTED = """
ALTER TABLE run ADD COLUMN of TEXT NOT NULL DEFAULT '';
CREATE TABLE wanted (
    run TEXT NOT NULL REFERENCES run(id), position INTEGER NOT NULL, label TEXT NOT NULL,
    inputs INTEGER NOT NULL REFERENCES blob(id), version INTEGER NOT NULL REFERENCES version(id),
    sample INTEGER NOT NULL, PRIMARY KEY (run, position)
) STRICT;
CREATE INDEX trace_inputs ON trace(inputs);
"""


_VERSIONS = """
ALTER TABLE version ADD COLUMN author TEXT NOT NULL DEFAULT '';
ALTER TABLE reflog ADD COLUMN who TEXT NOT NULL DEFAULT '';
CREATE INDEX reflog_name ON reflog(name, id);
CREATE INDEX ref_version ON ref(version);
CREATE INDEX parent_hash ON parent(hash);
CREATE INDEX trace_version ON trace(version);
CREATE INDEX trace_tail ON trace(substr(uid, -8));
CREATE INDEX run_tail ON run(substr(id, -8));
CREATE TABLE score (
    id INTEGER PRIMARY KEY, trace INTEGER NOT NULL REFERENCES trace(id),
    version INTEGER NOT NULL REFERENCES version(id),
    name TEXT NOT NULL, value REAL, feedback INTEGER REFERENCES blob(id), metric TEXT NOT NULL, who TEXT NOT NULL,
    at_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX score_trace ON score(trace);
CREATE INDEX score_version ON score(version, name, value);
CREATE TABLE pin (
    version INTEGER PRIMARY KEY REFERENCES version(id), why TEXT NOT NULL, who TEXT NOT NULL, at_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE tombstone (
    kind TEXT NOT NULL, name TEXT NOT NULL, at_ns INTEGER NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE touched (
    kind TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('gc', '0');
CREATE VIEW v_scores AS
    SELECT trace.uid AS trace, score.name, score.value, score.metric, score.who,
           datetime(score.at_ns / 1000000000, 'unixepoch') AS at
    FROM score JOIN trace ON trace.id = score.trace;
CREATE VIEW v_reflog AS
    SELECT reflog.id, reflog.name, lower(hex(b.hash)) AS before, lower(hex(a.hash)) AS after, reflog.why, reflog.who,
           datetime(reflog.at_ns / 1000000000, 'unixepoch') AS at
    FROM reflog LEFT JOIN version b ON b.id = reflog.before LEFT JOIN version a ON a.id = reflog.after;
"""

_CONFIG = """
ALTER TABLE run ADD COLUMN config TEXT NOT NULL DEFAULT '{}';
ALTER TABLE run ADD COLUMN result TEXT NOT NULL DEFAULT '';
CREATE INDEX run_result ON run(result) WHERE result <> '';
"""

_ACTS = """
CREATE TABLE act (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES run(id), kind TEXT NOT NULL,
    version INTEGER REFERENCES version(id), note TEXT NOT NULL, who TEXT NOT NULL,
    at_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX act_run ON act(run, id);
CREATE INDEX act_version ON act(version);
"""

_LEASES = """
CREATE TABLE lease (
    job TEXT NOT NULL, part INTEGER NOT NULL, epoch INTEGER NOT NULL, owner TEXT NOT NULL,
    until_ns INTEGER NOT NULL, state TEXT NOT NULL, runs TEXT NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_jobs ON lease(job) WHERE part = 0;
"""

CHANGES = (
    Change("m001_spine", _m001_spine),
    Change("m002_costs", _m002_costs),
    Change("m003_wanted", _m003_wanted),
    Change("m004_search", _m004_search),
    Change("m005_versions", _m005_versions),
    Change("m006_datasets", _m006_datasets),
    Change("m007_config", _m007_config),
    Change("m008_bigrams", _m008_bigrams),
    Change("m009_places", _m009_places),
    Change("m011_parts", _m011_parts),
    Change("m012_references", _m012_references),
    Change("m013_log", _m013_log),
    Change("m014_acts", _m014_acts),
    Change("m015_leases", _m015_leases),
)
"""All changes, oldest first."""


def apply_all(db: sqlite3.Connection) -> None:
    """Apply all changes to a database without a schema, and put them on record as sqlite-utils does.

    A transaction must be open; the caller commits it.
    """
    for statement in _CREATE_RECORD:
        db.execute(statement)
    for change in CHANGES:
        change.apply(db)
        db.execute(_WRITE_RECORD, (MIGRATIONS, change.name, str(dt.datetime.now(dt.UTC))))

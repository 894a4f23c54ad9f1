"""Totals of runs: written when a run ends, added up while it goes on; and executions by reference.

A run may have an execution that an earlier run recorded: the row of ``run_item`` is marked then,
and the calls count as reused in that run, at no cost.
"""

from __future__ import annotations

import sqlite3

from lmflow.stores.sqlite.views import short_hash, utc

_SENT = "call.source = '' AND NOT run_item.reused"
SUMS = f"""
    count(DISTINCT run_item.trace) AS traces, count(call.id) AS calls,
    coalesce(sum(call.id IS NOT NULL AND NOT ({_SENT})), 0) AS reused,
    coalesce(sum(CASE WHEN {_SENT} THEN call.tok_in END), 0) AS tok_in,
    coalesce(sum(CASE WHEN {_SENT} THEN call.tok_out END), 0) AS tok_out,
    sum(CASE WHEN {_SENT} THEN call.cost END) AS cost,
    coalesce(sum({_SENT} AND call.kind <> 'tool' AND call.status = 'ok'
                 AND call.cost IS NULL), 0) AS unpriced,
    coalesce(sum(call.status = 'failed'), 0) AS failed,
    coalesce(sum(call.status = 'started'), 0) AS orphans
"""
_NAMES = ("traces", "calls", "reused", "tok_in", "tok_out", "cost", "unpriced", "failed", "orphans")


def _total(name: str) -> str:
    return f"CASE WHEN total.run IS NULL THEN sums.{name} ELSE total.{name} END"


# A run that has its totals looks up no item: the CASE gives NULL, of which the index has none.
CREATE_TOTALS = f"""
ALTER TABLE run_item ADD COLUMN reused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE score ADD COLUMN run TEXT NOT NULL DEFAULT '';
CREATE TABLE run_total (
    run TEXT PRIMARY KEY REFERENCES run(id), traces INTEGER NOT NULL, calls INTEGER NOT NULL,
    reused INTEGER NOT NULL, tok_in INTEGER NOT NULL, tok_out INTEGER NOT NULL, cost INTEGER,
    unpriced INTEGER NOT NULL, failed INTEGER NOT NULL, orphans INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO run_total
    SELECT run.id, {SUMS}
    FROM run LEFT JOIN run_item ON run_item.run = run.id
    LEFT JOIN call ON call.trace = run_item.trace
    WHERE run.status <> 'open' GROUP BY run.id;
DROP VIEW v_runs;
CREATE VIEW v_runs AS
    SELECT sums.id, sums.kind, sums.name, sums.target, sums.status, {utc("sums.started_ns")}
           AS started, round(max(sums.ended_ns - sums.started_ns, 0) / 1e9, 3) AS seconds,
           {_total("traces")} AS traces, {_total("calls")} AS calls, {_total("reused")} AS reused,
           {_total("tok_in")} AS tok_in, {_total("tok_out")} AS tok_out,
           {_total("cost")} / 1e9 AS usd, {_total("unpriced")} AS unpriced,
           {_total("failed")} AS failed, {_total("orphans")} AS orphans,
           sums.of, {short_hash("sums.root")} AS root
    FROM (
        SELECT run.*, {SUMS}
        FROM run LEFT JOIN run_total AS known ON known.run = run.id
        LEFT JOIN run_item ON run_item.run = CASE WHEN known.run IS NULL THEN run.id END
        LEFT JOIN call ON call.trace = run_item.trace
        GROUP BY run.id
    ) AS sums LEFT JOIN run_total AS total ON total.run = sums.id;
"""

WRITE_TOTALS = f"""
INSERT OR REPLACE INTO run_total
SELECT :run, {SUMS}
FROM run_item LEFT JOIN call ON call.trace = run_item.trace WHERE run_item.run = :run
"""
"""Writes the totals of the run ``:run``."""

FORGET_TOTALS = "DELETE FROM run_total WHERE run = ?"
"""Lets a run be added up again, since it goes on."""

FORGET_TOTALS_OF = """
DELETE FROM run_total WHERE run IN (SELECT run FROM run_item WHERE trace = ?)
"""
"""Lets the runs with an execution be added up again, since the execution goes on."""

_COLUMN = "SELECT 1 FROM pragma_table_info('run_item') WHERE name = 'reused'"


def has_references(db: sqlite3.Connection) -> bool:
    """Tell whether a store, which may have an earlier schema, has the column of references."""
    return db.execute(_COLUMN).fetchone() is not None


def reused_column(db: sqlite3.Connection) -> str:
    """Return the SQL that tells whether a row of ``run_item`` is a reference."""
    return "(run_item.reused <> 0)" if has_references(db) else "FALSE"

"""Outlines of recordings for screens: rows without messages, which are read when somebody looks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import NotFound
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.lists.listing import Listing
from lmflow.stores.sqlite.trace_reader import TraceReader
from lmflow.traces.trace import CallAttempt

_TRACE = """
SELECT trace.id, trace.uid, trace.name, trace.target, trace.program, version.hash AS version,
       trace.sample, trace.outputs IS NOT NULL AS answered, trace.failure IS NOT NULL AS failed,
       trace.started_ns, trace.ended_ns, run_item.run, run_item.label
FROM trace JOIN version ON version.id = trace.version
LEFT JOIN run_item ON run_item.trace = trace.id
WHERE trace.uid = :trace ORDER BY run_item.run LIMIT 1
"""
_CALLS = """
SELECT id, address, attempt, kind, model, status, tok_in, tok_out, cost, source,
       started_ns, ended_ns FROM call WHERE trace = :trace ORDER BY started_ns, address, attempt
"""
_EXECUTIONS = """
SELECT run_item.run, run_item.position, run_item.label, trace.uid AS trace,
       CASE WHEN trace.failure IS NOT NULL THEN 'failed'
            WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END AS status,
       trace.started_ns, trace.ended_ns,
       (SELECT avg(value) FROM score WHERE score.trace = trace.id AND score.value IS NOT NULL
        AND {own}) AS score,
       (SELECT count(*) FROM call WHERE call.trace = trace.id) AS calls,
       (SELECT sum(cost) FROM call
        WHERE call.trace = trace.id AND source = '' AND NOT {reused}) AS cost
FROM run_item JOIN trace ON trace.id = run_item.trace
WHERE run_item.run = :run AND run_item.position > :after
      AND (NOT :failed OR trace.failure IS NOT NULL)
ORDER BY run_item.position LIMIT :limit
"""
_BRANCH = """
SELECT run_item.label, trace.uid AS trace, version.hash AS version,
       CASE WHEN trace.failure IS NOT NULL THEN 'failed'
            WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END AS status,
       trace.started_ns, trace.ended_ns
FROM run_item JOIN trace ON trace.id = run_item.trace JOIN version ON version.id = trace.version
WHERE run_item.run = :run AND substr(run_item.label, 1, length(:branch)) = :branch
ORDER BY run_item.position LIMIT :limit
"""
_FAILURES = """
SELECT count(*) FROM run_item JOIN trace ON trace.id = run_item.trace
WHERE run_item.run = :run AND trace.failure IS NOT NULL
"""
_VERSION = """
SELECT version.hash FROM run_item JOIN trace ON trace.id = run_item.trace
JOIN version ON version.id = trace.version
WHERE run_item.run = :run ORDER BY run_item.position LIMIT 1
"""
_VALUES = """
SELECT name, value FROM (
    SELECT score.id, score.name, score.value,
           max(score.id) OVER (PARTITION BY score.trace, score.name) AS latest
    FROM run_item JOIN score ON score.trace = run_item.trace
    WHERE run_item.run = :run AND score.value IS NOT NULL AND {own}
) AS scored WHERE id = latest
"""
_CELLS = """
SELECT run_item.run, run_item.label, trace.uid AS trace, version.hash AS version,
       CASE WHEN trace.failure IS NOT NULL THEN 'failed'
            WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END AS status,
       (SELECT avg(value) FROM score WHERE score.trace = trace.id AND score.value IS NOT NULL
        AND {own}) AS score
FROM run_item JOIN trace ON trace.id = run_item.trace JOIN version ON version.id = trace.version
WHERE run_item.run IN (SELECT value FROM json_each(:runs))
      AND (:label = '' OR run_item.label = :label OR run_item.label LIKE :label || '/%')
      AND run_item.label LIKE 'ex[%'
ORDER BY run_item.run DESC, run_item.position
"""
_ROOT = "SELECT root FROM run WHERE id = :run"


@attrs.frozen
class TraceOutline:
    """An execution without its calls. Times are in nanoseconds since the epoch."""

    row: int
    trace: str
    run: str
    label: str
    name: str
    target: str
    version: str
    sample: int
    status: str
    started: int
    ended: int


@attrs.frozen
class CallOutline:
    """An attempt of a call without its messages. ``cost`` is in nano-dollars, ``None`` if no price
    is known; ``source`` is the trace whose reply was reused.
    """

    call: int
    address: str
    attempt: int
    kind: str
    model: str
    status: str
    tok_in: int | None
    tok_out: int | None
    cost: int | None
    source: str
    started: int
    ended: int


class Outlines:
    """Reads outlines through the connection of a listing, and single calls in full."""

    def __init__(self, listing: Listing, traces: TraceReader) -> None:
        self._listing = listing
        self._traces = traces

    def trace(self, trace: str) -> TraceOutline:
        """Return the outline of an execution by its whole id; ``NotFound``."""
        rows = self._rows(_TRACE, trace=trace)
        if not rows:
            fix = "`lmflow runs ls` lists what there is."
            raise NotFound(self._listing.store, f"no trace {trace!r}", fix)
        row = rows[0]
        ended = "done" if row["answered"] else "open"
        return TraceOutline(
            row=row["id"],
            trace=row["uid"],
            run=row["run"] or "",
            label=row["label"] or "",
            name=row["name"],
            target=row["target"],
            version=digest_text(row["version"]),
            sample=row["sample"],
            status="failed" if row["failed"] else ended,
            started=row["started_ns"],
            ended=row["ended_ns"],
        )

    def calls(self, row: int) -> list[CallOutline]:
        """Return the attempts of the execution in a row, in the order of their starts."""
        return [CallOutline(*tuple(call)) for call in self._rows(_CALLS, trace=row)]

    def call(self, row: int, address: str, attempt: int = 0) -> CallAttempt | None:
        """Return a call of the execution in a row with its messages, ``None`` if there is none."""
        return self._traces.call(row, address, attempt)

    def values(self, row: int) -> tuple[Any, Any, Any]:
        """Return inputs, outputs and failure of the execution in a row, ``None`` for none."""
        return self._traces.values(row)

    def executions(
        self, run: str, limit: int, after: int = -1, *, failed: bool = False
    ) -> list[Mapping[str, Any]]:
        """Return the executions of a run after a position, in their order; with ``failed`` only
        those that failed.
        """
        rows = self._rows(_EXECUTIONS, run=run, limit=limit, after=after, failed=failed)
        return [dict(row) for row in rows]

    def branch(self, run: str, branch: str, limit: int) -> list[dict[str, Any]]:
        """Return the executions of a run whose label begins with a branch, ``turn[1]/``."""
        rows = self._rows(_BRANCH, run=run, branch=branch, limit=limit)
        return [{**dict(row), "version": digest_text(row["version"])} for row in rows]

    def failures(self, run: str) -> int:
        """Return the number of a run's executions that failed."""
        return int(self._rows(_FAILURES, run=run)[0][0])

    def version(self, run: str) -> str:
        """Return the version of a run's first execution, empty if it has none."""
        rows = self._rows(_VERSION, run=run)
        return digest_text(rows[0][0]) if rows else ""

    def scores(self, run: str) -> dict[str, list[float]]:
        """Return the latest scores of a run's executions by the name of the score."""
        values: dict[str, list[float]] = {}
        for row in self._rows(_VALUES, run=run):
            values.setdefault(row["name"], []).append(row["value"])
        return values

    def cells(self, runs: Sequence[str], label: str = "") -> list[dict[str, Any]]:
        """Return status and mean score of each execution of an example in runs, or of the one with
        a label.
        """
        rows = self._rows(_CELLS, runs=json.dumps(list(runs)), label=label)
        digests = {hashed: digest_text(hashed) for hashed in {row["version"] for row in rows}}
        return [{**dict(row), "version": digests[row["version"]]} for row in rows]

    def root(self, run: str) -> str:
        """Return the root of a run by its whole id, empty if it is gone or has none."""
        rows = self._rows(_ROOT, run=run)
        return digest_text(rows[0][0]) if rows and rows[0][0] else ""

    def _rows(self, query: str, **values: Any) -> Sequence[Any]:
        everything = self._listing.filter((), "trace")
        query = query.replace("{own}", self._listing.own_scores())
        query = query.replace("{reused}", self._listing.reused())
        rows: Sequence[Any] = self._listing.rows(query, everything, values)
        return rows

"""Copies executions with their calls and races: a batch of ``temp.part`` at a time."""

from __future__ import annotations

import sqlite3

from lmflow.errors import RunsDisagree
from lmflow.stores.sqlite.lists.run_totals import FORGET_TOTALS
from lmflow.stores.sqlite.merging.blobs import BlobCopier

# `known` is 0 for an execution that the target lacks, 1 for one that it has too, 2 for one that is
# the same there.
_CREATE = (
    "CREATE TEMP TABLE part (src INTEGER PRIMARY KEY, dst INTEGER, known INTEGER NOT NULL)",
    "CREATE TEMP TABLE ended (id INTEGER PRIMARY KEY)",
)
_FIND = """
INSERT INTO temp.part SELECT there.id, here.id, here.id IS NOT NULL
FROM (SELECT DISTINCT trace FROM temp.batch_item) AS batch
CROSS JOIN src.trace AS there ON there.id = batch.trace
LEFT JOIN main.trace AS here ON here.uid = there.uid
"""
_NUMBER = """
UPDATE temp.part SET dst = (SELECT coalesce(max(id), 0) FROM main.trace) + fresh.at
FROM (SELECT src AS id, row_number() OVER (ORDER BY src) AS at FROM temp.part WHERE dst IS NULL)
AS fresh WHERE fresh.id = part.src
"""
_COUNTS = "SELECT count(*) || ' ' || count(reply) FROM {schema}.call WHERE trace = part.{schema_id}"
_SAME = f"""
UPDATE temp.part SET known = 2 WHERE known = 1
AND EXISTS (
    SELECT 1 FROM src.trace AS there CROSS JOIN main.trace AS here ON here.id = part.dst
    WHERE there.id = part.src AND there.root = here.root AND there.ended_ns = here.ended_ns
)
AND ({_COUNTS.format(schema="src", schema_id="src")})
    = ({_COUNTS.format(schema="main", schema_id="dst")})
"""
_TRACE_BLOBS = """
SELECT {column} FROM temp.part CROSS JOIN src.trace ON trace.id = part.src
WHERE known < 2 AND {column} IS NOT NULL
"""
_CALL_BLOBS = """
SELECT {column} FROM temp.part CROSS JOIN src.call ON call.trace = part.src
WHERE known < 2 AND {column} IS NOT NULL
"""
_BOTH = """
temp.part CROSS JOIN src.call AS there ON there.trace = part.src
CROSS JOIN main.call AS here
ON here.trace = part.dst AND here.address = there.address AND here.attempt = there.attempt
"""
_DIVERGED = f"""
SELECT trace.uid, there.address FROM {_BOTH}
CROSS JOIN src.blob AS reply ON reply.id = there.reply
CROSS JOIN main.blob AS other ON other.id = here.reply
CROSS JOIN src.trace ON trace.id = part.src
WHERE part.known = 1 AND reply.hash <> other.hash LIMIT 1
"""
_INSERT_TRACES = """
INSERT INTO main.trace (id, uid, program, name, target, version, inputs, world, sample, outputs,
                        failure, root, started_ns, ended_ns)
SELECT part.dst, there.uid, there.program, there.name, there.target, version.dst, inputs.dst,
       world.dst, there.sample, outputs.dst, failure.dst, there.root, there.started_ns,
       there.ended_ns
FROM temp.part CROSS JOIN src.trace AS there ON there.id = part.src
CROSS JOIN temp.version_map AS version ON version.src = there.version
CROSS JOIN temp.blob_map AS inputs ON inputs.src = there.inputs
CROSS JOIN temp.blob_map AS world ON world.src = there.world
LEFT JOIN temp.blob_map AS outputs ON outputs.src = there.outputs
LEFT JOIN temp.blob_map AS failure ON failure.src = there.failure
WHERE part.known = 0 ORDER BY part.dst
"""
# The state that ended later counts, so that it doesn't matter which store is merged into which.
_UPDATE_TRACES = """
UPDATE main.trace SET outputs = later.outputs, failure = later.failure, root = later.root,
                      world = later.world, ended_ns = later.ended_ns
FROM (
    SELECT part.dst AS id, outputs.dst AS outputs, failure.dst AS failure, there.root AS root,
           world.dst AS world, there.ended_ns AS ended_ns
    FROM temp.part CROSS JOIN src.trace AS there ON there.id = part.src
    CROSS JOIN main.trace AS here ON here.id = part.dst
    CROSS JOIN temp.blob_map AS world ON world.src = there.world
    LEFT JOIN temp.blob_map AS outputs ON outputs.src = there.outputs
    LEFT JOIN temp.blob_map AS failure ON failure.src = there.failure
    WHERE part.known = 1
    AND (there.ended_ns, coalesce(there.root, x'')) > (here.ended_ns, coalesce(here.root, x''))
) AS later WHERE trace.id = later.id
"""
_LACKS = """
NOT EXISTS (SELECT 1 FROM main.call AS here WHERE here.trace = part.dst
            AND here.address = there.address AND here.attempt = there.attempt)
"""
_INSERT_CALLS = f"""
INSERT INTO main.call (trace, address, attempt, key, kind, model, request, prefix, last, reply,
                       status, tok_in, tok_out, tok_cached, cost, source, started_ns, ended_ns)
SELECT part.dst, there.address, there.attempt, there.key, there.kind, there.model, request.dst,
       prefix.dst, last.dst, reply.dst, there.status, there.tok_in, there.tok_out,
       there.tok_cached, there.cost, there.source, there.started_ns, there.ended_ns
FROM temp.part CROSS JOIN src.call AS there ON there.trace = part.src
CROSS JOIN temp.blob_map AS request ON request.src = there.request
LEFT JOIN temp.blob_map AS prefix ON prefix.src = there.prefix
LEFT JOIN temp.blob_map AS last ON last.src = there.last
LEFT JOIN temp.blob_map AS reply ON reply.src = there.reply
WHERE part.known = 0 OR (part.known = 1 AND {_LACKS}) ORDER BY there.id
"""
_FIND_ENDED = f"""
INSERT INTO temp.ended SELECT here.id FROM {_BOTH}
WHERE part.known = 1 AND here.reply IS NULL AND there.reply IS NOT NULL
"""
_UPDATE_CALLS = f"""
UPDATE main.call SET reply = later.reply, status = later.status, tok_in = later.tok_in,
    tok_out = later.tok_out, tok_cached = later.tok_cached, cost = later.cost,
    source = later.source, ended_ns = later.ended_ns
FROM (
    SELECT here.id AS id, reply.dst AS reply, there.status AS status, there.tok_in AS tok_in,
           there.tok_out AS tok_out, there.tok_cached AS tok_cached, there.cost AS cost,
           there.source AS source, there.ended_ns AS ended_ns
    FROM {_BOTH} CROSS JOIN temp.blob_map AS reply ON reply.src = there.reply
    WHERE part.known = 1 AND here.reply IS NULL
) AS later WHERE call.id = later.id
"""
_INSERT_CHOICES = """
INSERT OR IGNORE INTO main.choice (trace, address, winner)
SELECT part.dst, there.address, there.winner
FROM temp.part CROSS JOIN src.choice AS there ON there.trace = part.src WHERE part.known < 2
"""
_CHANGED_RUNS = """
SELECT DISTINCT run_item.run FROM temp.part
CROSS JOIN main.run_item ON run_item.trace = part.dst WHERE part.known = 1
"""


def apart(source: str, thing: str, part: str) -> RunsDisagree:
    """Return the error for a thing of which two stores have different continuations."""
    problem = f"{thing} was gone on with in two stores apart: {part} differs"
    return RunsDisagree(source, problem, "What was merged before stays; each store keeps its own.")


class ExecutionCopier:
    """Copies the executions that ``temp.batch_item`` names; ``temp.part`` maps their ids."""

    def __init__(self, db: sqlite3.Connection, source: str, blobs: BlobCopier) -> None:
        self._db = db
        self._source = source
        self._blobs = blobs
        self.traces = self.calls = self.seen = 0
        for statement in _CREATE:
            db.execute(statement)

    def find(self) -> None:
        """Fill ``temp.part``, and add the blobs of what the target lacks to those that are needed.

        Raises:
            RunsDisagree: An execution was gone on with in both stores, apart.
        """
        db = self._db
        db.execute("DELETE FROM temp.part")
        self.seen += db.execute(_FIND).rowcount
        db.execute(_NUMBER)
        db.execute(_SAME)
        row = db.execute(_DIVERGED).fetchone()
        if row is not None:
            raise apart(self._source, f"execution {row[0]}", f"its call {row[1]}")
        for column in ("inputs", "world", "outputs", "failure"):
            self._blobs.need(_TRACE_BLOBS.format(column=column))
        for column in ("request", "prefix", "last", "reply"):
            self._blobs.need(_CALL_BLOBS.format(column=column))

    def copy(self) -> None:
        """Write the rows, once blobs and versions are mapped."""
        db = self._db
        self.traces += db.execute(_INSERT_TRACES).rowcount
        db.execute(_UPDATE_TRACES)
        (last,) = db.execute("SELECT coalesce(max(id), 0) FROM main.call").fetchone()
        db.execute("DELETE FROM temp.ended")
        db.execute(_FIND_ENDED)
        db.execute(_UPDATE_CALLS)
        self.calls += db.execute(_INSERT_CALLS).rowcount
        db.execute("INSERT INTO temp.ended SELECT id FROM main.call WHERE id > ?", (last,))
        db.execute(_INSERT_CHOICES)
        db.executemany(FORGET_TOTALS, db.execute(_CHANGED_RUNS).fetchall())

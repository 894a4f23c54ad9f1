"""The statements by which events become rows; ``{rows}`` is replaced by placeholders."""

from __future__ import annotations

INSERT_TRACES = """
INSERT INTO trace (id, uid, program, name, target, version, inputs, sample, started_ns,
                   outputs, failure, root, world, ended_ns) VALUES {rows}
"""
INSERT_ITEMS = "INSERT INTO run_item (run, position, label, trace, reused) VALUES {rows}"
INSERT_PLANNED = "INSERT INTO wanted (run, position, label, inputs, version, sample) VALUES {rows}"
UPSERT_CALLS = """
INSERT INTO call (id, trace, address, attempt, key, kind, model, request, prefix, last,
                  reply, status, tok_in, tok_out, tok_cached, cost, source,
                  started_ns, ended_ns) VALUES {rows}
ON CONFLICT DO UPDATE SET reply = excluded.reply, status = excluded.status,
    tok_in = excluded.tok_in, tok_out = excluded.tok_out, tok_cached = excluded.tok_cached,
    cost = excluded.cost, source = excluded.source, ended_ns = excluded.ended_ns
    WHERE excluded.status <> 'started'
"""
CLOSE_TRACES = """
UPDATE trace
SET outputs = column2, failure = column3, root = column4, world = column5, ended_ns = column6
FROM (VALUES {rows}) WHERE id = column1
"""
INSERT_RUNS = """
INSERT INTO run (id, kind, name, target, started_ns, of, config, status, root, ended_ns, result)
VALUES {rows}
"""
CLOSE_RUN = "UPDATE run SET status = ?, root = ?, ended_ns = ?, result = ? WHERE id = ?"
INSERT_SCORE = """
INSERT INTO score (trace, version, name, value, feedback, metric, who, at_ns, run)
VALUES (?, (SELECT version FROM trace WHERE id = ?), ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_ACT = "INSERT INTO act (run, kind, version, note, who, at_ns) VALUES (?, ?, ?, ?, ?, ?)"

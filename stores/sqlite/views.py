"""The schema of data sets, and of the views in which people read a store with any SQLite client."""

from __future__ import annotations

SHORT = 12
"""Hexadecimal digits of a hash that a view shows; every command takes a hash that short."""

EXCERPT = 200
"""Characters of a text that a view shows; of a compressed text it shows the size.

``lmflow runs show`` prints the whole text.
"""


def _hash(column: str) -> str:
    return f"substr(lower(hex({column})), 1, {SHORT})"


def _time(column: str) -> str:
    return f"datetime({column} / 1000000000, 'unixepoch')"


short_hash, utc = _hash, _time
"""The SQL of a hash and of a time as views show them."""


def _excerpt(blob: str, path: str) -> str:
    """Return the SQL of a blob as text, of the member at ``path`` if the value has one.

    ``json_extract`` stands behind its own CASE: SQLite evaluates the sides of an AND, and of a
    join, in an order of its own, and a compressed or damaged blob is not JSON.
    """
    whole = f"CAST({blob}.data AS TEXT)"
    part = f"CASE WHEN json_valid({whole}) THEN json_extract({whole}, '{path}') END"
    long = f"'(' || {blob}.size || ' characters)'"
    plain = f"substr(coalesce({part}, {whole}), 1, {EXCERPT})"
    return f"CASE {blob}.enc WHEN 0 THEN {plain} WHEN 1 THEN {long} END"


def _text(blob: str, path: str = "") -> str:
    """Return the SQL of a blob as text; with ``path``, of that member if the value has one."""
    whole = f"CAST({blob}.data AS TEXT)"
    part = f"coalesce(json_extract({whole}, '{path}'), {whole})" if path else whole
    long = f"'(' || {blob}.size || ' characters)'"
    return f"CASE {blob}.enc WHEN 0 THEN substr({part}, 1, {EXCERPT}) WHEN 1 THEN {long} END"


DATASETS = f"""
CREATE TABLE dataset (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, created_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE item (
    dataset INTEGER NOT NULL REFERENCES dataset(id), position INTEGER NOT NULL, split TEXT NOT NULL,
    example INTEGER NOT NULL REFERENCES blob(id), origin TEXT NOT NULL, PRIMARY KEY (dataset, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX item_example ON item(example);
CREATE TABLE dataset_name (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, dataset INTEGER NOT NULL REFERENCES dataset(id), at_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX dataset_name_name ON dataset_name(name, id);
DROP VIEW v_calls;
DROP VIEW v_versions;
DROP VIEW v_runs;
DROP VIEW v_scores;
DROP VIEW v_reflog;
CREATE VIEW v_calls AS
    SELECT call.id, trace.uid AS trace, trace.name AS program, call.address, call.attempt, call.kind, call.model,
           call.status, {_text("last", "$.content")} AS asked, {_text("reply", "$.text")} AS answered,
           call.tok_in, call.tok_out, call.tok_cached, call.cost / 1e9 AS usd,
           round((call.ended_ns - call.started_ns) / 1e6, 1) AS ms, {_time("call.started_ns")} AS started,
           call.source, {_hash("call.key")} AS key
    FROM call JOIN trace ON trace.id = call.trace
    LEFT JOIN blob AS request ON request.id = call.request
    LEFT JOIN blob AS last ON call.kind = 'chat' AND request.enc = 0
         AND last.id = json_extract(CAST(request.data AS TEXT), '$.messages.last[0]')
    LEFT JOIN blob AS reply ON reply.id = call.reply;
CREATE VIEW v_traces AS
    SELECT trace.uid AS trace, trace.name AS program, trace.target,
           CASE WHEN trace.failure IS NOT NULL THEN 'failed' WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END
           AS status,
           {_text("inputs")} AS inputs, {_text("outputs")} AS outputs, {_text("failure", "$.text")} AS failure,
           (SELECT group_concat(name || ' ' || round(value, 3), ', ') FROM score WHERE score.trace = trace.id)
           AS scores,
           {_time("trace.started_ns")} AS started,
           round(max(trace.ended_ns - trace.started_ns, 0) / 1e9, 3) AS seconds, trace.sample,
           {_hash("version.hash")} AS version, {_hash("trace.root")} AS root
    FROM trace JOIN version ON version.id = trace.version
    LEFT JOIN blob AS inputs ON inputs.id = trace.inputs LEFT JOIN blob AS outputs ON outputs.id = trace.outputs
    LEFT JOIN blob AS failure ON failure.id = trace.failure;
CREATE VIEW v_versions AS
    SELECT {_hash("version.hash")} AS id, version.note, version.author,
           (SELECT group_concat(ref.name, ', ') FROM ref WHERE ref.version = version.id) AS refs,
           (SELECT group_concat({_hash("hash")}, ', ') FROM parent WHERE version = version.id) AS parents,
           {_text("params")} AS params, {_time("version.created_ns")} AS created, {_hash("version.tree")} AS tree
    FROM version LEFT JOIN blob AS params ON params.id = version.params;
CREATE VIEW v_runs AS
    SELECT run.id, run.kind, run.name, run.target, run.status, {_time("run.started_ns")} AS started,
           round(max(run.ended_ns - run.started_ns, 0) / 1e9, 3) AS seconds, count(DISTINCT run_item.trace) AS traces,
           count(call.id) AS calls, coalesce(sum(call.source <> ''), 0) AS reused,
           coalesce(sum(CASE WHEN call.source = '' THEN call.tok_in END), 0) AS tok_in,
           coalesce(sum(CASE WHEN call.source = '' THEN call.tok_out END), 0) AS tok_out,
           sum(CASE WHEN call.source = '' THEN call.cost END) / 1e9 AS usd,
           coalesce(sum(call.kind <> 'tool' AND call.source = '' AND call.status = 'ok' AND call.cost IS NULL), 0)
               AS unpriced,
           coalesce(sum(call.status = 'failed'), 0) AS failed, coalesce(sum(call.status = 'started'), 0) AS orphans,
           run.of, {_hash("run.root")} AS root
    FROM run LEFT JOIN run_item ON run_item.run = run.id LEFT JOIN call ON call.trace = run_item.trace
    GROUP BY run.id;
CREATE VIEW v_scores AS
    SELECT trace.uid AS trace, trace.name AS program, score.name, score.value, {_text("feedback")} AS feedback,
           score.metric, score.who, {_time("score.at_ns")} AS at, {_hash("version.hash")} AS version
    FROM score JOIN trace ON trace.id = score.trace JOIN version ON version.id = score.version
    LEFT JOIN blob AS feedback ON feedback.id = score.feedback;
CREATE VIEW v_reflog AS
    SELECT reflog.id, reflog.name, {_hash("b.hash")} AS before, {_hash("a.hash")} AS after, reflog.why, reflog.who,
           {_time("reflog.at_ns")} AS at
    FROM reflog LEFT JOIN version b ON b.id = reflog.before LEFT JOIN version a ON a.id = reflog.after;
CREATE VIEW v_datasets AS
    SELECT named.name, {_hash("dataset.hash")} AS id, dataset.size AS examples,
           (SELECT group_concat(split || ' ' || n, ', ') FROM
               (SELECT split, count(*) AS n FROM item WHERE dataset = dataset.id AND split <> '' GROUP BY split))
               AS splits,
           {_time("named.at_ns")} AS at
    FROM dataset_name AS named JOIN dataset ON dataset.id = named.dataset;
"""

_REQUEST = "CAST(request.data AS TEXT)"
"""The JSON text of a request, if it is not compressed."""

LAZY = f"""
DROP VIEW v_calls;
DROP VIEW v_traces;
CREATE VIEW v_calls AS
    SELECT call.id, trace.uid AS trace, trace.name AS program, call.address, call.attempt,
           call.kind, call.model, call.status, {_excerpt("last", "$.content")} AS asked,
           {_excerpt("reply", "$.text")} AS answered,
           call.tok_in, call.tok_out, call.tok_cached, call.cost / 1e9 AS usd,
           round((call.ended_ns - call.started_ns) / 1e6, 1) AS ms,
           {_time("call.started_ns")} AS started, call.source, {_hash("call.key")} AS key
    FROM call JOIN trace ON trace.id = call.trace
    LEFT JOIN blob AS request ON request.id = call.request
    LEFT JOIN blob AS last ON last.id = CASE
         WHEN call.kind = 'chat' AND request.enc = 0 THEN CASE
         WHEN json_valid({_REQUEST}) THEN json_extract({_REQUEST}, '$.messages.last[0]') END END
    LEFT JOIN blob AS reply ON reply.id = call.reply;
CREATE VIEW v_traces AS
    SELECT trace.uid AS trace, trace.name AS program, trace.target,
           CASE WHEN trace.failure IS NOT NULL THEN 'failed'
           WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END AS status,
           {_text("inputs")} AS inputs, {_text("outputs")} AS outputs,
           {_excerpt("failure", "$.text")} AS failure,
           (SELECT group_concat(name || ' ' || round(value, 3), ', ') FROM score
            WHERE score.trace = trace.id) AS scores,
           {_time("trace.started_ns")} AS started,
           round(max(trace.ended_ns - trace.started_ns, 0) / 1e9, 3) AS seconds, trace.sample,
           {_hash("version.hash")} AS version, {_hash("trace.root")} AS root
    FROM trace JOIN version ON version.id = trace.version
    LEFT JOIN blob AS inputs ON inputs.id = trace.inputs
    LEFT JOIN blob AS outputs ON outputs.id = trace.outputs
    LEFT JOIN blob AS failure ON failure.id = trace.failure;
"""

_FRAME = "rtrim(rtrim(call.address, replace(call.address, '/', '')), '/')"
"""A call's address without its last part: ``rtrim`` drops all characters but slashes."""

_LAST_FRAME = f"substr({_FRAME}, length(rtrim({_FRAME}, replace({_FRAME}, '/', ''))) + 1)"

STEP = f"substr({_LAST_FRAME}, 1, instr({_LAST_FRAME} || '[', '[') - 1)"
"""The step that made a call: the innermost frame of its address, without its number."""


def _item(column: str) -> str:
    return (
        f"(SELECT {column} FROM run_item WHERE run_item.trace = trace.id"
        f" ORDER BY run_item.run LIMIT 1) AS {column}"
    )


PLACES = f"""
DROP VIEW v_calls;
DROP VIEW v_traces;
CREATE VIEW v_calls AS
    SELECT call.id, {_item("run")}, {_item("label")}, trace.uid AS trace, trace.name AS program,
           {_hash("version.hash")} AS version, {STEP} AS step, call.address, call.attempt,
           call.kind, call.model, call.status, {_excerpt("last", "$.content")} AS asked,
           {_excerpt("reply", "$.text")} AS answered,
           call.tok_in, call.tok_out, call.tok_cached, call.cost / 1e9 AS usd,
           round((call.ended_ns - call.started_ns) / 1e6, 1) AS ms,
           {_time("call.started_ns")} AS started, call.source, {_hash("call.key")} AS key
    FROM call JOIN trace ON trace.id = call.trace JOIN version ON version.id = trace.version
    LEFT JOIN blob AS request ON request.id = call.request
    LEFT JOIN blob AS last ON last.id = CASE
         WHEN call.kind = 'chat' AND request.enc = 0 THEN CASE
         WHEN json_valid({_REQUEST}) THEN json_extract({_REQUEST}, '$.messages.last[0]') END END
    LEFT JOIN blob AS reply ON reply.id = call.reply;
CREATE VIEW v_traces AS
    SELECT trace.uid AS trace, {_item("run")}, {_item("label")}, trace.name AS program, trace.target,
           CASE WHEN trace.failure IS NOT NULL THEN 'failed'
           WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END AS status,
           {_text("inputs")} AS inputs, {_text("outputs")} AS outputs,
           {_excerpt("failure", "$.text")} AS failure,
           (SELECT group_concat(name || ' ' || round(value, 3), ', ') FROM score
            WHERE score.trace = trace.id) AS scores,
           {_time("trace.started_ns")} AS started,
           round(max(trace.ended_ns - trace.started_ns, 0) / 1e9, 3) AS seconds, trace.sample,
           {_hash("version.hash")} AS version, {_hash("trace.root")} AS root
    FROM trace JOIN version ON version.id = trace.version
    LEFT JOIN blob AS inputs ON inputs.id = trace.inputs
    LEFT JOIN blob AS outputs ON outputs.id = trace.outputs
    LEFT JOIN blob AS failure ON failure.id = trace.failure;
"""

PARTS = f"""
ALTER TABLE call ADD COLUMN prefix INTEGER REFERENCES blob(id);
ALTER TABLE call ADD COLUMN last INTEGER REFERENCES blob(id);
DROP INDEX call_key;
CREATE INDEX call_key ON call(substr(key, 1, 8));
DROP VIEW v_calls;
CREATE VIEW v_calls AS
    SELECT call.id, {_item("run")}, {_item("label")}, trace.uid AS trace, trace.name AS program,
           {_hash("version.hash")} AS version, {STEP} AS step, call.address, call.attempt,
           call.kind, call.model, call.status, {_excerpt("last", "$.content")} AS asked,
           {_excerpt("reply", "$.text")} AS answered,
           call.tok_in, call.tok_out, call.tok_cached, call.cost / 1e9 AS usd,
           round((call.ended_ns - call.started_ns) / 1e6, 1) AS ms,
           {_time("call.started_ns")} AS started, call.source, {_hash("call.key")} AS key
    FROM call JOIN trace ON trace.id = call.trace JOIN version ON version.id = trace.version
    LEFT JOIN blob AS request ON request.id = call.request
    LEFT JOIN blob AS last ON last.id = coalesce(call.last, CASE
         WHEN call.kind = 'chat' AND request.enc = 0 THEN CASE
         WHEN json_valid({_REQUEST}) THEN json_extract({_REQUEST}, '$.messages.last[0]') END END)
    LEFT JOIN blob AS reply ON reply.id = call.reply;
"""

"""The views in which people read a store in PostgreSQL, with psql or any other client."""

from __future__ import annotations

from lmflow.stores.sqlite.lists.run_totals import SUMS
from lmflow.stores.sqlite.views import STEP, short_hash, utc


def _text(blob: str) -> str:
    """Return the SQL of a blob as text; of a compressed one, its size."""
    return (
        f"CASE {blob}.enc WHEN 0 THEN substr(convert_from({blob}.data, 'UTF8'), 1, 200)"
        f" WHEN 1 THEN '(' || {blob}.size || ' characters)' END"
    )


def _item(column: str) -> str:
    return (
        f"(SELECT {column} FROM run_item WHERE run_item.trace = trace.id"
        f" ORDER BY run_item.run LIMIT 1) AS {column}"
    )


def _total(name: str) -> str:
    return f"CASE WHEN total.run IS NULL THEN sums.{name} ELSE total.{name} END"


VIEWS = (
    f"""CREATE VIEW v_calls AS
    SELECT call.id, {_item("run")}, {_item("label")}, trace.uid AS trace, trace.name AS program,
           {short_hash("version.hash")} AS version, {STEP} AS step, call.address, call.attempt,
           call.kind, call.model, call.status, {_text("asked")} AS asked,
           {_text("reply")} AS answered, call.tok_in, call.tok_out, call.tok_cached,
           call.cost / 1e9 AS usd, round((call.ended_ns - call.started_ns) / 1e6, 1) AS ms,
           {utc("call.started_ns")} AS started, call.source, {short_hash("call.key")} AS key
    FROM call JOIN trace ON trace.id = call.trace JOIN version ON version.id = trace.version
    LEFT JOIN blob AS asked ON asked.id = call.last LEFT JOIN blob AS reply ON reply.id = call.reply
    """,
    f"""CREATE VIEW v_traces AS
    SELECT trace.uid AS trace, {_item("run")}, {_item("label")}, trace.name AS program,
           trace.target, CASE WHEN trace.failure IS NOT NULL THEN 'failed'
           WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END AS status,
           {_text("inputs")} AS inputs, {_text("outputs")} AS outputs,
           {_text("failure")} AS failure,
           (SELECT group_concat(name || ' ' || round(value, 3), ', ') FROM score
            WHERE score.trace = trace.id) AS scores, {utc("trace.started_ns")} AS started,
           round(greatest(trace.ended_ns - trace.started_ns, 0) / 1e9, 3) AS seconds, trace.sample,
           {short_hash("version.hash")} AS version, {short_hash("trace.root")} AS root
    FROM trace JOIN version ON version.id = trace.version
    LEFT JOIN blob AS inputs ON inputs.id = trace.inputs
    LEFT JOIN blob AS outputs ON outputs.id = trace.outputs
    LEFT JOIN blob AS failure ON failure.id = trace.failure""",
    f"""CREATE VIEW v_versions AS
    SELECT {short_hash("version.hash")} AS id, version.note, version.author,
           (SELECT group_concat(ref.name, ', ') FROM ref WHERE ref.version = version.id) AS refs,
           (SELECT group_concat({short_hash("hash")}, ', ') FROM parent
            WHERE parent.version = version.id) AS parents,
           {_text("params")} AS params, {utc("version.created_ns")} AS created,
           {short_hash("version.tree")} AS tree
    FROM version LEFT JOIN blob AS params ON params.id = version.params""",
    f"""CREATE VIEW v_runs AS
    SELECT run.id, run.kind, run.name, run.target, run.status, {utc("run.started_ns")} AS started,
           round(greatest(run.ended_ns - run.started_ns, 0) / 1e9, 3) AS seconds,
           {_total("traces")} AS traces, {_total("calls")} AS calls, {_total("reused")} AS reused,
           {_total("tok_in")} AS tok_in, {_total("tok_out")} AS tok_out,
           {_total("cost")} / 1e9 AS usd, {_total("unpriced")} AS unpriced,
           {_total("failed")} AS failed, {_total("orphans")} AS orphans, run.of,
           {short_hash("run.root")} AS root
    FROM run LEFT JOIN run_total AS total ON total.run = run.id
    LEFT JOIN LATERAL (
        SELECT {SUMS.replace("NOT run_item.reused", "run_item.reused = 0")}
        FROM run_item LEFT JOIN call ON call.trace = run_item.trace
        WHERE run_item.run = run.id AND total.run IS NULL
    ) AS sums ON TRUE""",
    f"""CREATE VIEW v_scores AS
    SELECT trace.uid AS trace, trace.name AS program, score.name, score.value,
           {_text("feedback")} AS feedback, score.metric, score.who, {utc("score.at_ns")} AS at,
           {short_hash("version.hash")} AS version
    FROM score JOIN trace ON trace.id = score.trace JOIN version ON version.id = score.version
    LEFT JOIN blob AS feedback ON feedback.id = score.feedback""",
    f"""CREATE VIEW v_reflog AS
    SELECT reflog.id, reflog.name, {short_hash("b.hash")} AS before,
           {short_hash("a.hash")} AS after,
           reflog.why, reflog.who, {utc("reflog.at_ns")} AS at
    FROM reflog LEFT JOIN version b ON b.id = reflog.before
    LEFT JOIN version a ON a.id = reflog.after""",
    f"""CREATE VIEW v_datasets AS
    SELECT named.name, {short_hash("dataset.hash")} AS id, dataset.size AS examples,
           (SELECT group_concat(split || ' ' || n, ', ') FROM
               (SELECT split, count(*) AS n FROM item
                WHERE item.dataset = dataset.id AND split <> '' GROUP BY split) AS sizes) AS splits,
           {utc("named.at_ns")} AS at
    FROM dataset_name AS named JOIN dataset ON dataset.id = named.dataset""",
)
"""The statements that create the views."""

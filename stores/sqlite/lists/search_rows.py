"""The executions of an optimization, each with what it spent on model calls."""

from __future__ import annotations

from typing import Any

from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.lists.listing import Listing

_ROWS = """
SELECT trace.id AS row, run_item.label, trace.uid AS trace, trace.name, trace.program,
       version.hash AS version, trace.started_ns, trace.ended_ns,
       CASE WHEN trace.failure IS NOT NULL THEN 'failed'
            WHEN trace.outputs IS NOT NULL THEN 'done' ELSE 'open' END AS status,
       count(call.id) FILTER (WHERE call.source = '' AND NOT {reused}) AS sent,
       count(call.id) FILTER (WHERE call.source <> '' OR {reused}) AS reused,
       coalesce(sum(call.cost) FILTER (WHERE call.source = '' AND NOT {reused}), 0) AS cost,
       count(call.id) FILTER (WHERE call.source = '' AND NOT {reused} AND call.cost IS NULL)
       AS unpriced,
       coalesce(sum(coalesce(call.tok_in, 0) + coalesce(call.tok_out, 0))
                FILTER (WHERE call.source = '' AND NOT {reused}), 0) AS tokens
FROM run_item JOIN trace ON trace.id = run_item.trace JOIN version ON version.id = trace.version
LEFT JOIN call ON call.trace = trace.id AND call.kind <> 'tool'
WHERE run_item.run = :run
GROUP BY run_item.position, run_item.label, run_item.reused, trace.id, version.hash
ORDER BY run_item.position LIMIT :limit
"""


def search_rows(listing: Listing, run: str, limit: int) -> list[dict[str, Any]]:
    """Return the first executions of a run, by its whole id, in their order."""
    query = _ROWS.replace("{reused}", listing.reused())
    rows = listing.rows(query, listing.filter((), "trace"), {"run": run, "limit": limit})
    return [
        {
            **dict(row),
            "version": digest_text(row["version"]),
            "program": digest_text(row["program"]),
        }
        for row in rows
    ]

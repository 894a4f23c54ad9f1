"""``lmflow runs export``: recorded calls as rows for other tools."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lmflow.cli.commands.datasets import told, written_lines
from lmflow.cli.options import json_option, store_option
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import reading
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.attributes import lean
from lmflow.values.record import plain

COLUMNS = {
    "run": "string", "label": "string", "trace": "string", "program": "string", "version": "string",
    "address": "string", "attempt": "int64", "kind": "string", "model": "string", "messages": "string",
    "reply": "string", "status": "string", "error": "string", "tok_in": "int64", "tok_out": "int64",
    "tok_cached": "int64", "tok_reasoning": "int64", "cost": "int64", "source": "string",
    "started_ns": "int64", "ended_ns": "int64", "key": "string",
}  # fmt: skip
"""The columns and their types. ``cost`` is in nano-dollars; ``messages`` is JSON in Parquet, a list
in JSON lines.
"""
_NESTED = ("messages",)
BATCH = 5_000


@click.command()
@click.argument("wanted", nargs=-1, metavar="[RUN]...")
@click.option(
    "--format", "form", default="jsonl", show_default=True, type=click.Choice(["jsonl", "parquet"]),
    help="jsonl: a JSON object a line. parquet: a table (needs pyarrow).",
)  # fmt: skip
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to a file (parquet needs one).",
)
@store_option
@json_option
def export(
    wanted: tuple[str, ...], form: str, store: str, *, out: Path | None, as_json: bool
) -> None:
    """Write one row a recorded call: of some runs, or of all.

    Costs are in nano-dollars.

    \b
    Example:
      lmflow runs export RUN --out calls.jsonl
    """
    with reading(store) as reader:
        runs = _runs(reader, wanted)
        if form == "jsonl":
            written = written_lines((row for run in runs for row in rows(run)), out)
        else:
            written = _parquet((row for run in runs for row in rows(run)), out)
    told(written, "calls", out, as_json=as_json)


def rows(run: Run) -> Iterator[dict[str, Any]]:
    """The calls of a run, a row each, in the order of its executions."""
    return (_row(run, label, trace, call) for label, trace in run.items for call in trace.calls)


def _row(run: Run, label: str, trace: Trace, call: CallAttempt) -> dict[str, Any]:
    request, outcome = call.request, call.outcome
    usage = outcome.usage if isinstance(outcome, (ChatReply, EmbedReply)) else None
    kind = (
        "tool"
        if isinstance(request, ToolRequest)
        else "chat"
        if isinstance(request, ChatRequest)
        else "embed"
    )
    return {
        "run": run.id, "label": label, "trace": trace.id, "program": trace.name, "version": trace.version.id,
        "address": call.address, "attempt": call.attempt, "kind": kind,
        "model": request.tool if isinstance(request, ToolRequest) else request.model, "messages": _asked(call),
        "reply": _replied(call),
        "status": "started" if outcome is None else "failed" if isinstance(outcome, Failure) else "ok",
        "error": str(outcome.error()) if isinstance(outcome, Failure) else None,
        "tok_in": usage and usage.prompt, "tok_out": usage and usage.completion, "tok_cached": usage and usage.cached,
        "tok_reasoning": usage and usage.reasoning,
        "cost": call.cost, "source": call.source or None, "started_ns": call.started, "ended_ns": call.ended or None,
        "key": call.key,
    }  # fmt: skip


def _asked(call: CallAttempt) -> Any:
    """The exact messages of a chat; what else was asked as it is keyed."""
    if isinstance(call.request, ChatRequest):
        return [plain(lean(message)) for message in call.request.messages]
    return plain(lean(call.request))


def _replied(call: CallAttempt) -> str | None:
    """The reply's text; of tools and embeddings the value as JSON."""
    match call.outcome:
        case ChatReply() as reply:
            return reply.readable
        case ToolReply(value=value):
            return json.dumps(plain(value))
        case EmbedReply(vectors=vectors):
            return json.dumps(plain(vectors))
    return None


def _runs(reader: Reader, wanted: tuple[str, ...]) -> Iterator[Run]:
    """The runs that are named, or all, newest first."""
    if wanted:
        yield from map(reader.run, wanted)
        return
    before = ""
    while page := reader.runs(100, before):
        yield from (reader.run(run.id) for run in page)
        before = page[-1].id


def _parquet(found: Iterator[dict[str, Any]], out: Path | None) -> int:
    if out is None:
        raise click.ClickException("Parquet isn't for a terminal: add --out calls.parquet.")
    try:
        pa: Any = importlib.import_module("pyarrow")  # of the extra, so it may be missing
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise click.ClickException(
            'writing Parquet needs pyarrow: pip install "lmflow-dsl[data]"'
        ) from None
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    count, batch = 0, []
    with parquet.ParquetWriter(out, schema) as writer:
        for row in found:
            batch.append({**row, **{name: json.dumps(row[name]) for name in _NESTED}})
            count += 1
            if len(batch) == BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema))
    return count

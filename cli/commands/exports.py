"""The command ``runs export``."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lmflow.cli.actions.json_lines import print_written, write_json_lines
from lmflow.cli.commands.completion import complete_run
from lmflow.cli.errors import writing
from lmflow.cli.options import json_option, store_option
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.lists.named import run_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.attributes import lean
from lmflow.values.record import plain

COLUMNS = {
    "run": "string",
    "label": "string",
    "trace": "string",
    "program": "string",
    "version": "string",
    "address": "string",
    "attempt": "int64",
    "kind": "string",
    "model": "string",
    "messages": "string",
    "reply": "string",
    "status": "string",
    "error": "string",
    "tok_in": "int64",
    "tok_out": "int64",
    "tok_cached": "int64",
    "tok_reasoning": "int64",
    "cost": "int64",
    "source": "string",
    "started_ns": "int64",
    "ended_ns": "int64",
    "key": "string",
}
"""The columns and their types. ``cost`` is in nano-dollars; ``messages`` is JSON in Parquet, a list
in JSON lines.
"""
_NESTED = ("messages",)
BATCH = 5_000


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option(
    "--format",
    "form",
    default="jsonl",
    show_default=True,
    type=click.Choice(["jsonl", "parquet"]),
    help="jsonl: a JSON object per line. parquet: a table (needs pyarrow).",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to a file (parquet needs one).",
)
@where_option("executions")
@store_option
@json_option
def export(  # noqa: PLR0913 - one parameter an option
    names: tuple[str, ...],
    form: str,
    conditions: tuple[Condition, ...],
    store: str,
    *,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write a row per recorded call, of some runs or of all.

    With --where only the calls of executions that fulfil all conditions. Costs are in nano-dollars.

    \b
    Example:
      lmflow runs export RUN --out calls.jsonl
    """
    write = write_json_lines if form == "jsonl" else _write_parquet
    with reading(store) as reader:
        calls = _calls(reader, _runs(reader, names), conditions)
        count = write(calls, out)
    print_written(count, "calls", out, as_json=as_json)


def rows(run: Run) -> Iterator[dict[str, Any]]:
    """Return the calls of a run, a row each, in the order of its executions."""
    return (row for item in run.items for row in _rows(run, *item))


def _rows(run: Run, label: str, trace: Trace) -> Iterator[dict[str, Any]]:
    return (_row(run, label, trace, call) for call in trace.calls)


def _row(run: Run, label: str, trace: Trace, call: CallAttempt) -> dict[str, Any]:
    return {
        "run": run.id,
        "label": label,
        "trace": trace.id,
        "program": trace.name,
        "version": trace.version.id,
        "address": call.address,
        "attempt": call.attempt,
        **_request_columns(call),
        **_outcome_columns(call),
        "cost": call.cost,
        "source": call.source or None,
        "started_ns": call.started,
        "ended_ns": call.ended or None,
        "key": call.key,
    }


def _request_columns(call: CallAttempt) -> dict[str, Any]:
    """Return kind, model and messages: those of a chat, else the whole request."""
    request = call.request
    if isinstance(request, ToolRequest):
        return {"kind": "tool", "model": request.tool, "messages": plain(lean(request))}
    if not isinstance(request, ChatRequest):
        return {"kind": "embed", "model": request.model, "messages": plain(lean(request))}
    messages = [plain(lean(message)) for message in request.messages]
    return {"kind": "chat", "model": request.model, "messages": messages}


def _outcome_columns(call: CallAttempt) -> dict[str, Any]:
    outcome = call.outcome
    usage = outcome.usage if isinstance(outcome, (ChatReply, EmbedReply)) else None
    status, error = "ok", None
    if outcome is None:
        status = "started"
    elif isinstance(outcome, Failure):
        status, error = "failed", str(outcome.error())
    return {
        "reply": _reply_text(call),
        "status": status,
        "error": error,
        "tok_in": usage and usage.prompt,
        "tok_out": usage and usage.completion,
        "tok_cached": usage and usage.cached,
        "tok_reasoning": usage and usage.reasoning,
    }


def _reply_text(call: CallAttempt) -> str | None:
    """Return the text of a chat's reply, or the value of a tool or embedding as JSON."""
    match call.outcome:
        case ChatReply() as reply:
            return reply.readable
        case ToolReply(value=value):
            return json.dumps(plain(value))
        case EmbedReply(vectors=vectors):
            return json.dumps(plain(vectors))
    return None


def _runs(reader: Reader, names: tuple[str, ...]) -> Iterator[Run]:
    """Yield the named runs, or all runs, newest first."""
    if names:
        yield from (run_at(reader, name) for name in names)
        return
    before = ""
    while page := reader.runs(100, before):
        yield from (reader.run(run.id) for run in page)
        before = page[-1].id


def _calls(
    reader: Reader, runs: Iterator[Run], conditions: tuple[Condition, ...]
) -> Iterator[dict[str, Any]]:
    """Yield the calls of the executions that fulfil all conditions; of all without conditions."""
    if not conditions:
        for run in runs:
            yield from rows(run)
        return
    chosen = {listed.trace for listed in reader.listing.traces(conditions)}
    for run in runs:
        for label, trace in run.items:
            if trace.id in chosen:
                yield from _rows(run, label, trace)


def _write_parquet(calls: Iterator[dict[str, Any]], out: Path | None) -> int:
    if out is None:
        raise click.ClickException("Parquet isn't for a terminal: add --out calls.parquet.")
    try:
        pa: Any = importlib.import_module("pyarrow")  # of an extra, so it may be missing
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise click.ClickException(
            'writing Parquet needs pyarrow: pip install "lmflow-dsl[data]"'
        ) from None
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    count, batch = 0, []
    with writing(out), parquet.ParquetWriter(out, schema) as writer:
        for row in calls:
            batch.append({**row, **{name: json.dumps(row[name]) for name in _NESTED}})
            count += 1
            if len(batch) == BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema))
    return count

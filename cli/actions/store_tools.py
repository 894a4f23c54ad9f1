"""The tools by which agents read a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import click

from lmflow.cli.commands.evaluate import comparison_data, recorded_evaluations
from lmflow.data.conditions import Condition, condition
from lmflow.errors import short
from lmflow.evaluation.comparison import compare
from lmflow.programs.program import Program
from lmflow.replays.provenance import why
from lmflow.replays.what_if import what_if
from lmflow.serve.mcp_tools import ReadTool, ToolProblem
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.lists.named import trace_at
from lmflow.stores.sqlite.lists.search import LATEST
from lmflow.stores.sqlite.reader import Reader
from lmflow.values.record import plain
from lmflow.versions.diff import diff
from lmflow.views.lines import when

_MOST = 50
_LIMIT = {
    "type": "integer",
    "minimum": 1,
    "maximum": _MOST,
    "description": "How many, by default 10.",
}
_WHERE = {
    "type": "array",
    "items": {"type": "string"},
    "description": 'Conditions such as "kind=evaluate", "score>0.8", "started>=7d", "model~gpt".',
}
_VERSION = "A ref, an id or its first digits, or REF~N."
_TRACE = "The id of an execution or of a run with one, `last`, or RUN/LABEL."

_MESSAGES = {"type": "boolean", "description": "Show all messages."}
_CALL = {"type": "integer", "minimum": 1, "description": "Continue after this call."}
_RUN = "The id of a run; older ones follow."

Read = Callable[[Reader, Mapping[str, Any]], Any]


def store_tools(store: str, programs: Mapping[str, Program]) -> list[ReadTool]:
    """Return the tools of a store.

    Args:
        store: The store's file.
        programs: The programs that what-if plans may run against recorded calls, by target. No
            other code is loaded, whatever an agent asks for.
    """

    def what_if_plan(reader: Reader, given: Mapping[str, Any]) -> Any:
        return _what_if(reader, given, programs)

    rows: list[tuple[str, str, Mapping[str, Any], tuple[str, ...], Read]] = [
        (
            "runs",
            "List the latest runs: kind, program, calls, tokens, dollars, scores.",
            {
                "where": _WHERE,
                "limit": _LIMIT,
                "before": _text(_RUN),
            },
            (),
            _runs,
        ),
        (
            "trace",
            "Show one execution as a tree of its calls, with inputs, outputs and failures.",
            {
                "trace": _text(_TRACE),
                "messages": _MESSAGES,
            },
            ("trace",),
            _trace,
        ),
        (
            "diff",
            "Show the changes between two versions of the parameters.",
            {"a": _text(_VERSION), "b": _text(_VERSION)},
            ("a", "b"),
            _diff,
        ),
        (
            "why",
            "Show where an answer comes from: calls, parameters, demonstrations, what made them.",
            {"trace": _text(_TRACE)},
            ("trace",),
            _why,
        ),
        (
            "what_if",
            "Plan an execution under another version: what is reused, what would be sent and cost.",
            {"trace": _text(_TRACE), "version": _text(_VERSION)},
            ("trace", "version"),
            what_if_plan,
        ),
        (
            "search",
            "Find calls whose last message and answer contain all words, the newest first.",
            {
                "words": _text('Words; "two words" in quotes are a phrase, wor* a beginning.'),
                "where": _WHERE,
                "limit": _LIMIT,
                "before": _CALL,
            },
            ("words",),
            _search,
        ),
        (
            "status",
            "Show the refs with their versions, and the latest run of each.",
            {},
            (),
            _status,
        ),
        (
            "compare",
            "Compare two recorded evaluations, paired on the same examples.",
            {"a": _text("The run of an evaluation."), "b": _text("The run of an evaluation.")},
            ("a", "b"),
            _compare,
        ),
    ]
    return [
        ReadTool(name, description, properties, required, _reading(store, read))
        for name, description, properties, required, read in rows
    ]


def _reading(store: str, read: Read) -> Callable[[Mapping[str, Any]], Any]:
    def call(given: Mapping[str, Any]) -> Any:
        with reading(store) as reader:
            return plain(read(reader, given))

    return call


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


def _conditions(given: Mapping[str, Any]) -> list[Condition]:
    return list(map(condition, given.get("where", ())))


def _runs(reader: Reader, given: Mapping[str, Any]) -> Any:
    limit = given.get("limit", 10)
    rows = reader.summaries(limit + 1, given.get("before", ""), _conditions(given))
    shown = rows[:limit]
    more = {"before": shown[-1]["id"]} if len(rows) > limit else None
    return {"runs": shown, "more": more}


def _trace(reader: Reader, given: Mapping[str, Any]) -> str:
    return trace_at(reader, given["trace"]).text(messages=given.get("messages", False))


def _diff(reader: Reader, given: Mapping[str, Any]) -> str:
    return str(diff(reader.version(given["a"]), reader.version(given["b"]))) or "no difference"


def _why(reader: Reader, given: Mapping[str, Any]) -> str:
    return str(why(trace_at(reader, given["trace"]), reader.version))


def _what_if(reader: Reader, given: Mapping[str, Any], programs: Mapping[str, Program]) -> Any:
    trace = trace_at(reader, given["trace"])
    by_key = {program.key: program for program in programs.values()}
    program = programs.get(trace.target) or by_key.get(trace.program)
    if program is None:
        named = ", ".join(programs) or "none"
        raise ToolProblem(
            f"trace {trace.id} is of {trace.target or trace.name}, the programs here are {named}:"
            " start the server with `lmflow mcp store MODULE:PROGRAM`"
        )
    return what_if(trace, program, reader.version(given["version"])).to_json()


def _search(reader: Reader, given: Mapping[str, Any]) -> Any:
    limit = given.get("limit", 10)
    words = given["words"].split() if '"' not in given["words"] else [given["words"].strip('"')]
    if not words:
        raise ToolProblem("words is empty: name a word that the call contains")
    hits = reader.search(words, limit + 1, given.get("before", LATEST), _conditions(given))
    shown = [attrs.asdict(hit) for hit in hits[:limit]]
    return {"calls": shown, "more": len(hits) > limit}


def _status(reader: Reader, given: Mapping[str, Any]) -> Any:
    del given
    refs = []
    for name, version in reader.refs().items():
        saved, last = reader.versions.saved(version), reader.latest(version)
        refs.append(
            {
                "ref": name,
                "version": short(version),
                "note": saved.version.note,
                "at": when(saved.at),
                "scores": {score: mean for score, (mean, _) in saved.scores.items()},
                "last_execution": None if last is None else last.id,
                "program": None if last is None else last.target or last.name,
            }
        )
    return {"store": reader.store, "refs": refs, "latest_runs": reader.summaries(3)}


def _compare(reader: Reader, given: Mapping[str, Any]) -> Any:
    try:
        a, b = recorded_evaluations(reader, given["a"], given["b"])
    except click.ClickException as error:
        raise ToolProblem(error.message) from None
    return comparison_data(compare(a, b))

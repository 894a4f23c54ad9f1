"""Lists runs, executions and calls of a SQLite trace store that fulfil conditions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.conditions import Condition, step_name
from lmflow.errors import BadCondition
from lmflow.messages.replies import outcome_of
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.bulk import select_in
from lmflow.stores.sqlite.full_text import outcome_text
from lmflow.stores.sqlite.ids import resolve_place
from lmflow.stores.sqlite.lists.run_totals import has_references, reused_column
from lmflow.stores.sqlite.lists.where import ConditionFilters, Filter
from lmflow.stores.sqlite.versions import VersionReader
from lmflow.values.record import pretty

AFTER_ALL_IDS = chr(0x10FFFF)

_FIRST_ITEM = "FROM run_item WHERE run_item.trace = trace.id ORDER BY run_item.run LIMIT 1"
_CALLS = f"""
SELECT call.*, trace.uid AS trace_id, version.hash AS version,
       (SELECT run {_FIRST_ITEM}) AS run, (SELECT label {_FIRST_ITEM}) AS label
FROM call JOIN trace ON trace.id = call.trace JOIN version ON version.id = trace.version
WHERE call.id < :before AND {{where}} ORDER BY call.id DESC LIMIT :limit
"""
_SCORES = """
SELECT run, name, avg(value) AS mean FROM (
    SELECT run_item.run, score.id, score.name, score.value,
           max(score.id) OVER (PARTITION BY run_item.run, score.trace, score.name) AS latest
    FROM run_item JOIN score ON score.trace = run_item.trace
    WHERE run_item.run IN ({keys}) AND score.value IS NOT NULL AND {own}
) AS scored WHERE id = latest GROUP BY run, name ORDER BY run, name
"""


@attrs.frozen
class ListedTrace:
    """An execution in a list: the ids of its run and trace, its label, and the trace's row."""

    run: str
    label: str
    trace: str
    row: int


@attrs.frozen
class ListedCall:
    """A call in a list. Times are in nanoseconds, ``cost`` is in nano-dollars.

    ``text`` is the answer, the tool's result or the failure; ``attempt`` counts from 1.
    """

    call: int
    run: str
    label: str
    trace: str
    version: str
    address: str
    step: str
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
    key: str
    text: str


class Listing:
    """Lists what is recorded, through one connection."""

    def __init__(
        self, db: sqlite3.Connection, store: str, blobs: BlobReader, versions: VersionReader
    ) -> None:
        self._db = db
        self.store = store
        self._blobs = blobs
        self._versions = versions
        self._filters: ConditionFilters | None = None

    def run_ids(self, conditions: Iterable[Condition], limit: int, before: str = "") -> list[str]:
        """Return the ids of the latest runs that fulfil all conditions, newest first."""
        chosen = self.filter(conditions, "run")
        query = (
            f"SELECT id FROM run WHERE id < :before AND {chosen.sql} ORDER BY id DESC LIMIT :limit"
        )
        page = {"before": before or AFTER_ALL_IDS, "limit": limit}
        return [str(row["id"]) for row in self.rows(query, chosen, page)]

    def count(self, conditions: Iterable[Condition], listed: Any = "run") -> int:
        """Return the number of the runs, executions (``trace``) or calls that fulfil all."""
        chosen = self.filter(conditions, listed)
        table = "call JOIN trace ON trace.id = call.trace" if listed == "call" else listed
        query = f"SELECT count(*) FROM {table} WHERE {chosen.sql}"
        return int(self.rows(query, chosen)[0][0])

    def traces(
        self, conditions: Iterable[Condition], limit: int = -1, run: str = ""
    ) -> list[ListedTrace]:
        """Return the executions that fulfil all conditions, newest first.

        Args:
            conditions: The conditions.
            limit: The number of executions; all if it is negative.
            run: The id of a run, to list only its executions.
        """
        chosen = self.filter(conditions, "trace", place=True)
        query = (
            "SELECT run_item.run, run_item.label, trace.uid, trace.id FROM run_item"
            " JOIN trace ON trace.id = run_item.trace"
            f" WHERE (:run = '' OR run_item.run = :run) AND {chosen.sql}"
            " ORDER BY run_item.run DESC, run_item.position LIMIT :limit"
        )
        rows = self.rows(query, chosen, {"run": run, "limit": limit})
        return [ListedTrace(row["run"], row["label"], row["uid"], row["id"]) for row in rows]

    def calls(
        self, conditions: Iterable[Condition], limit: int, before: int = 2**63 - 1
    ) -> list[ListedCall]:
        """Return the latest calls that fulfil all conditions, newest first.

        Args:
            conditions: The conditions.
            limit: The number of calls.
            before: The number of a call; only older ones are listed.
        """
        chosen = self.filter(conditions, "call")
        query = _CALLS.format(where=chosen.sql)
        rows = self.rows(query, chosen, {"before": before, "limit": limit})
        return [self._call(row) for row in rows]

    def uids(self, traces: Sequence[int]) -> dict[int, str]:
        """Return the ids of executions by their rows in the table ``trace``."""
        rows = select_in(self._db, "SELECT id, uid FROM trace WHERE id IN ({keys})", traces)
        return {row["id"]: row["uid"] for row in rows}

    def worlds(self, traces: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return the worlds of those executions that the store has, by id."""
        rows = select_in(self._db, "SELECT uid, world FROM trace WHERE uid IN ({keys})", traces)
        return {row["uid"]: self._blobs.get(row["world"]) for row in rows}

    def scores(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return the mean of each score of runs' executions by run and name; of an execution's
        scores of one name the latest counts.
        """
        means: dict[str, dict[str, float]] = {run: {} for run in runs}
        query = _SCORES.format(own=self.own_scores(), keys="{keys}")
        for row in select_in(self._db, query, runs):
            means[row["run"]][row["name"]] = row["mean"]
        return means

    def filter(
        self, conditions: Iterable[Condition], listed: Any, *, place: bool = False
    ) -> Filter:
        """Return conditions as SQL for a query of ``listed`` things, ids in them resolved; with
        ``place`` conditions on a run must hold for that of the query's ``run_item``.
        """
        if self._filters is None:
            self._filters = ConditionFilters(self._db, self.store)
        resolved = [self._resolved(c) for c in conditions]
        return self._filters.filter(resolved, listed, place=place)

    def own_scores(self) -> str:
        """Return the SQL that tells whether a score counts in the run of a ``run_item``."""
        return "score.run IN ('', run_item.run)" if has_references(self._db) else "TRUE"

    def reused(self) -> str:
        """Return the SQL that tells whether a row of ``run_item`` is a reference."""
        return reused_column(self._db)

    def rows(self, query: str, chosen: Filter, more: dict[str, Any] | None = None) -> Any:
        """Return the rows of a query with a filter in it."""
        assert self._filters is not None  # noqa: S101 - `filter` made it
        return self._filters.rows(query, {**chosen.parameters, **(more or {})})

    def _resolved(self, criterion: Condition) -> Condition:
        """Return the condition, with the whole id if it names a run, trace or version."""
        name = str(criterion.literal)
        if criterion.operator not in {"=", "!="}:
            return criterion
        match criterion.field:
            case "version":
                version = self._versions.version(name).id
                return attrs.evolve(criterion, literal=version)
            case "run" | "trace" as field:
                place = resolve_place(self._db, self.store, name, (field,))
                if field == "trace" and not place.trace:
                    text = f"{field}{criterion.operator}{name}"
                    problem = f"{name!r} is a run, not a trace"
                    raise BadCondition(text, problem, f" Write run{criterion.operator}{name}.")
                return attrs.evolve(criterion, literal=getattr(place, field))
        return criterion

    def _call(self, row: sqlite3.Row) -> ListedCall:
        try:
            outcome = outcome_of(self._blobs.get(row["reply"])) if row["reply"] else None
            version, key = digest_text(row["version"]), digest_text(row["key"])
        except DAMAGE as error:
            raise damaged(self.store, f"call {row['id']}", error) from error
        value = getattr(outcome, "value", None)  # a tool's result
        return ListedCall(
            call=row["id"],
            run=row["run"] or "",
            label=row["label"] or "",
            trace=row["trace_id"],
            version=version,
            address=row["address"],
            step=step_name(row["address"]),
            attempt=row["attempt"] + 1,
            kind=row["kind"],
            model=row["model"],
            status=row["status"],
            tok_in=row["tok_in"],
            tok_out=row["tok_out"],
            cost=row["cost"],
            source=row["source"],
            started=row["started_ns"],
            ended=row["ended_ns"],
            key=key,
            text=outcome_text(outcome) if value is None else pretty(value),
        )

"""Merges refs and names of data sets with their moves; and pins, acts and tombstones."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import attrs

from lmflow.errors import RefsDisagree, UnknownVersion
from lmflow.exchange.moves import Decision, Move, MovedName, Side, disagreements, merged_name
from lmflow.stores.sqlite.blobs.format import digest_bytes, digest_text

_REFS = """
SELECT ref.name, version.hash FROM {schema}.ref
CROSS JOIN {schema}.version ON version.id = ref.version
"""
_REF_MOVES = """
SELECT reflog.name, reflog.at_ns, before.hash, after.hash, reflog.why, reflog.who
FROM {schema}.reflog LEFT JOIN {schema}.version AS before ON before.id = reflog.before
LEFT JOIN {schema}.version AS after ON after.id = reflog.after ORDER BY reflog.id
"""
_DATA_MOVES = """
SELECT named.name, named.at_ns, NULL, dataset.hash, '', '' FROM {schema}.dataset_name AS named
CROSS JOIN {schema}.dataset ON dataset.id = named.dataset ORDER BY named.id
"""
_PINS = """
INSERT INTO main.pin (version, why, who, at_ns)
SELECT map.dst, there.why, there.who, there.at_ns FROM src.pin AS there
CROSS JOIN temp.version_map AS map ON map.src = there.version WHERE true
ON CONFLICT (version) DO UPDATE SET why = excluded.why, who = excluded.who, at_ns = excluded.at_ns
WHERE (excluded.at_ns, excluded.who, excluded.why) > (pin.at_ns, pin.who, pin.why)
"""
_TOMBSTONES = """
INSERT INTO main.tombstone (kind, name, at_ns) SELECT kind, name, at_ns FROM src.tombstone
WHERE true ON CONFLICT (kind, name) DO UPDATE SET at_ns = max(at_ns, excluded.at_ns)
"""
# The acts by which people steered a search, each once.
_ACTS = """
INSERT INTO main.act (run, kind, version, note, who, at_ns)
SELECT there.run, there.kind, version.dst, there.note, there.who, there.at_ns
FROM src.act AS there CROSS JOIN main.run ON run.id = there.run
LEFT JOIN temp.version_map AS version ON version.src = there.version
WHERE NOT EXISTS (
    SELECT 1 FROM main.act AS here WHERE here.run = there.run AND here.kind = there.kind
    AND here.version IS version.dst AND here.note = there.note AND here.who = there.who
    AND here.at_ns = there.at_ns
) ORDER BY there.id
"""


@attrs.frozen
class Decisions:
    """Which side counts for names on which the stores disagree, and who decided when."""

    sides: Mapping[str, Side]
    at: int
    who: str

    def of(self, name: str, source: str, other: str) -> Decision | None:
        """Return the decision about a name, ``None`` if there is none."""
        side = self.sides.get(name)
        if side is None:
            return None
        kept, left = (other, source) if side == "ours" else (source, other)
        why = f"merge: {kept} counts, not {left}"
        return Decision(side, why, self.at, self.who)


def merge_names(
    db: sqlite3.Connection, source: str, target: str, decisions: Decisions, *, write: bool
) -> tuple[str, ...]:
    """Merge refs and names of data sets; return the names that moved in the target.

    Args:
        db: The connection, in a transaction; the versions and data sets are there already.
        source: The name of the source in messages.
        target: The name of the target.
        decisions: What counts where the stores disagree.
        write: Whether to write; ``False`` to find disagreements only.

    Raises:
        RefsDisagree: The stores disagree on names that nothing decides.
    """
    refs = _states(db, "main", refs=True), _states(db, "src", refs=True)
    data = _states(db, "main", refs=False), _states(db, "src", refs=False)
    _check_decided(decisions, [*refs, *data])
    undecided = [
        (ours.name, ours.target, theirs.target)
        for kind in (refs, data)
        for ours, theirs in disagreements(*kind)
        if decisions.of(ours.name, source, target) is None
    ]
    if undecided:
        raise RefsDisagree(target, source, tuple(undecided))
    if not write:
        return ()
    moved = []
    for (ours, theirs), put in ((refs, _put_ref), (data, _put_data)):
        for name in sorted(theirs):
            before = ours.get(name, MovedName(name))
            after = merged_name(before, theirs[name], decisions.of(name, source, target))
            if after is None or after == before:
                continue
            put(db, before, after)
            if after.target != before.target:
                moved.append(name)
    for statement in (_PINS, _TOMBSTONES, _ACTS):
        db.execute(statement)
    return tuple(moved)


def _check_decided(decisions: Decisions, states: Sequence[Mapping[str, MovedName]]) -> None:
    """Raise ``UnknownVersion`` if a decision is about a name that neither store has."""
    known = {name for names in states for name in names}
    for name in decisions.sides:
        if name not in known:
            raise UnknownVersion(name, tuple(sorted(known)))


def _states(db: sqlite3.Connection, schema: str, *, refs: bool) -> dict[str, MovedName]:
    """Return what each ref, or each name of a data set, points at, with its moves."""
    moves: dict[str, list[Move]] = {}
    query = _REF_MOVES if refs else _DATA_MOVES
    for name, at, before, after, why, who in db.execute(query.format(schema=schema)):
        moves.setdefault(name, []).append(Move(at, _text(before), _text(after), why, who))
    targets = {name: log[-1].after for name, log in moves.items()}
    if refs:
        targets = dict.fromkeys(moves, "")
        rows = db.execute(_REFS.format(schema=schema))
        targets |= {name: _text(hashed) for name, hashed in rows}
    return {
        name: MovedName(name, target, tuple(moves.get(name, ())))
        for name, target in targets.items()
    }


def _text(hashed: bytes | None) -> str:
    return digest_text(hashed) if hashed else ""


def _put_ref(db: sqlite3.Connection, before: MovedName, after: MovedName) -> None:
    """Write a ref and its moves; those that are there stay if the others come after them."""
    moves = _added(db, "reflog", before, after)
    rows = [
        (
            after.name,
            _row(db, "version", move.before),
            _row(db, "version", move.after),
            move.why,
            move.at,
            move.who,
        )
        for move in moves
    ]
    db.executemany(
        "INSERT INTO main.reflog (name, before, after, why, at_ns, who) VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
    if not after.target:
        db.execute("DELETE FROM main.ref WHERE name = ?", (after.name,))
        return
    at = after.log[-1].at
    db.execute(
        "INSERT OR REPLACE INTO main.ref (name, version, updated_ns) VALUES (?, ?, ?)",
        (after.name, _row(db, "version", after.target), at),
    )


def _put_data(db: sqlite3.Connection, before: MovedName, after: MovedName) -> None:
    """Write the moves of a data set's name, of which the last says what it points at."""
    moves = list(_added(db, "dataset_name", before, after))
    if moves and moves[-1].after != after.target:
        moves.append(attrs.evolve(moves[-1], after=after.target))
    rows = [(after.name, _row(db, "dataset", move.after), move.at) for move in moves]
    db.executemany("INSERT INTO main.dataset_name (name, dataset, at_ns) VALUES (?, ?, ?)", rows)


def _added(
    db: sqlite3.Connection, table: str, before: MovedName, after: MovedName
) -> Sequence[Move]:
    """Return the moves to write; if others stand before them, all are written anew."""
    known = len(before.moves)
    if after.moves[:known] == before.moves:
        return after.moves[known:]
    db.execute(f"DELETE FROM main.{table} WHERE name = ?", (after.name,))
    return after.moves


def _row(db: sqlite3.Connection, table: str, digest: str) -> int | None:
    if not digest:
        return None
    query = f"SELECT id FROM main.{table} WHERE hash = ?"
    row = db.execute(query, (digest_bytes(digest),)).fetchone()
    if row is None:
        raise KeyError(digest)
    return int(row[0])

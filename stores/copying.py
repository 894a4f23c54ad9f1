"""Brings all that one store holds into another of any kind, as the events that record it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import attrs

from lmflow.data.dataset import Dataset
from lmflow.errors import NotFound, RefsDisagree, RunsDisagree, StoreError, UnknownVersion
from lmflow.exchange.moves import Move, MovedName, Side, merged_name
from lmflow.stores.opened import AnyStore
from lmflow.stores.sqlite.merging.executions import apart
from lmflow.stores.sqlite.merging.merge import MergedCounts, Progress
from lmflow.stores.sqlite.merging.names import Decisions
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import (
    Event,
    Pinned,
    RefMoved,
    RunClosed,
    RunOpened,
    TraceOpened,
    TraceReused,
    VersionSaved,
)
from lmflow.traces.run_events import trace_events
from lmflow.traces.trace import Run, Trace

_EVENTS = 500
"""Events of a transaction: a run of any size is copied in bounded memory."""

_TRIES, _PAUSE = 10, 0.05
"""How often a run is copied that another process copies too, and seconds between."""

_PAGE = 1000
_ALL = 10**9


def copy_store(  # noqa: PLR0913 - two stores, and what is decided about them
    source: AnyStore,
    target: AnyStore,
    *,
    take: Mapping[str, Side] | None = None,
    at: int = 0,
    who: str = "",
    progress: Progress | None = None,
) -> MergedCounts:
    """Bring all that a store holds into another; see ``merge_store``, which is faster for files.

    A name of a data set that points at something else in each store needs a decision, since only
    what it points at now is compared. Trained weights aren't copied.

    Args:
        source: The store to read.
        target: The store to write.
        take: The side that counts for each name on which the stores disagree; ours is the target.
        at: The time of decisions in the reflog, in nanoseconds since the epoch.
        who: Who decided.
        progress: Is told how many runs were looked at.

    Returns:
        What the target got.

    Raises:
        RefsDisagree: A ref or name was moved in both, apart; nothing is copied.
        RunsDisagree: A run was gone on with in both, apart.
        StoreError: The target can't be written.
    """
    decisions = Decisions(take or {}, at or time.time_ns(), who)
    with source.reading() as reader:
        return _Copier(source, reader, target, decisions).copy(progress)


class _Copier:
    """One copy, from a reader of the source into the target."""

    def __init__(
        self, source: AnyStore, reader: Reader, target: AnyStore, decisions: Decisions
    ) -> None:
        self._source, self._reader, self._target = source, reader, target
        self._decisions = decisions
        self._runs = self._traces = self._calls = 0

    def copy(self, progress: Progress | None) -> MergedCounts:
        with self._target.reading() as there:
            refs = _refs(there), _refs(self._reader)
            data = _names(there), _names(self._reader)
            versions = list(self._absent_versions(there))
            pins = there.versions.pins()
        self._check_decided(refs, data)
        self._append(versions)
        runs = _run_ids(self._reader)
        for count, run in enumerate(runs, 1):
            self._copy_run(run)
            if progress is not None:
                progress(count, len(runs))
        moved = [*self._copy_names(*data), *self._move_refs(*refs)]
        self._append(
            Pinned(version, why, self._decisions.at)
            for version, why in self._reader.versions.pins().items()
            if version not in pins
        )
        scores = self._copy_scores()
        return MergedCounts(
            self._runs,
            self._traces,
            self._calls,
            len(versions),
            scores,
            moved=tuple(moved),
        )

    def _append(self, events: Iterable[Event]) -> None:
        stream = iter(events)
        while part := tuple(islice(stream, _EVENTS)):
            self._target.append(*part).result()

    def _absent_versions(self, there: Reader) -> Iterator[VersionSaved]:
        saved = list(self._reader.versions.latest(_ALL))
        for each in reversed(saved):
            try:
                there.versions.row_of(each.version.id)
            except UnknownVersion:
                yield VersionSaved(each.version, each.at, each.author)

    def _copy_run(self, run_id: str) -> None:
        """Copy a run; if another process brings the same one meanwhile, go on behind it."""
        for _ in range(_TRIES - 1):
            counts = self._runs, self._traces, self._calls
            try:
                self._copy_run_once(run_id)
            except RunsDisagree:
                raise
            except StoreError:  # what collides is refused whole, and is there when it is read anew
                self._runs, self._traces, self._calls = counts
                time.sleep(_PAUSE)
            else:
                return
        self._copy_run_once(run_id)

    def _copy_run_once(self, run_id: str) -> None:
        own = self._reader.run(run_id)
        with self._target.reading() as there:
            known = _known(there, run_id)
            same_root = known is not None and there.root(run_id) == self._reader.root(run_id)
            if known is not None and same_root and _is_same(own, known):
                return
            for digest in _digests(own):
                self._keep_data(digest)
            if known is None:
                self._runs += 1
                bare = attrs.evolve(own, items=(), status="open", ended=0, result="")
                self._append([RunOpened(bare)])
            self._append(self._item_events(own, known))
        self._copy_acts(run_id)
        if own.status != "open" and (known is None or own.ended > known.ended):
            root = self._reader.root(run_id)
            self._append([RunClosed(run_id, own.status, root, own.ended, own.result)])

    def _item_events(self, own: Run, known: Run | None) -> Iterator[Event]:
        """Yield the events of the executions of a run that the target lacks, or has in part."""
        places = _places(own)
        here = {} if known is None else dict(known.items)
        for at, (label, trace) in enumerate(own.items):
            there = here.get(label)
            if there is None:
                yield from self._new(own, label, places.get(label, at), trace)
                continue
            if there.id != trace.id:
                raise apart(self._source.name, f"run {own.id}", f"its execution {label}")
            if there.calls != trace.calls or there.root != trace.root:
                _check_not_apart(self._source.name, trace, there)
                self._calls += max(len(trace.calls) - len(there.calls), 0)
                if len(trace.calls) >= len(there.calls):
                    yield from trace_events(trace)

    def _new(self, own: Run, label: str, position: int, trace: Trace) -> Iterator[Event]:
        if self._reader.long_runs.refers(own.id, trace.id):
            yield TraceReused(own.id, label, position, trace.id)
            return
        self._traces += 1
        self._calls += len(trace.calls)
        yield TraceOpened(own.id, label, position, trace)
        yield from trace_events(trace)

    def _copy_acts(self, run: str) -> None:
        there = {given.event for given in self._target.acts(run)}
        self._append(given.event for given in self._source.acts(run) if given.event not in there)

    def _copy_scores(self) -> int:
        count = 0
        for trace in self._reader.long_runs.scored():
            own, there = self._reader.scores(trace), list(self._target.scores(trace))
            missing = []
            for score in own:
                if score in there:
                    there.remove(score)
                else:
                    missing.append(score)
            self._append(missing)
            count += len(missing)
        return count

    def _keep_data(self, digest: str) -> None:
        """Store a data set that a run was started with, if the source has it whole."""
        try:
            parts = self._reader.datasets.splits(digest)
        except NotFound:
            return
        if list(parts) == [""]:
            self._target.keep_dataset(Dataset(digest, parts[""]))

    def _copy_names(
        self, ours: Mapping[str, MovedName], theirs: Mapping[str, MovedName]
    ) -> Iterator[str]:
        for name, state in theirs.items():
            own = ours.get(name, MovedName(name))
            decision = self._decisions.of(name, self._source.name, self._target.name)
            merged = merged_name(own, state, decision)
            if merged is not None and merged.target != own.target:
                parts = self._reader.datasets.splits(name)
                origins = self._reader.datasets.origins(name)
                rows = parts[""] if list(parts) == [""] else parts
                self._target.put_dataset(name, rows, origins=origins)
                yield name

    def _move_refs(
        self, ours: Mapping[str, MovedName], theirs: Mapping[str, MovedName]
    ) -> Iterator[str]:
        """Append the moves that the target lacks, and last the one to where the ref points now."""
        for name, state in theirs.items():
            own = ours.get(name, MovedName(name))
            decision = self._decisions.of(name, self._source.name, self._target.name)
            merged = merged_name(own, state, decision)
            if merged is None or merged == own:
                continue
            moves = [move for move in merged.log if move not in own.log]
            if moves and moves[-1].after != merged.target:
                moves.append(attrs.evolve(moves[-1], after=merged.target))
            target = own.target
            events = []
            for move in moves:
                # A ref that isn't there can't be deleted: nothing of it is lost.
                if move.after or target:
                    events.append(RefMoved(name, move.after, move.why, move.at, move.who, target))
                    target = move.after
            self._append(events)
            if merged.target != own.target:
                yield name

    def _check_decided(
        self, *kinds: tuple[Mapping[str, MovedName], Mapping[str, MovedName]]
    ) -> None:
        known = {name for kind in kinds for names in kind for name in names}
        for name in self._decisions.sides:
            if name not in known:
                raise UnknownVersion(name, tuple(sorted(known)))
        undecided = []
        for ours, theirs in kinds:
            for name in sorted(ours.keys() & theirs.keys()):
                decision = self._decisions.of(name, self._source.name, self._target.name)
                if merged_name(ours[name], theirs[name], decision) is None:
                    undecided.append((name, ours[name].target, theirs[name].target))
        if undecided:
            raise RefsDisagree(self._target.name, self._source.name, tuple(undecided))


def _known(there: Reader, run: str) -> Run | None:
    """Return a run of the target, ``None`` if it has none of that very id."""
    try:
        found = there.run(run)
    except NotFound:
        return None
    return found if found.id == run else None


def _is_same(own: Run, known: Run) -> bool:
    ended = own.status != "open" and (own.status, own.ended) == (known.status, known.ended)
    return ended and len(own) == len(known)


def _check_not_apart(source: str, trace: Trace, there: Trace) -> None:
    """Raise ``RunsDisagree`` if a call was answered in both stores, otherwise."""
    answers = {(call.address, call.attempt): call.outcome for call in there.calls}
    for call in trace.calls:
        other = answers.get((call.address, call.attempt))
        if other is not None and call.outcome is not None and call.outcome != other:
            raise apart(source, f"execution {trace.id}", f"its call {call.address}")


def _places(run: Run) -> dict[str, int]:
    """Return the positions of executions by label, of a run that lacks some of its plan."""
    if len(run.wanted) in {0, len(run)}:
        return {}
    return {execution.label: at for at, execution in enumerate(run.wanted)}


def _digests(run: Run) -> Sequence[str]:
    data = run.config.get("data")
    if data is None:
        return ()
    return tuple(data.values()) if isinstance(data, Mapping) else (str(data),)


def _run_ids(reader: Reader) -> list[str]:
    """Return the ids of all runs, oldest first."""
    ids: list[str] = []
    while page := reader.runs(_PAGE, ids[-1] if ids else ""):
        ids += [run.id for run in page]
    return ids[::-1]


def _refs(reader: Reader) -> dict[str, MovedName]:
    moves: dict[str, list[Move]] = {}
    for move in reversed(reader.versions.reflog("", _ALL)):
        own = Move(move.at, move.before or "", move.version, move.why, move.who)
        moves.setdefault(move.name, []).append(own)
    targets = dict.fromkeys(moves, "") | dict(reader.refs())
    return {
        name: MovedName(name, target, tuple(moves.get(name, ())))
        for name, target in targets.items()
    }


def _names(reader: Reader) -> dict[str, MovedName]:
    """Return what the names of data sets point at; when they were moved isn't compared."""
    return {each.name: MovedName(each.name, each.digest) for each in reader.datasets.names()}

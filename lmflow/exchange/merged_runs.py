"""Merges the runs of shards into the run that all examples together would have been."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.shards import has_place, places_of
from lmflow.errors import NotShards, check_kind
from lmflow.traces.paged import Paged
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record, digest

_FIX = "Run each with the same program, version and data: lmflow eval ... --shard k/n."
_TIME = 10  # characters of an id that say when it was made
_END = 7

Item = tuple[str, Trace]


def merge_runs(*runs: Run) -> Run:
    """Merge the runs of all shards of a map or an evaluation.

    Labels, order and root are those of the run without shards. The order of ``runs`` doesn't
    matter. Nothing is recorded; ``lmflow runs merge`` does both.

    Args:
        *runs: The runs of all shards, each finished.

    Returns:
        The run of all examples. Its executions are those of the shards.

    Raises:
        NotShards: The runs aren't all the shards of one run, or one isn't finished.
        TypeError: Something isn't a run.

    Example:
        >>> import asyncio
        >>> import lmflow as lf
        >>> answer = lf.predict("answer", "question -> reply")
        >>> rows = [{"question": f"{n}?"} for n in range(5)]
        >>> def mapped(rows):
        ...     model = lf.scripted(lambda request: request.messages[-1].content)
        ...     with lf.Sync(model) as ex:
        ...         return ex.map(answer, rows, progress=lf.silent)
        >>> shards = [mapped(lf.shard(rows, f"{k}/2")) for k in (1, 2)]
        >>> lf.merge_runs(*shards).root == mapped(rows).root
        True
    """
    for run in runs:
        check_kind("a run", run, Run, "It is what ex.map, ex.evaluate or store.run(ID) gives.")
    parts = _parts(runs)
    first = parts[0].run
    config = {name: value for name, value in first.config.items() if name != "shard"}
    if "data" in config:
        config["data"] = parts[0].settings["data"]
    return Run(
        _id_of(runs),
        first.kind,
        first.name,
        _items(parts),
        first.target,
        "done",
        min(run.started for run in runs),
        max(run.ended for run in runs),
        config=Record(config | {"shards": sorted(run.id for run in runs)}),
    )


@attrs.frozen(eq=False)
class _Part:
    """The run of a shard, its settings, and the places of its examples among all."""

    run: Run
    settings: Mapping[str, Any]
    places: bytes


def _parts(runs: Sequence[Run]) -> list[_Part]:
    """Return the parts in the order of their shards. Raises ``NotShards``."""
    if not runs:
        raise NotShards("there are none", "Give the runs of all shards.")
    parts = sorted(map(_part, runs), key=lambda part: int(part.settings["index"]))
    first = parts[0]
    for part in parts[1:]:
        if (name := _difference(first, part)) is not None:
            problem = f"runs {first.run.id} and {part.run.id} differ in their {name}"
            raise NotShards(problem, _FIX)
    indexes = [int(part.settings["index"]) for part in parts]
    missing = sorted(set(range(1, int(first.settings["of"]) + 1)) - set(indexes))
    if missing:
        name = f"{missing[0]}/{first.settings['of']}"
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        fix = f"Run it, --shard {name}, or bring its store here: lmflow pull STORE."
        raise NotShards(f"shard {name} is missing{more}", fix)
    twice = next((index for index in indexes if indexes.count(index) > 1), None)
    if twice is not None:
        names = " and ".join(p.run.id for p in parts if p.settings["index"] == twice)
        raise NotShards(f"both {names} are shard {twice}", "Leave one out.")
    return parts


def _part(run: Run) -> _Part:
    settings = run.config.get("shard")
    if not isinstance(settings, Mapping):
        raise NotShards(f"run {run.id} isn't a shard", _FIX)
    if run.status != "done":
        fix = f"Finish it first: lmflow resume {run.id}."
        raise NotShards(f"run {run.id}, shard {settings['index']}, isn't finished", fix)
    try:
        return _Part(run, settings, places_of(settings))
    except (ValueError, LookupError, TypeError) as error:
        raise NotShards(f"the settings of run {run.id} can't be read ({error})", _FIX) from None


def _difference(one: _Part, other: _Part) -> str | None:
    """Name what two parts should have in common and don't have; ``None`` if they are alike."""
    for name in ("of", "total", "data"):
        if one.settings[name] != other.settings[name]:
            return {"of": "number of shards"}.get(name, "data")
    for name in ("kind", "name"):
        if getattr(one.run, name) != getattr(other.run, name):
            return name
    for name in ("version", "samples", "metric", "metrics"):
        if one.run.config.get(name) != other.run.config.get(name):
            return name
    if len({_executed(part.run) for part in (one, other) if len(part.run)}) > 1:
        return "program or version"
    return None


def _executed(run: Run) -> tuple[str, str]:
    _, trace = run.items[0]
    return trace.program, trace.version.id


def _items(parts: Sequence[_Part]) -> Sequence[Item]:
    """Return the executions of all parts in the order of the examples."""
    total = int(parts[0].settings["total"])
    owners, ranks = array("i", [0]) * total, array("q", [0]) * total
    counts = [0] * len(parts)
    for position in range(total):
        owner = _owner(parts, position)
        owners[position], ranks[position] = owner, counts[owner]
        counts[owner] += 1
    samples = int(parts[0].run.config.get("samples", 0)) or _samples(parts, counts)
    judged = any(len(part.run) > count * samples for part, count in zip(parts, counts, strict=True))
    reading = _Reading(parts, owners, ranks, samples)
    if judged:
        return (*reading.read(0, total * samples), *_rest(parts, reading, counts))
    if any(isinstance(part.run.items, Paged) for part in parts):
        return Paged(reading.read, total * samples)
    return tuple(reading.read(0, total * samples))


def _owner(parts: Sequence[_Part], position: int) -> int:
    """Return the part that has the example at a position."""
    owners = [at for at, part in enumerate(parts) if has_place(part.places, position)]
    if len(owners) != 1:
        problem = f"{len(owners)} of the runs have example {position}"
        raise NotShards(problem, _FIX)
    return owners[0]


def _samples(parts: Sequence[_Part], counts: Sequence[int]) -> int:
    """Return how often each example was executed."""
    for part, count in zip(parts, counts, strict=True):
        if count:
            return len(part.run) // count
    return 1


@attrs.frozen(eq=False)
class _Reading:
    """Reads the executions of all examples, wherever they are."""

    parts: Sequence[_Part]
    owners: array[int]
    ranks: array[int]
    samples: int

    def read(self, start: int, stop: int) -> list[Item]:
        """Return the executions from a position on, up to another."""
        return [self._at(*divmod(position, self.samples)) for position in range(start, stop)]

    def _at(self, example: int, sample: int) -> Item:
        items = self.parts[self.owners[example]].run.items
        place = self.ranks[example] * self.samples + sample
        if place >= len(items):
            run = self.parts[self.owners[example]].run
            problem = f"run {run.id} lacks an execution of example {example}"
            raise NotShards(problem, f"Finish it first: lmflow resume {run.id}.")
        return items[place]


def _rest(parts: Sequence[_Part], reading: _Reading, counts: Sequence[int]) -> Iterator[Item]:
    """Yield the executions of judges, one judge after the other, in the order of what they judge.

    Each part has those of the first judge, then those of the second, and so on.
    """
    later = [
        dict(part.run.items[count * reading.samples :])
        for part, count in zip(parts, counts, strict=True)
    ]
    suffixes: dict[str, None] = {}
    for part, items in zip(parts, later, strict=True):
        del part
        suffixes |= dict.fromkeys(label.rpartition("/")[2] for label in items)
    for suffix in _in_order(parts, suffixes):
        for position in range(len(reading.owners) * reading.samples):
            example, _ = divmod(position, reading.samples)
            label = reading.read(position, position + 1)[0][0]
            judged = f"{label}/{suffix}"
            if (trace := later[reading.owners[example]].get(judged)) is not None:
                yield judged, trace


def _in_order(parts: Sequence[_Part], suffixes: Mapping[str, None]) -> list[str]:
    """Return the ends of the labels of judges, in the order of the metrics."""
    from_config = [f"judge[{name}]" for name in parts[0].run.config.get("judges", ())]
    return sorted(
        suffixes, key=lambda end: (from_config.index(end) if end in from_config else -1, end)
    )


def _id_of(runs: Sequence[Run]) -> str:
    """Return an id that the same runs always give, and that sorts after theirs."""
    ids = sorted(run.id for run in runs)
    return f"{ids[-1][:_TIME]}z{digest('merged runs', ids).removeprefix('v1:b2:')[:_END]}"

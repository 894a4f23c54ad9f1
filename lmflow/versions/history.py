"""The history of a version: its ancestors, and the nearest ancestor that two versions share."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import attrs

from lmflow.errors import CyclicParent, MissingParent, UnknownVersion, short
from lmflow.values.moments import period_end, period_text
from lmflow.versions.version import Version
from lmflow.views.lines import counted

Get = Callable[[str], Version]

_REVISION = re.compile(r"(?P<start>[^~^@]+)(?:@\{(?P<at>[^{}]+)\})?(?P<moves>(?:[~^]\d{0,9})*)")
_MOVE = re.compile(r"([~^])(\d*)")


def lineage(version: Version, get: Get, *, whole: bool = True) -> Iterator[Version]:
    """The version and all its ancestors, each once, nearer ones and first parents first.

    Args:
        version: The version to start from.
        get: Finds a version by its id, such as ``store.version``.
        whole: Whether a parent that isn't stored is an error; else the line ends there.

    Raises:
        MissingParent: ``get`` doesn't find a parent.
        CyclicParent: ``get`` finds a version with another id. Ids hash the parents, so a cycle
            can't be made without a false id.
    """
    waiting, visited = deque([version]), {version.id}
    while waiting:
        yield (child := waiting.popleft())
        for parent in child.parents:
            if parent not in visited:
                visited.add(parent)
                waiting += _stored_parent(child, parent, get, whole=whole)


def _stored_parent(child: Version, parent: str, get: Get, *, whole: bool) -> tuple[Version, ...]:
    try:
        return (parent_of(child, parent, get),)
    except MissingParent:
        if whole:
            raise
        return ()


def parent_of(child: Version, parent: str, get: Get) -> Version:
    """The parent with an id. ``MissingParent`` or ``CyclicParent`` as for ``lineage``."""
    try:
        version = get(parent)
    except (UnknownVersion, KeyError):
        raise MissingParent(child.id, parent) from None
    if version.id != parent:
        raise CyclicParent(child.id, parent, version.id)
    return version


@attrs.frozen
class Revision:
    """A name of a version in parts, as in git: where it starts, and the moves from there.

    Args:
        start: A ref, an id or a short id.
        at: The text in ``REF@{...}``: a number of moves back in the reflog, or a time; else empty.
        moves: The moves: ``("~", N)`` goes N first parents back, ``("^", N)`` to the N-th parent.
    """

    start: str
    at: str = ""
    moves: tuple[tuple[str, int], ...] = ()


def revision(name: str) -> Revision:
    """Read the name of a version: ``prod``, ``prod~2``, ``prod^``, ``prod^2``, ``prod@{1}~``.

    ``~N`` goes N first parents back and ``^N`` to the N-th parent; both are 1 without a number, and
    ``^0`` is the version itself. Any other text is a name without moves.
    """
    match = _REVISION.fullmatch(name)
    if match is None:
        return Revision(name)
    moves = [(sign, int(digits or 1)) for sign, digits in _MOVE.findall(match["moves"])]
    effective = tuple((sign, number) for sign, number in moves if number)
    return Revision(match["start"], match["at"] or "", effective)


def ancestor(name: str, get: Get, at: Callable[[str, str], str] | None = None) -> Version:
    """The version of a name as ``revision`` reads it.

    Args:
        name: The name.
        get: Finds a version by ref or id.
        at: Finds the id that a ref pointed at, by the ref and the text in ``@{...}``.

    Raises:
        UnknownVersion: The line isn't that long, or there is no such parent or move.
        MissingParent: A parent isn't stored.
    """
    parts = revision(name)
    start = at(parts.start, parts.at) if parts.at and at else parts.start
    version = get(start)
    for sign, number in parts.moves:
        if sign == "^":
            version = nth_parent(name, version, number, get)
            continue
        for _ in range(number):
            if not version.parents:
                hint = f"The line of {parts.start!r} isn't that long."
                raise UnknownVersion(name, hint=hint)
            version = parent_of(version, version.parents[0], get)
    return version


def nth_parent(name: str, version: Version, number: int, get: Get) -> Version:
    """The N-th parent of a version, from 1; ``name`` is what a caller wrote.

    Raises:
        UnknownVersion: The version has fewer parents.
        MissingParent: The parent isn't stored.
    """
    count = len(version.parents)
    if number > count:
        parents = f"{count} parent{'' if count == 1 else 's'}"
        raise UnknownVersion(name, hint=f"Version {short(version.id)} has {parents}.")
    return parent_of(version, version.parents[number - 1], get)


def point_in_reflog(ref: str, at: str, moves: Sequence[tuple[int, str, str]], now: int) -> str:
    """The id that a ref pointed at: before its last N moves, or at a time.

    Args:
        ref: The ref.
        at: N, or a time as ``lmflow.values.moments.period_text`` reads it; a date means its end.
        moves: Each move of the ref, newest first: when, and the ids before and after; an id is
            empty if the ref didn't exist.
        now: The present, in nanoseconds since the epoch.

    Raises:
        UnknownVersion: The ref pointed nowhere then.
    """
    if at.isdecimal():
        id_ = _before_moves(moves, int(at))
        problem = f"{ref!r} was moved {counted(len(moves), 'time')}."
    else:
        try:
            end = period_end(period_text(at, now))
        except ValueError as error:
            hint = f"{error}. Or count the moves of the ref: {ref}@{{1}}."
            raise UnknownVersion(f"{ref}@{{{at}}}", hint=hint) from None
        id_ = next((after for when, _, after in moves if when < end), "")
        problem = f"{ref!r} pointed nowhere then."
    if not id_:
        hint = f"{problem} `lmflow reflog {ref}` lists where it pointed."
        raise UnknownVersion(f"{ref}@{{{at}}}", hint=hint)
    return id_


def _before_moves(moves: Sequence[tuple[int, str, str]], count: int) -> str:
    if not moves or count > len(moves):
        return ""
    return moves[count - 1][1] if count else moves[0][2]


def common_ancestor(ours: Version, theirs: Version, get: Get) -> Version | None:
    """The nearest common ancestor that is stored, whichever side comes first; ``None`` if the
    versions have none.

    Nearest means that no descendant of it is common too. Of several, the one with the smallest id.
    """
    shared = {v.id: v for v in lineage(ours, get, whole=False)}
    common = {v.id: v for v in lineage(theirs, get, whole=False) if v.id in shared}
    behind = {parent for v in common.values() for parent in v.parents}
    nearest = sorted(set(common) - behind)
    return common[nearest[0]] if nearest else None

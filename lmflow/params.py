"""Parameters apart from programs: immutable versions with content hashes and parents."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

from lmflow.adapters.known import NO_CHOICES, Choices
from lmflow.errors import BadRef, ForeignPaths
from lmflow.values import Record, digest, uncached

_REF = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,99}")
_ID = re.compile(r"[0-9a-f]{12,64}")

SAMPLES = 65_536

T = TypeVar("T")


@attrs.frozen(kw_only=True, slots=False)
class Version:
    """An immutable map ``"step.slot" -> value`` with a content hash and parents, like a commit.

    ``tree`` is the hash of the parameters alone (what the model sees); ``id`` adds parents, note and origin (path ->
    what produced it), so an optimizer that is run again gives the same id.
    """

    params: Record = attrs.field(factory=Record, converter=Record)
    parents: tuple[str, ...] = ()
    note: str = ""
    origin: Record = attrs.field(factory=Record, converter=Record)

    @functools.cached_property
    def tree(self) -> str:
        """The digest of the parameters."""
        return digest("tree", self.params)

    @functools.cached_property
    def id(self) -> str:
        """The digest of tree, parents, note and origin."""
        return digest("version", [self.tree, list(self.parents), self.note, self.origin])

    def __getitem__(self, path: str) -> Any:
        check_paths("the version", (path,), self.params)
        return self.params[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.params)

    def __contains__(self, path: object) -> bool:
        return path in self.params

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    def put(self, changes: Mapping[str, Any], *, note: str = "", origin: Mapping[str, Any] | None = None) -> Version:
        """A child version with ``changes`` (path -> value) made. ``ForeignPaths`` where it has no such path."""
        check_paths("the version", changes, self.params)
        return Version(params=self.params | changes, parents=(self.id,), note=note, origin=Record(origin or {}))

    def to_json(self) -> dict[str, Any]:
        """The version as JSON values; ``version_of`` reads it back."""
        return {
            "params": self.params,
            "parents": list(self.parents),
            "note": self.note,
            "origin": self.origin,
        }


def version_of(data: Mapping[str, Any]) -> Version:
    """The version that was stored as JSON values."""
    return Version(params=data["params"], parents=tuple(data["parents"]), note=data["note"], origin=data["origin"])


def check_paths(holder: str, paths: Iterable[str], known: Iterable[str], fix: str = "") -> None:
    """``ForeignPaths`` where ``holder``, which has the ``known`` paths, lacks one of ``paths``."""
    known = tuple(known)
    if foreign := tuple(path for path in paths if path not in known):
        raise ForeignPaths(holder, foreign, known, fix)


def check_ref(name: str) -> str:
    """The name of a ref. ``BadRef`` where it can't be one: it would read as an id, an option or ``REF~N``."""
    if not _REF.fullmatch(name) or _ID.fullmatch(name):
        raise BadRef(name)
    return name


@attrs.frozen
class Added:
    """In an overlay: a text that stands below the parameter's own, whatever that is, instead of replacing it."""

    text: str


def overlaid(params: Mapping[str, Any], overlay: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values that an overlay gives its paths: ``Added`` texts below those that ``params`` has."""
    return {
        path: "\n\n".join(part for part in (params[path], value.text) if part) if isinstance(value, Added) else value
        for path, value in overlay.items()
    }


@attrs.frozen
class Env:
    """The parameters that a frame sees: all of them, and the prefix under which its steps look theirs up.

    ``sample`` is what its requests carry; samples within samples are numbers of their own. ``made`` holds what was made
    of the parameters once, for all executions under them. ``adapters`` are for steps that don't say theirs.
    """

    params: Record
    prefix: str = ""
    sample: int = 0
    made: dict[Any, Any] = attrs.field(factory=dict, eq=False, repr=False)
    adapters: Choices = NO_CHOICES

    def __getitem__(self, path: str) -> Any:
        return self.params[self.prefix + path]

    def once(self, what: Any, make: Callable[[], T]) -> T:
        """What ``make`` makes of these parameters for ``what``; it is made once."""
        at = (self.prefix, what)
        if (found := self.made.get(at)) is None:
            found = self.made[at] = make()
        known: T = found
        return known

    def under(self, prefix: str, overlay: Mapping[str, Any], sample: int | None = None) -> Env:
        """The environment of a frame that is renamed, overlaid or sampled; overlay paths are those of the program in
        it.
        """
        if not prefix and not overlay and sample is None:
            return self
        changed = {self.prefix + path: value for path, value in overlay.items()}
        params = self.params | overlaid(self.params, changed) if changed else self.params
        number = self.sample if sample is None else self.sample * SAMPLES + sample
        return Env(params, self.prefix + prefix, number, {} if changed else self.made, self.adapters)

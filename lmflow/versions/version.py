"""Parameters apart from programs: immutable versions with content hashes and parents."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import attrs

from lmflow.errors import BadRef, ForeignFile, ForeignPaths, LmflowError, short
from lmflow.errors.missing_attributes import ExplainsAttributes
from lmflow.errors.options import PUT_OPTIONS, explains_options
from lmflow.values.attributes import uncached
from lmflow.values.interchange import JsonValue
from lmflow.values.media import attach_media
from lmflow.values.printing import printable
from lmflow.values.record import Record, digest, plain
from lmflow.values.unicode import well_formed
from lmflow.values.whole_files import write_whole
from lmflow.versions.bundle_text import bundle_text, parents_first
from lmflow.versions.version_text import parameter_table, version_text
from lmflow.views.lines import LINE_WIDTH, counted
from lmflow.views.page import page_html, page_markdown

_TO_DICT = "Give what to_dict() returned, unchanged."
# Slots of steps that choose, and descriptions of outputs.
_WITHOUT_DEFAULT = ("threshold", "weights", "outputs")
_NOTE = 60  # the characters of a note that a headline shows
_REF = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]|[./](?=[A-Za-z0-9_-])){0,99}")
_ID = re.compile(r"[0-9a-f]{12,64}")


@attrs.frozen(kw_only=True, slots=False, repr=False)
class Version(ExplainsAttributes, JsonValue):
    """An immutable map ``"step.slot" -> value`` with a content hash and parents, like a commit.

    Args:
        params: The parameters by path.
        parents: The ids of the versions that it was made from.
        note: A message for people.
        origin: For a path, what produced its value: a rollout and address, or an earlier path.

    Raises:
        BadValue: A parameter can't be frozen.
    """

    params: Record = attrs.field(factory=Record, converter=Record)
    parents: tuple[str, ...] = ()
    note: str = attrs.field(default="", converter=well_formed)
    origin: Record = attrs.field(factory=Record, converter=Record)

    @functools.cached_property
    def tree(self) -> str:
        """The digest of the parameters alone, which are all that a model sees."""
        return digest("tree", self.params)

    @functools.cached_property
    def id(self) -> str:
        """The digest of tree, parents, note and origin: an optimizer that runs again gives the same
        id.
        """
        return digest("version", [self.tree, list(self.parents), self.note, self.origin])

    # Executions are looked up by their version: hashing all parameters each time would cost more.
    def __hash__(self) -> int:
        return hash(self.id)

    def __getitem__(self, path: str) -> Any:
        check_paths("the version", (path,), self.params)
        return self.params[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.params)

    def __contains__(self, path: object) -> bool:
        return path in self.params

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    def __setitem__(self, path: str, value: object) -> NoReturn:
        del value
        msg = f"a version is a value: make another, version.put({{{path!r}: ...}})"
        raise TypeError(msg)

    @explains_options(PUT_OPTIONS)
    def put(
        self, changes: Mapping[str, Any], *, note: str = "", origin: Mapping[str, Any] | None = None
    ) -> Version:
        """Make a child version with other values.

        Args:
            changes: New values by path.
            note: The note of the child.
            origin: For a path, what produced its new value.

        Raises:
            ForeignPaths: The version has no such path. ``step.threshold``, ``step.weights``
                and ``step.outputs`` need only the step: they have no default.

        Example:
            >>> version = lf.Version(params={"answer.instruction": "Answer."})
            >>> child = version.put({"answer.instruction": "Answer briefly."}, note="shorter")
            >>> child.parents == (version.id,)
            True
        """
        own = [path for path in changes if not _is_optional(path, self.params)]
        check_paths("the version", own, self.params)
        return Version(
            params=self.params | changes, parents=(self.id,), note=note, origin=Record(origin or {})
        )

    def __repr__(self) -> str:
        return f"<{self._headline}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return page_html((self._headline,), parameter_table(self.params))

    def _repr_markdown_(self) -> str:
        return page_markdown((self._headline,), parameter_table(self.params))

    @property
    def _headline(self) -> str:
        note = f", {printable(self.note, _NOTE)}" if self.note else ""
        return f"Version {short(self.id)}: {counted(len(self.params), 'parameter')}{note}"

    def text(self, *, refs: str = "", kept: str = "", scores: str = "") -> str:
        """The version as ``lmflow show`` prints it: what is known of it, then each parameter.

        Args:
            refs: The refs that point at it.
            kept: When it was stored, and by whom.
            scores: The means of its scores.
        """
        head = {
            "version": self.id,
            "refs": refs,
            "tree": short(self.tree),
            "parents": ", ".join(map(short, self.parents)),
            "kept": kept,
            "note": printable(self.note, LINE_WIDTH),
            "scores": scores,
        }
        return version_text(head, self.params)

    def to_dict(self) -> dict[str, Any]:
        """Return the version as new JSON values: its id, params, parents, note and origin."""
        values: dict[str, Any] = plain({"id": self.id, **self.to_json()})
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Version:
        """Make the version from the JSON values of ``to_dict``.

        Args:
            data: The values; the id may be left out.

        Returns:
            The version.

        Raises:
            ForeignFile: They are not those of a version, or hash to another id.
        """
        return checked_version(data, "the JSON of a version", _TO_DICT)

    def save(self, path: Path | str, *, ancestors: Iterable[Version] = ()) -> Path:
        """Write the version to a file that ``lf.load`` and ``lmflow import`` read.

        Args:
            path: The file; it is replaced as a whole, or not at all.
            ancestors: Earlier versions to write with it: ``lf.lineage(version, store.version)``.

        Returns:
            The path.

        Raises:
            StoreError: The file can't be written.
            NoContent: The content of a picture, sound or file in the parameters isn't here.
        """
        write_whole(path, bundle_text(parents_first([self, *ancestors]), {}))
        return Path(path)

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
    return Version(
        params=data["params"],
        parents=tuple(data["parents"]),
        note=data["note"],
        origin=data["origin"],
    )


def checked_version(data: Any, source: str, fix: str) -> Version:
    """The version of JSON values that were read from somewhere. ``ForeignFile`` unless they are
    those of a version, and hash to its id if they name one.
    """
    if not isinstance(data, Mapping):
        raise ForeignFile(source, f"a version is a {type(data).__qualname__}", fix)
    values = {"parents": (), "note": "", "origin": {}, **attach_media(dict(data), lambda _: None)}
    name = f"version {short(str(values.get('id', '')))}".strip()
    try:
        version = version_of(values)
        actual_id = version.id
    except LmflowError as error:
        raise ForeignFile(source, f"{name} holds what no version can ({error})", fix) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"a part of {name} is missing or malformed ({error})"
        raise ForeignFile(source, problem, fix) from None
    if values.get("id", actual_id) != actual_id:
        raise ForeignFile(source, f"{name} hashes to {short(actual_id)}: it was changed", fix)
    return version


def check_paths(holder: str, paths: Iterable[str], known: Iterable[str], fix: str = "") -> None:
    """Raise ``ForeignPaths`` if one of ``paths`` isn't among the ``known`` paths of ``holder``."""
    known = tuple(known)
    foreign = tuple(path for path in paths if path not in known)
    if foreign:
        raise ForeignPaths(holder, foreign, known, fix)


def _is_optional(path: str, params: Mapping[str, Any]) -> bool:
    """Tell whether a path is one without default of a step that has parameters."""
    step, _, slot = path.rpartition(".")
    return slot in _WITHOUT_DEFAULT and any(known.rpartition(".")[0] == step for known in params)


def check_ref(name: Any) -> str:
    """The name of a ref. ``BadRef`` if a ref can't have it, since it would be read as an id, an
    option or ``REF~N``.
    """
    if not isinstance(name, str) or not _REF.fullmatch(name) or _ID.fullmatch(name.lower()):
        raise BadRef(name)
    return name

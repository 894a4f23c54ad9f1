"""Versions from a file, whose ids prove its content."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import BadMedia, BadRef, BadValue, ForeignFile, LmflowError, near, short
from lmflow.values.json_text import parse
from lmflow.values.media import attach_media
from lmflow.versions.bundle_text import (
    FORMAT,
    absent_parents,
    bundle_text,
    json_text,
    parents_first,
)
from lmflow.versions.version import Version, check_ref, version_of

__all__ = ["FORMAT", "Bundle", "bundle", "from_text", "json_text", "load", "read_json", "to_text"]

_FIX = "Write it with version.save(path) or `lmflow export`. Nothing was imported."
_EXPORT_AGAIN = "Export it anew from where it came from. Nothing was imported."
_SQLITE = b"SQLite format 3\0"


@attrs.frozen
class Bundle:
    """Versions, parents before children, and refs (name -> version id)."""

    versions: tuple[Version, ...] = ()
    refs: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def absent(self) -> tuple[str, ...]:
        """The ids of parents that the bundle lacks, in order."""
        return absent_parents(self.versions)

    @property
    def tips(self) -> tuple[Version, ...]:
        """The versions that are not parents of others in the bundle."""
        parents = {parent for version in self.versions for parent in version.parents}
        return tuple(version for version in self.versions if version.id not in parents)

    def find(self, name: str, file: str) -> Version:
        """Return the version that a ref, an id or the beginning of an id names; without a name the
        only tip. ``ForeignFile`` if there is none, or more than one.
        """
        candidates = self.tips if not name else self._named(name)
        if len(candidates) == 1:
            return candidates[0]
        known = [*self.refs, *(short(version.id) for version in self.versions)]
        if name:
            problem = f"{len(candidates) or 'no'} versions in it are called {name!r}"
            raise ForeignFile(file, problem, near(name, known).strip() or _names(known))
        problem = f"it has {len(candidates)} latest versions"
        raise ForeignFile(file, problem, f"Name one, lf.load(path, name). {_names(known)}")

    def _named(self, name: str) -> tuple[Version, ...]:
        if name in self.refs:
            return tuple(version for version in self.versions if version.id == self.refs[name])
        starts = (name, f"v1:b2:{name}")
        return tuple(version for version in self.versions if version.id.startswith(starts))


def load(path: Path | str, name: str = "") -> Version:
    """Read a version from a file that ``version.save`` or ``lmflow export`` wrote.

    Args:
        path: The file.
        name: A ref, an id or the beginning of an id, if the file has several latest versions.

    Returns:
        The version. Its pictures, sounds and files have their content.

    Raises:
        ForeignFile: The file can't be read, is something else, was changed, or has no such version.

    Example:
        >>> import tempfile
        >>> import lmflow as lf
        >>> version = lf.Version(params={"answer.instruction": "Answer."}, note="first")
        >>> file = version.save(f"{tempfile.mkdtemp()}/answer.json")
        >>> lf.load(file) == version
        True
    """
    return from_text(_text_of(path), str(path)).find(name, str(path))


def bundle(versions: Iterable[Version], refs: Mapping[str, str]) -> Bundle:
    """The versions, each once, parents before children, with the refs that point at one of them."""
    ordered = parents_first(versions)
    ids = {version.id for version in ordered}
    return Bundle(ordered, {name: id_ for name, id_ in sorted(refs.items()) if id_ in ids})


def to_text(versions: Bundle) -> str:
    """The bundle as JSON text; ``from_text`` reads it back with the same ids. ``NoContent`` if the
    content of a picture, sound or file isn't here.
    """
    return bundle_text(versions.versions, versions.refs)


def from_text(text: str, file: str) -> Bundle:
    """The bundle in a text. ``ForeignFile`` if the text isn't one, or an id isn't that of its
    content.
    """
    data = read_json(text, file)
    if data.get("format") != FORMAT:
        problem = f"its format is {data.get('format')!r:.80}, expected {FORMAT!r}"
        fix = "A program saved by DSPy is read with --format dspy." if "metadata" in data else _FIX
        raise ForeignFile(file, problem, fix)
    try:
        read = _bundle_of(data, file)
        absent = set(data["absent"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForeignFile(file, f"a part is missing or malformed ({error})", _FIX) from None
    except (BadMedia, BadValue) as error:
        raise ForeignFile(file, str(error), _EXPORT_AGAIN) from None
    except RecursionError:
        raise ForeignFile(file, "it is nested too deeply", _FIX) from None
    except BadRef as error:
        raise ForeignFile(file, "it has a ref that can't be one", str(error)) from None
    expected = absent | {version.id for version in read.versions}
    for id_ in (*read.absent, *read.refs.values()):
        if id_ not in expected:
            problem = f"version {short(id_)} is referred to and isn't in it"
            raise ForeignFile(file, problem, _FIX)
    return read


def read_json(text: str, file: str) -> dict[str, Any]:
    """The JSON object in a text. ``ForeignFile`` if the text isn't one."""
    try:
        data = parse(text)
    except ValueError as error:
        raise ForeignFile(file, f"it is not JSON ({error})", _FIX) from None
    if not isinstance(data, dict):
        raise ForeignFile(file, "it is not a JSON object", _FIX)
    return data


def _text_of(path: Path | str) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ForeignFile(str(path), f"it can't be read ({reason})", _FIX) from None
    if content.startswith(_SQLITE):
        fix = "Read a run by lf.load_run(path), a store by lf.SqliteStore(path)."
        raise ForeignFile(str(path), "it is an SQLite file, as stores and saved runs are", fix)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ForeignFile(str(path), f"it isn't UTF-8 ({error.reason})", _FIX) from None


def _names(known: Iterable[str]) -> str:
    return f"It has {', '.join(known) or 'none'}."


def _bundle_of(data: dict[str, Any], file: str) -> Bundle:
    contents = {
        str(digest): base64.b64decode(text, validate=True)
        for digest, text in data.get("media", {}).items()
    }
    versions = tuple(_version(attach_media(item, contents.get), file) for item in data["versions"])
    refs = {check_ref(name): str(id_) for name, id_ in dict(data["refs"]).items()}
    return Bundle(versions, refs)


def _version(item: dict[str, Any], file: str) -> Version:
    name = f"version {short(str(item['id']))}"
    try:
        version = version_of(item)
        actual_id = version.id
    except LmflowError as error:
        raise ForeignFile(file, f"{name} holds what no version can ({error})", _FIX) from None
    if actual_id != item["id"]:
        problem = f"{name} hashes to {short(actual_id)}: it was changed"
        raise ForeignFile(file, problem, _EXPORT_AGAIN)
    return version

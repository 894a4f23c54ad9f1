"""Versions as a file: JSON that people can read, that is the same for equal versions, and whose ids
prove its content.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadMedia, BadRef, BadValue, ForeignFile, LmflowError, short
from lmflow.values.json_text import parse
from lmflow.values.media import attach_media, media_in
from lmflow.values.record import plain
from lmflow.values.unicode import escape_surrogates
from lmflow.versions.version import Version, check_ref, version_of

FORMAT = "lmflow-version/1"


@attrs.frozen
class Bundle:
    """Versions, parents before children, and refs (name -> version id)."""

    versions: tuple[Version, ...] = ()
    refs: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def absent(self) -> tuple[str, ...]:
        """The ids of parents that the bundle lacks, in order."""
        here = {version.id for version in self.versions}
        return tuple(
            sorted({parent for version in self.versions for parent in version.parents} - here)
        )


def bundle(versions: Iterable[Version], refs: Mapping[str, str]) -> Bundle:
    """The versions, each once, parents before children, with the refs that point at one of them."""
    by_id = {version.id: version for version in versions}
    ordered: dict[str, Version] = {}
    for start in sorted(by_id):
        stack = [start]
        while stack:
            parents = [p for p in by_id[stack[-1]].parents if p in by_id and p not in ordered]
            if parents:
                stack.append(parents[0])
            else:
                ordered.setdefault(stack[-1], by_id[stack.pop()])
    kept_refs = {name: id_ for name, id_ in sorted(refs.items()) if id_ in by_id}
    return Bundle(tuple(ordered.values()), kept_refs)


def to_text(versions: Bundle) -> str:
    """The bundle as JSON text; ``from_text`` reads it back with the same ids.

    The text has the content of each picture, sound and file once, as base64 by digest.
    ``NoContent`` if a content isn't here.
    """
    data = {
        "format": FORMAT,
        "refs": dict(versions.refs),
        "absent": list(versions.absent),
        "versions": [
            {"id": version.id, **plain(version.to_json())} for version in versions.versions
        ],
    }
    if contents := _contents(versions):
        data["media"] = contents
    return json_text(data)


def json_text(data: Any) -> str:
    """JSON text for people: indented, with only those characters escaped that UTF-8 lacks."""
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    return escape_surrogates(text) + "\n"


def from_text(text: str, file: str) -> Bundle:
    """The bundle in a text. ``ForeignFile`` if the text isn't one, or an id isn't that of its
    content.
    """
    data = read_json(text, file)
    if data.get("format") != FORMAT:
        problem = f"its format is {data.get('format')!r}, expected {FORMAT!r}"
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


def _bundle_of(data: dict[str, Any], file: str) -> Bundle:
    contents = {
        str(digest): base64.b64decode(text, validate=True)
        for digest, text in data.get("media", {}).items()
    }
    versions = tuple(_version(attach_media(item, contents.get), file) for item in data["versions"])
    refs = {check_ref(name): str(id_) for name, id_ in dict(data["refs"]).items()}
    return Bundle(versions, refs)


def read_json(text: str, file: str) -> dict[str, Any]:
    """The JSON object in a text. ``ForeignFile`` if the text isn't one."""
    try:
        data = parse(text)
    except ValueError as error:
        raise ForeignFile(file, f"it is not JSON ({error})", _FIX) from None
    if not isinstance(data, dict):
        raise ForeignFile(file, "it is not a JSON object", _FIX)
    return data


_FIX = "Write it with `lmflow export`. Nothing was imported."
_EXPORT_AGAIN = "Export it anew from where it came from. Nothing was imported."


def _contents(versions: Bundle) -> dict[str, str]:
    """The content of each picture, sound and file as base64, by digest."""
    contents = {}
    for version in versions.versions:
        for media in media_in(version.params):
            if media.known and media.digest not in contents:
                contents[media.digest] = base64.b64encode(media.data).decode("ascii")
    return dict(sorted(contents.items()))


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

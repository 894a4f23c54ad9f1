"""Versions as a file: JSON that a person can read, that doesn't change by itself, and that proves
its own ids.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadMedia, BadRef, ForeignFile, LmflowError, short
from lmflow.values.media import attached, media_in
from lmflow.values.record import plain
from lmflow.versions.version import Version, check_ref, version_of

FORMAT = "lmflow-version/1"

_SURROGATE = re.compile("[\ud800-\udfff]")


@attrs.frozen
class Bundle:
    """Versions, parents before children, and refs: name -> version id. ``absent`` are parents that
    aren't in it.
    """

    versions: tuple[Version, ...] = ()
    refs: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def absent(self) -> tuple[str, ...]:
        """The ids of parents that aren't in the bundle, in order."""
        here = {version.id for version in self.versions}
        return tuple(
            sorted({parent for version in self.versions for parent in version.parents} - here)
        )


def bundle(versions: Iterable[Version], refs: Mapping[str, str]) -> Bundle:
    """The versions, each once, parents before children, with those refs that point at one of them."""
    found = {version.id: version for version in versions}
    ordered: dict[str, Version] = {}
    for start in sorted(found):
        stack = [start]
        while stack:
            parents = [p for p in found[stack[-1]].parents if p in found and p not in ordered]
            if parents:
                stack.append(parents[0])
            else:
                ordered.setdefault(stack[-1], found[stack.pop()])
    return Bundle(
        tuple(ordered.values()), {name: id_ for name, id_ in sorted(refs.items()) if id_ in found}
    )


def to_text(versions: Bundle) -> str:
    """The bundle as JSON text; ``from_text`` reads it back with the same ids.

    The contents of pictures, sounds and files in it stand there once each, as base64 by digest.
    ``NoContent`` where one isn't here.
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
    """JSON text for people: indented, characters as they are, but for those that have no UTF-8."""
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def from_text(text: str, file: str) -> Bundle:
    """The bundle that was written. ``ForeignFile`` where the text isn't one, or an id isn't that of
    its content.
    """
    data = read_json(text, file)
    if data.get("format") != FORMAT:
        found = f"its format is {data.get('format')!r}, expected {FORMAT!r}"
        fix = "A program saved by DSPy is read with --format dspy." if "metadata" in data else _FIX
        raise ForeignFile(file, found, fix)
    try:
        contents = {
            str(named): base64.b64decode(text, validate=True)
            for named, text in data.get("media", {}).items()
        }
        versions = tuple(_version(attached(item, contents.get), file) for item in data["versions"])
        read = Bundle(
            versions, {check_ref(name): str(id_) for name, id_ in dict(data["refs"]).items()}
        )
        told = set(data["absent"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForeignFile(file, f"a part is missing or malformed ({error})", _FIX) from None
    except BadMedia as error:
        raise ForeignFile(
            file, str(error), "Export it anew from where it came from. Nothing was imported."
        ) from None
    except BadRef as error:
        raise ForeignFile(file, "it has a ref that can't be one", str(error)) from None
    here = {version.id for version in versions}
    if lost := [id_ for id_ in (*read.absent, *read.refs.values()) if id_ not in here | told]:
        raise ForeignFile(file, f"version {short(lost[0])} is referred to and isn't in it", _FIX)
    return read


def read_json(text: str, file: str) -> dict[str, Any]:
    """The JSON object in a text. ``ForeignFile`` where it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ForeignFile(file, f"it is no JSON ({error})", _FIX) from None
    if not isinstance(data, dict):
        raise ForeignFile(file, "it is no JSON object", _FIX)
    return data


_FIX = "Write it with `lmflow export`. Nothing was imported."


def _contents(versions: Bundle) -> dict[str, str]:
    held = {
        media.digest: media
        for version in versions.versions
        for media in media_in(version.params)
        if media.known
    }
    return {
        named: base64.b64encode(media.data).decode("ascii") for named, media in sorted(held.items())
    }


def _version(item: dict[str, Any], file: str) -> Version:
    try:
        version = version_of(item)
        found = version.id
    except (LmflowError, RecursionError) as error:
        raise ForeignFile(
            file, f"version {short(str(item['id']))} holds what no version can ({error})", _FIX
        ) from None
    if found != item["id"]:
        problem = f"version {short(str(item['id']))} hashes to {short(found)}: it was changed"
        raise ForeignFile(
            file, problem, "Export it anew from where it came from. Nothing was imported."
        )
    return version

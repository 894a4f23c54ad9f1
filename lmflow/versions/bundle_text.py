"""The text of a file of versions: JSON that people can read, the same for equal versions."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.values.media import media_in
from lmflow.values.record import plain
from lmflow.values.unicode import escape_surrogates

FORMAT = "lmflow-version/1"


Storable = Any
"""A version: its module imports this one, so its class can't be named here."""


def parents_first(versions: Iterable[Storable]) -> tuple[Any, ...]:
    """The versions, each once, parents before children; otherwise in the order of their ids."""
    by_id = {version.id: version for version in versions}
    ordered: dict[str, Storable] = {}
    for start in sorted(by_id):
        stack = [start]
        while stack:
            parents = [p for p in by_id[stack[-1]].parents if p in by_id and p not in ordered]
            if parents:
                stack.append(parents[0])
            else:
                ordered.setdefault(stack[-1], by_id[stack.pop()])
    return tuple(ordered.values())


def absent_parents(versions: Iterable[Storable]) -> tuple[str, ...]:
    """The ids of parents that are not among the versions, in order."""
    several = tuple(versions)
    here = {version.id for version in several}
    return tuple(sorted({parent for version in several for parent in version.parents} - here))


def bundle_text(versions: Sequence[Storable], refs: Mapping[str, str]) -> str:
    """Versions and refs as JSON text.

    The text has the content of each picture, sound and file once, as base64 by digest.
    ``NoContent`` if a content isn't here.
    """
    data = {
        "format": FORMAT,
        "refs": dict(refs),
        "absent": list(absent_parents(versions)),
        "versions": [{"id": version.id, **plain(version.to_json())} for version in versions],
    }
    if contents := _contents(versions):
        data["media"] = contents
    return json_text(data)


def json_text(data: Any) -> str:
    """JSON text for people: indented, with only those characters escaped that UTF-8 lacks."""
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    return escape_surrogates(text) + "\n"


def _contents(versions: Iterable[Storable]) -> dict[str, str]:
    """The content of each picture, sound and file as base64, by digest."""
    contents = {}
    for version in versions:
        for media in media_in(version.params):
            if media.known and media.digest not in contents:
                contents[media.digest] = base64.b64encode(media.data).decode("ascii")
    return dict(sorted(contents.items()))

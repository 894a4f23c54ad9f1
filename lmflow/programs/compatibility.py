"""Whether a version fits a program as it is now: paths, demonstrations, defaults that have changed
since.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lmflow.errors import UnfitDemos, WrongType, clipped
from lmflow.programs.program import Program, completed
from lmflow.values.record import Record
from lmflow.versions.diff import same
from lmflow.versions.version import Version

_DEFAULTS = "defaults of "
_KINDS: Mapping[str, tuple[type, str]] = MappingProxyType({
    "instruction": (str, "a text"), "model": (str, "a text"), "adapter": (str, "a text"),
    "options": (Mapping, 'a mapping, {"temperature": 0}'), "demos": (tuple, "a list of demonstrations"),
    "pool": (tuple, "a list of demonstrations"),
})  # fmt: skip


def checked_params(program: Program, version: Version | None) -> Record:
    """The parameters that the program runs with, as ``completed`` says them.

    ``ForeignPaths`` where the version has paths that the program doesn't, ``WrongType`` where a
    value is of another kind than its slot's, ``UnfitDemos`` where its demonstrations hold no output
    of their step: the signature has changed since.
    """
    params = completed(program, version)
    for name, step in program.predictors.items():
        outputs = {field.name for field in step.signature.outputs}
        for slot in step.slots.keys() & _KINDS.keys():
            kind, words = _KINDS[slot]
            _of_kind(f"{name}.{slot}", params[f"{name}.{slot}"], kind, words)
        for slot in step.slots.keys() & {"demos", "pool"}:
            for place, demo in enumerate(params[f"{name}.{slot}"]):
                _of_kind(
                    f"{name}.{slot}[{place}]", demo, Mapping, "a mapping of field names to values"
                )
                if outputs.isdisjoint(demo):
                    raise UnfitDemos(f"{name}.{slot}", tuple(demo), tuple(sorted(outputs)))
    return params


def _of_kind(where: str, value: object, kind: type, words: str) -> None:
    if not isinstance(value, kind):
        raise WrongType(where, clipped(repr(value), 60), words)


def stale(program: Program, version: Version, first: Version) -> Record:
    """The paths at which a version holds a default that the code has changed since: path -> the
    default then and now.

    ``first`` is the first version of its line; only where that is a program's defaults is anything
    known of them.
    """
    if first.parents or not first.note.startswith(_DEFAULTS):
        return Record()
    now = program.defaults
    kept = (
        path
        for path, value in version.params.items()
        if same(first.params.get(path), value) and path in now
    )
    found: Mapping[str, Any] = {
        path: {"then": version.params[path], "now": now[path]} for path in kept
    }
    return Record(
        {path: sides for path, sides in found.items() if not same(sides["then"], sides["now"])}
    )

"""Checks that a version fits a program: paths, kinds of values, demonstrations, stale defaults."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.errors import UnfitDemos, WrongType, clipped, safe_repr
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.values.record import Record
from lmflow.versions.changes import same
from lmflow.versions.version import Version

_DEFAULTS = "defaults of "
_KINDS: Mapping[str, tuple[Any, str]] = MappingProxyType({
    "instruction": (str, "a text"), "model": (str, "a text"),
    "adapter": (str | Adapter, "an adapter or its name"),
    "options": (Mapping, 'a mapping, {"temperature": 0}'),
    "demos": (tuple, "a list of demonstrations"),
    "pool": (tuple, "a list of demonstrations"),
})  # fmt: skip


def checked_params(program: Program, version: Version | None) -> Record:
    """Complete a version's parameters by the program's defaults, and check them.

    Raises ``ForeignPaths`` if the version has paths that the program lacks, ``WrongType`` if a
    value is of another kind than its slot's, ``UnfitDemos`` if a demonstration holds no output of
    its step, since the signature has changed.
    """
    params = complete_params(program, version)
    for name, step in program.predictors.items():
        outputs = {field.name for field in step.signature.outputs}
        for slot in step.slots.keys() & _KINDS.keys():
            kind, words = _KINDS[slot]
            _check_kind(f"{name}.{slot}", params[f"{name}.{slot}"], kind, words)
        for slot in step.slots.keys() & {"demos", "pool"}:
            for place, demo in enumerate(params[f"{name}.{slot}"]):
                where = f"{name}.{slot}[{place}]"
                _check_kind(where, demo, Mapping, "a mapping of field names to values")
                if outputs.isdisjoint(demo):
                    raise UnfitDemos(f"{name}.{slot}", tuple(demo), tuple(sorted(outputs)))
    return params


def _check_kind(where: str, value: object, kind: Any, words: str) -> None:
    if not isinstance(value, kind):
        raise WrongType(where, clipped(safe_repr(value), 60), words)


def stale(program: Program, version: Version, first: Version) -> Record:
    """Find the paths at which a version holds a default that the code has changed since.

    ``first`` is the root ancestor of the version: unless it holds a program's defaults, nothing is
    known and the result is empty. Returns path -> ``{"then": default, "now": default}``.
    """
    if first.parents or not first.note.startswith(_DEFAULTS):
        return Record()
    now = program.defaults
    changes: dict[str, Any] = {}
    for path, value in version.params.items():
        is_default = same(first.params.get(path), value)
        if is_default and path in now and not same(value, now[path]):
            changes[path] = {"then": value, "now": now[path]}
    return Record(changes)

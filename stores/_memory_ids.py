"""Short ids of what a store in memory has."""

from __future__ import annotations

from collections.abc import Mapping

from lmflow.errors import NotFound

SHORTEST = 4
"""Digits that a short id has at least."""


def has_prefix(version: str, prefix: str) -> bool:
    """Tell whether a version's digits begin with those of a prefix, if it is long enough."""
    digits = prefix.removeprefix("v1:b2:").lower()
    return version.removeprefix("v1:b2:").startswith(digits) and len(digits) >= SHORTEST


def resolve_id(kind: str, given_id: str, ids: Mapping[str, object], store: str) -> str:
    """Return the one id that begins or ends with ``given_id``; ``NotFound`` otherwise."""
    if given_id in ids:
        return given_id
    matches = [id_ for id_ in ids if _is_end_of(given_id, id_)]
    if len(matches) == 1:
        return matches[0]
    problem = f"no {kind} {given_id!r}"
    if matches:
        problem = f"{kind} {given_id!r} is ambiguous: {', '.join(sorted(matches)[:4])}"
    raise NotFound(store, problem, "`lmflow runs ls` lists what there is.")


def _is_end_of(part: str, id_: str) -> bool:
    return part != "" and (id_.startswith(part) or id_.endswith(part))

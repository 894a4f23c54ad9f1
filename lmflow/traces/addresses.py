"""Addresses of calls and frames within an execution, such as ``hop[1]/answer[0]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote


def segment(at: str, name: str, k: str | int) -> str:
    """Return the address of ``name[k]`` in the frame ``at``; an empty frame is the root."""
    here = f"{name}[{escape_label(str(k))}]"
    return f"{at}/{here}" if at else here


def escape_label(label: str) -> str:
    """Escape a branch label for an address, so that ``/`` and ``]`` stay separators."""
    return quote(label, safe=" ")


def unescape_label(escaped: str) -> str:
    """Return the label that ``escape_label`` escaped."""
    return unquote(escaped)


def in_lost_branch(address: str, choices: Mapping[str, Any]) -> bool:
    """Say whether an address is in a branch that lost a ``first``.

    Args:
        address: The address of a call.
        choices: The label of the branch that won, by the address of each ``first``.

    Returns:
        Whether a ``first`` holds the address in another branch than the winner's.
    """
    return any(
        address.startswith(f"{race}/")
        and not address.startswith(f"{segment(race, 'branch', winner)}/")
        for race, winner in choices.items()
    )

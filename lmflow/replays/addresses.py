"""Addresses of calls: the frames, step and branch that a call belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from lmflow.programs.program import Program


def frames_of(address: str) -> tuple[str, ...]:
    """Return the addresses that an address is in, outermost first, and the address itself last."""
    parts = address.split("/")
    return tuple("/".join(parts[:end]) for end in range(1, len(parts) + 1))


def is_at_or_below(address: str, frame: str) -> bool:
    """Say whether an address equals ``frame`` or is in the frame of that address."""
    return address == frame or address.startswith(f"{frame}/")


def may_depend(address: str, earlier: str) -> bool:
    """Say whether the call at ``address`` may depend on the answer at ``earlier``.

    Calls in sibling branches of one fork don't.
    """
    for own, other in zip(address.split("/"), earlier.split("/"), strict=False):
        if own != other:
            return not (own.startswith("branch[") and other.startswith("branch["))
    return True


def step_of_address(program: Program | Iterable[str], address: str) -> str:
    """Find the step that made a call, by its full name: ``draft.answer`` in ``draft``.

    A step fits if the parts of its name are frames of the address, in order, and the last of them
    is the innermost frame. The longest name that fits wins, so prefixes of named programs count.

    Args:
        program: The program, or the names of its steps if only a version is known.
        address: The address of the call.

    Returns:
        The step's name; the innermost frame's if no step fits, empty outside all frames.
    """
    frames = [part.partition("[")[0] for part in address.split("/")[:-1]]
    if not frames:
        return ""
    names = program.steps if isinstance(program, Program) else program
    fitting = [name for name in names if _fits(name.split("."), frames)]
    return max(fitting, key=len, default=frames[-1])


def _fits(parts: list[str], frames: list[str]) -> bool:
    rest = iter(frames)
    return parts[-1] == frames[-1] and all(part in rest for part in parts)

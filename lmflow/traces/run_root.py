"""The root of a run, derived while its executions end."""

from __future__ import annotations

import hashlib

from lmflow.values.canonical_text import text_form

_PREFIX = "v1:b2:"


class RunRoot:
    """Derives the root of a run from the roots of its executions, in whatever order they end.

    It holds only the roots that wait for an earlier execution. The root is that of ``Run.root``:
    the digest of the list of (label, root) pairs.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(b"run\0[", digest_size=32)
        self._waiting: dict[int, str] = {}
        self._next = 0

    def add(self, position: int, label: str, root: str) -> None:
        """Add the root of the execution at a position, from 0 on."""
        self._waiting[position] = f"[{text_form(label)},{text_form(root)}]"
        while self._next in self._waiting:
            pair = self._waiting.pop(self._next)
            self._hash.update((f",{pair}" if self._next else pair).encode("ascii"))
            self._next += 1

    def value(self) -> str:
        """Return the root of the executions so far.

        Raises:
            ValueError: An execution is missing before another one.
        """
        if self._waiting:
            msg = f"the execution at position {self._next} is missing"
            raise ValueError(msg)
        whole = self._hash.copy()
        whole.update(b"]")
        return _PREFIX + whole.hexdigest()

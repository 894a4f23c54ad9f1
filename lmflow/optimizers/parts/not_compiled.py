"""What an optimizer of DSPy does itself and an executor does here."""

from __future__ import annotations

from typing import Any, NoReturn


class NotCompiled:
    """Base of optimizers: it explains ``compile`` and its like."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        own: Any = self
        msg = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name in {"compile", "optimize", "run", "fit", "train"}:
            line = f"ex.optimize(lf.{own.name}(), program, data, metric)"
            msg = f"an optimizer is a value, which an executor runs: await {line}"
        raise AttributeError(msg, name=name)

"""Problems of a training job, as the tool that runs it raises them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Literal

import attrs

ProblemKind = Literal["base", "extra", "data", "disk", "provider", "busy", "stopped", "hash"]


@attrs.frozen
class TrainingProblem(Exception):
    """Training can't begin or go on. What was trained so far is kept.

    ``kind`` says what is the matter: the base model, a missing extra, the chats, the disk, the
    provider, another process that trains the same, a process that ended, or a file's hash.
    """

    kind: ProblemKind
    text: str

    def __str__(self) -> str:
        return self.text


def disk_problem(error: OSError, folder: Path) -> TrainingProblem | None:
    """Return the problem of a disk that is full; ``None`` if the error is another."""
    if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return None
    fix = "make room on that disk, then run this again: it goes on from its last checkpoint"
    return TrainingProblem("disk", f"{folder} can't be written ({error.strerror}); {fix}")

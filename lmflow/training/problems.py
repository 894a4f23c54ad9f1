"""Problems of a training job, as the tool that runs it raises them."""

from __future__ import annotations

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

"""The folder of one job: its lock, what it has come to, and its result."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import attrs

from lmflow.training.job import Job, Weights, weights_of
from lmflow.training.problems import TrainingProblem
from lmflow.values.hashed_files import HashedFiles

_JOBS = "jobs"


@attrs.frozen
class TrainingPlace:
    """Where a job keeps what it has come to, beside the files of finished weights."""

    files: HashedFiles
    folder: Path

    def tell(self, event: Mapping[str, Any]) -> None:
        """Add a sign of life, with its time, to the job's progress."""
        line = json.dumps({"at": round(time.time(), 3), **event})
        with (self.folder / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def note(self, values: Mapping[str, Any]) -> None:
        """Write down values that a resumed job needs, such as a provider's ids."""
        draft = self.folder / "note.new"
        draft.write_text(json.dumps({**self.noted(), **values}), encoding="utf-8")
        draft.replace(self.folder / "note.json")

    def noted(self) -> dict[str, Any]:
        """Return the values that were written down."""
        path = self.folder / "note.json"
        if not path.is_file():
            return {}
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return values

    def result(self) -> Weights | None:
        """Return the weights if the job came to its end and their file is whole."""
        values = self.noted().get("weights")
        if values is None:
            return None
        weights = weights_of(values)
        return weights if not weights.sha256 or weights.sha256 in self.files else None

    def finish(self, weights: Weights) -> None:
        """Write down the weights, and drop what only the training needed."""
        self.note({"weights": weights.to_json()})
        for name in ("checkpoint", "checkpoint.old", "checkpoint.new"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "adapter.gguf").unlink(missing_ok=True)


@contextlib.contextmanager
def training_place(files: HashedFiles, job: Job) -> Iterator[TrainingPlace]:
    """Give the folder of a job, which is this process's alone while the block lasts.

    Raises ``TrainingProblem`` if another process trains the same job, or the disk refuses.
    """
    folder = files.folder / _JOBS / job.key[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        msg = f"{folder} can't be written ({error.strerror or error})"
        raise TrainingProblem("disk", msg) from None
    with lock:
        if not _locked(lock):
            msg = "another process trains the same: wait for it, then run this again"
            raise TrainingProblem("busy", msg)
        yield TrainingPlace(files, folder)


# The lock is the kernel's: it ends with the process that holds it, however that ends.
def _locked(file: IO[Any]) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - Windows has none; there nobody is kept out
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""The child process that trains one adapter while its parent lives.

One JSON line on standard input says what to train. Each step, each checkpoint and the end are a
JSON line on standard output; everything that libraries print goes to standard error. On Linux the
kernel ends the process with its parent; what was trained is in the last checkpoint.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lmflow.training.lora_training import train_adapter
from lmflow.training.problems import TrainingProblem, disk_problem
from lmflow.training.recipe import recipe_of

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Train what standard input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    line = sys.stdin.buffer.readline()
    if not line:
        return

    def tell(event: Mapping[str, Any]) -> None:
        answers.write(json.dumps(event).encode() + b"\n")
        answers.flush()

    tell(_outcome(json.loads(line), tell))
    _close(answers)


def _outcome(job: Mapping[str, Any], tell: Any) -> dict[str, Any]:
    folder, base = Path(job["folder"]), Path(job["base"])
    try:
        file = train_adapter(
            base, job["chats"], recipe_of(job["recipe"]), job["seed"], folder, tell
        )
    except TrainingProblem as problem:
        return {"problem": problem.kind, "text": problem.text}
    except ImportError as error:
        return {"problem": "extra", "text": str(error)}
    except OSError as error:
        found = disk_problem(error, folder) or TrainingProblem("stopped", str(error))
        return {"problem": found.kind, "text": found.text}
    except MemoryError:
        return {"problem": "stopped", "text": "the memory of this machine isn't enough"}
    return {"done": str(file)}


def _close(answers: BinaryIO) -> None:
    answers.close()


if __name__ == "__main__":
    main()

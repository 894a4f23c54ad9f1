"""The trainer ``lora``: adapters of local models, trained on this machine in a child process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import AsyncGenerator
from typing import Any

import attrs

from lmflow.errors import ModelUnavailable, StoreError
from lmflow.models.local.adapters import base_file
from lmflow.training.chats import text_chat
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.place import TrainingPlace
from lmflow.training.problems import TrainingProblem
from lmflow.values.hashed_files import sha256_of
from lmflow.values.record import Record
from lmflow.values.weights_names import adapted_name

_COMMAND = (sys.executable, "-P", "-m", "lmflow.training.lora_process")
_PASSIVE_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
_PACKAGES = ("torch", "transformers", "peft", "gguf")
_EXTRA = 'Run: pip install "lmflow-dsl[train]"'
_LONGEST_LINE = 1 << 20
_TAIL = 2000  # characters of the process's log that an error shows
# Measured for SmolLM2 135M on two cores of 2026: loading, and tokens a second.
_START_SECONDS, _TOKENS_A_SECOND = 45.0, 130.0
_BYTES_A_RANK = 612_000  # of an adapter in float16, for 135 million parameters
_COPIES = 12  # of those bytes that the disk holds at most: float32, two moments, two checkpoints


@attrs.frozen
class Lora:
    """Trains low-rank adapters by torch, transformers and peft (extra ``train``), on the CPU.

    The job goes on from its last checkpoint if it was killed.
    """

    @property
    def name(self) -> str:
        """``lora``."""
        return "lora"

    def check(self, base: str) -> None:
        """Raise ``ModelUnavailable`` if the base's file or the extra is missing."""
        if not base.startswith("local/"):
            fix = "Name one of this machine, base='local/smollm2-135m', or use another trainer."
            raise ModelUnavailable(base, "lora trains local models alone", fix)
        base_file(base)
        for package in _PACKAGES:
            if importlib.util.find_spec(package) is None:
                raise ModelUnavailable(base, f"the package {package} is missing", _EXTRA)

    def quote(self, job: Job) -> Quote:
        """Return the tokens, seconds and bytes that a job is expected to take; it costs nothing."""
        seconds = _START_SECONDS + job.tokens / _TOKENS_A_SECOND
        return Quote(job.tokens, seconds, 0, _COPIES * _BYTES_A_RANK * job.recipe.rank)

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Train in a child process, which ends with this one."""
        base = base_file(job.base)
        settings = {
            "base": str(base),
            "chats": [text_chat(chat, "lora") for chat in job.chats_json()],
            "recipe": job.recipe.to_json(),
            "seed": job.seed,
            "folder": str(place.folder),
        }
        steps = 0
        async with contextlib.aclosing(_events(settings, place)) as events:
            async for event in events:
                if "problem" in event:
                    raise TrainingProblem(event["problem"], _words(event))
                steps = event.get("steps", steps)
                if "done" in event:
                    return _weights(job, place, sha256_of(base), steps)
                place.tell(event)
        msg = "the process that trains ended early: run this again, it goes on from its checkpoint"
        raise TrainingProblem("stopped", f"{msg}. Its log ends: {_tail(place)}")


def lora() -> Lora:
    """Make the trainer of adapters on this machine (extra ``train``).

    Returns:
        The trainer.
    """
    return Lora()


def _weights(job: Job, place: TrainingPlace, base_sha256: str, steps: int) -> Weights:
    try:
        sha256 = place.files.add(place.folder / "adapter.gguf")
    except StoreError as error:
        raise TrainingProblem("disk", str(error)) from None
    size, model = place.files.size(sha256), adapted_name(job.base, sha256)
    details = Record(base_sha256=base_sha256, format="gguf lora", steps=steps)
    return Weights(model, job.base, job.trainer, job.key, sha256, size, details)


async def _events(settings: dict[str, Any], place: TrainingPlace) -> AsyncGenerator[dict[str, Any]]:
    """Yield what the child tells, line by line; it is ended however the loop is left."""
    with (place.folder / "log.txt").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, **_PASSIVE_THREADS},
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
        try:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(json.dumps(settings).encode() + b"\n")
                await process.stdin.drain()
            async for line in process.stdout:
                yield json.loads(line)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _words(event: dict[str, Any]) -> str:
    text = str(event.get("text", "")).rstrip(".")
    return f"{text}. {_EXTRA}" if event["problem"] == "extra" else text


def _tail(place: TrainingPlace) -> str:
    log = place.folder / "log.txt"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return text[-_TAIL:].strip() or "it is empty"

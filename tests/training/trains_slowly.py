"""A process that optimizes by a trainer of many short steps, to be killed at any of them.

python trains_slowly.py STORE LOG
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import attrs

import lmflow as lf
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.place import TrainingPlace

STEPS = 30
STEP = lf.predict("step", "question -> answer")
DATA = lf.Data([{"id": str(n), "question": f"{n}?", "answer": "yes"} for n in range(4)])


@attrs.frozen
class Slow:
    """A trainer that counts, and goes on from where it was."""

    log: Path
    name: str = "slow"

    def check(self, base: str) -> None:
        """Any base will do."""

    def quote(self, job: Job) -> Quote:
        """It costs nothing."""
        return Quote(job.tokens, 1.0, 0, 10)

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Take the steps that are left, each written down in the log and in the place."""
        for step in range(int(place.noted().get("step", 0)), STEPS):
            with self.log.open("a") as log:
                log.write(json.dumps({"job": job.key, "step": step}) + "\n")
            place.note({"step": step + 1})
            await asyncio.sleep(0.02)
        file = place.folder / "file"
        file.write_text(job.key)
        sha256 = place.files.add(file)
        return Weights("openai/slow", job.base, job.trainer, job.key, sha256)


async def main(store_path: str, log: str) -> None:
    """Optimize, and print the version's id."""
    with lf.SqliteStore(store_path) as store:
        async with lf.Executor(lf.scripted(lambda _: "yes"), store) as ex:
            optimizer = lf.bootstrap_finetune(trainer=Slow(Path(log)))
            result = await ex.optimize(optimizer, STEP, DATA, lf.exact_match("answer"))
    sys.stdout.write(f"{result.version.id}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""A disk that fills up while weights are trained: a clear error, nothing lost, the ref unmoved."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import lmflow as lf
from lmflow.errors import TrainingFailed
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.place import TrainingPlace

STEP = lf.predict("step", "question -> answer")
DATA = lf.Data([{"id": str(n), "question": f"{n}?", "answer": "yes"} for n in range(4)])
STEPS, BYTES, DISK = 8, 8_192, 96 * 1024


@attrs.frozen
class Grows:
    """A trainer whose checkpoints take room, and its file as much again."""

    name: str = "grows"

    def check(self, base: str) -> None:
        """Any base will do."""

    def quote(self, job: Job) -> Quote:
        """It doesn't know how much it needs."""
        return Quote(job.tokens, 1.0, 0, 0)

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Take the steps that are left, and keep the file."""
        for step in range(int(place.noted().get("step", 0)), STEPS):
            with (place.folder / "checkpoint.bin").open("ab") as checkpoint:
                checkpoint.truncate(step * BYTES)
                checkpoint.write(bytes([step]) * BYTES)
            place.note({"step": step + 1})
            place.tell({"step": step + 1})
        sha256 = place.files.add(place.folder / "checkpoint.bin")
        return Weights("openai/grown", job.base, job.trainer, job.key, sha256)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 kB where the store keeps its weights."""
    folder = tmp_path / "s.db.weights"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("there is no mount")
    command = [mount, "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here: that takes root on Linux")
    yield folder
    subprocess.run([umount, str(folder)], check=True)


def make_room(folder: Path) -> None:
    """Make the disk three times as large."""
    command = [str(shutil.which("mount")), "-o", f"remount,size={3 * DISK}", str(folder)]
    subprocess.run(command, check=True)


async def train(store: lf.SqliteStore, ref: str) -> lf.Version:
    """Train the step of a ref's version, and move the ref."""
    async with lf.Executor(lf.scripted(lambda _: "yes"), store) as ex:
        optimizer = lf.bootstrap_finetune(trainer=Grows())
        result = await ex.optimize(optimizer, STEP, DATA, lf.exact_match("answer"), ref=ref)
        return result.version


def ballast(folder: Path, left: int) -> Path:
    """A file that leaves so many bytes on a disk."""
    file = folder / "ballast"
    file.write_bytes(b"0" * (shutil.disk_usage(folder).free - left))
    return file


@pytest.mark.parametrize("left", [0, 4 * BYTES, STEPS * BYTES + 12_288])
async def test_a_full_disk_is_named_and_the_job_goes_on(small_disk: Path, left: int) -> None:
    """At the first step, in the middle, and at the copy of the file: the error says that the disk
    is full, the ref stays, no half file is kept, and with room the same job comes to its end.
    """
    with lf.SqliteStore(small_disk.with_name("s.db")) as store:
        lf.commit(store, "main", lf.init(STEP))
        file = ballast(small_disk, left)
        with pytest.raises(TrainingFailed, match=r"[Nn]o space left") as caught:
            await train(store, "main")
        assert "room" in str(caught.value)
        assert lf.init(STEP).id == store.version("main").id
        assert () == tuple(store.files)
        file.unlink()
        make_room(small_disk)
        version = await train(store, "main")
        assert version.id == store.version("main").id
        (kept,) = store.files
        expected = b"".join(bytes([step]) * BYTES for step in range(STEPS))
        assert expected == store.files.path(kept).read_bytes()

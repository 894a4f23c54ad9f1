"""The laws of trainers: one job at a time, nothing begun twice, and errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

import lmflow as lf
from lmflow.errors import ModelUnavailable
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.lora import Lora
from lmflow.training.place import TrainingPlace, training_place
from lmflow.training.problems import TrainingProblem
from lmflow.training.recipe import Recipe, recipe_of
from lmflow.training.together import Together
from lmflow.training.trainer import TrainingFunction, job_inputs
from lmflow.values.hashed_files import HashedFiles

CHAT = lf.Record(
    messages=[{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
)
JOB = Job("together", "together/ORG/small", (CHAT,), Recipe(epochs=2), 3)


@attrs.define
class Provider:
    """A fine-tuning server in the shape of Together's API, which notes what it is asked."""

    asked: list[tuple[str, Any]] = attrs.field(factory=list)
    jobs: list[dict[str, Any]] = attrs.field(factory=list)
    ends_as: str = "completed"
    polls: int = 0
    broken: int = 0

    def app(self) -> web.Application:
        """The application."""
        app = web.Application()
        app.router.add_post("/v1/files/upload", self.upload)
        app.router.add_get("/v1/fine-tunes", self.listed)
        app.router.add_post("/v1/fine-tunes", self.create)
        app.router.add_get("/v1/fine-tunes/{id}", self.state)
        return app

    async def upload(self, request: web.Request) -> web.Response:
        """Take a file."""
        form = await request.post()
        field: Any = form["file"]
        lines = field.file.read().decode().splitlines()
        self.asked.append(("upload", [json.loads(line) for line in lines]))
        return web.json_response({"id": "file-1"})

    async def listed(self, request: web.Request) -> web.Response:
        """List the jobs."""
        del request
        return web.json_response({"data": self.jobs})

    async def create(self, request: web.Request) -> web.Response:
        """Begin a job."""
        body = await request.json()
        self.asked.append(("create", body))
        self.jobs.append({"id": f"ft-{len(self.jobs)}", "suffix": body["suffix"]})
        return web.json_response(self.jobs[-1] | {"status": "pending"})

    async def state(self, request: web.Request) -> web.Response:
        """Say how far a job is: at its end at the third question."""
        del request
        self.polls += 1
        if self.polls <= self.broken:
            return web.Response(status=503, text="later")
        status = self.ends_as if self.polls > self.broken + 2 else "running"
        name = {"model_output_name": "me/small-lmflow"} if status == "completed" else {}
        return web.json_response({"status": status, "error": "no cards", **name})


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    """The server, on the loopback, and the variables that name it."""
    made = Provider()
    runner = web.AppRunner(made.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("TOGETHER_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setenv("TOGETHER_API_KEY", "k-secret")
    yield made
    await runner.cleanup()


def everything(folder: Path) -> bytes:
    """The content of all files of a folder."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def run(trainer: Any, files: HashedFiles, job: Job = JOB) -> dict[str, Any]:
    """The weights that the tool of a trainer gives for a job."""
    function = TrainingFunction(trainer, files)
    outputs = await function(**job_inputs(job))
    weights: dict[str, Any] = outputs["weights"]
    return weights


async def test_a_hosted_job_is_uploaded_begun_and_named(provider: Provider, tmp_path: Path) -> None:
    """The chats are uploaded as they are, the recipe goes along, and the model's name is theirs."""
    provider.broken = 2
    weights = await run(Together(poll=0.01), HashedFiles(tmp_path))
    (_, lines), (_, body) = provider.asked
    assert JOB.chats_json() == lines
    assert ("ORG/small", "file-1", 2, 16) == (
        body["model"],
        body["training_file"],
        body["n_epochs"],
        body["training_type"]["lora_r"],
    )
    assert "together/me/small-lmflow" == weights["model"]
    again = await run(Together(poll=0.01), HashedFiles(tmp_path))
    assert (weights, 2) == (again, len(provider.asked))
    assert b"k-secret" not in everything(tmp_path)


async def test_a_hosted_job_is_attached_to_again(provider: Provider, tmp_path: Path) -> None:
    """A process that ended after it began a job finds the job by its id, or else by its suffix."""
    files = HashedFiles(tmp_path)
    with training_place(files, JOB) as place:
        provider.jobs.append({"id": "ft-7", "suffix": f"lmflow-{JOB.key[:24]}"})
        place.note({"file": "file-0"})
    assert "ft-7" == (await run(Together(poll=0.01), files))["details"]["id"]
    assert [] == provider.asked


async def test_a_hosted_job_that_fails_says_why_and_is_begun_anew(
    provider: Provider, tmp_path: Path
) -> None:
    """The provider's reason is the error's; the next try begins another job with the same file."""
    provider.ends_as = "error"
    with pytest.raises(TrainingProblem, match=r"ended as error: no cards"):
        await run(Together(poll=0.01), HashedFiles(tmp_path))
    provider.ends_as, provider.polls = "completed", 0
    provider.jobs.clear()
    assert "ft-0" == (await run(Together(poll=0.01), HashedFiles(tmp_path)))["details"]["id"]
    assert ["upload", "create", "create"] == [kind for kind, _ in provider.asked]


async def test_two_processes_never_train_one_job(tmp_path: Path) -> None:
    """While a job's place is in use, another process is told to wait."""
    files = HashedFiles(tmp_path)
    with training_place(files, JOB), pytest.raises(TrainingProblem, match="another process"):
        await run(Together(), files)


async def test_a_full_disk_is_found_before_a_job_begins(tmp_path: Path) -> None:
    """A job that needs more bytes than are free isn't begun."""

    @attrs.frozen
    class Huge:
        name: str = "huge"

        def check(self, base: str) -> None:
            """Any base will do."""

        def quote(self, job: Job) -> Quote:
            """More than there is."""
            return Quote(job.tokens, 1.0, 0, 10**18)

        async def train(self, job: Job, place: TrainingPlace) -> Weights:
            """Never."""
            raise AssertionError(job, place)

    with pytest.raises(TrainingProblem, match="bytes free"):
        await run(Huge(), HashedFiles(tmp_path))


def test_what_a_trainer_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hosted base for lora, a base that isn't pulled, and a missing key say the fix."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    monkeypatch.delenv("TOGETHER_BASE_URL", raising=False)
    with pytest.raises(ModelUnavailable, match="local models alone"):
        Lora().check("together/ORG/small")
    with pytest.raises(ModelUnavailable, match="lmflow models pull smollm2-135m"):
        Lora().check("local/smollm2-135m")
    with pytest.raises(ModelUnavailable, match="TOGETHER_API_KEY"):
        Together().check("together/ORG/small")
    with pytest.raises(ModelUnavailable, match="trains its own models"):
        Together().check("local/smollm2-135m")


async def test_chats_of_more_than_texts_are_refused_by_lora(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A chat with calls of tools can't be trained on by lora, and the error says so."""
    base = tmp_path / "base.gguf"
    base.write_bytes(b"GGUF")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    chat = lf.Record(messages=[{"role": "assistant", "content": None, "tool_calls": []}])
    job = Job("lora", f"local/{base}", (chat,))
    with pytest.raises(TrainingProblem, match="texts alone"):
        await run(Lora(), HashedFiles(tmp_path / "files"), job)


async def test_a_child_that_cannot_train_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A base that is no model, or a missing extra, ends the job with a reason, and no file is kept."""
    base = tmp_path / "base.gguf"
    base.write_bytes(b"GGUF and no more")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = HashedFiles(tmp_path / "files")
    with pytest.raises(TrainingProblem) as caught:
        await run(Lora(), files, Job("lora", f"local/{base}", (CHAT,)))
    assert caught.value.kind in {"extra", "stopped", "base"}
    assert str(caught.value)
    assert () == tuple(files)


def test_prices_follow_tokens() -> None:
    """A price a million tokens gives one for a job; without it nobody can tell."""
    quote = Together(usd_per_million=10.0).quote(JOB)
    assert quote.tokens * 10_000 == quote.cost
    assert Together().quote(JOB).cost is None
    assert 0 == Lora().quote(JOB).cost


def test_a_recipe_is_its_values() -> None:
    """A recipe is read from its JSON values as it was; its steps cover each chat so often."""
    recipe = Recipe(rank=4, epochs=3, batch=8)
    assert recipe == recipe_of(recipe.to_json())
    assert (3, 1, 4) == (recipe.steps(8), recipe.steps(1), recipe.steps(9))
    with pytest.raises(ValueError, match="rate"):
        Recipe(rate=0.0)

"""The laws of Tinker's trainer: each step counts once however often a job is killed, and requests
have the shapes of the package ``tinker``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

import lmflow as lf
from lmflow.errors import ModelUnavailable
from lmflow.models.registry import bare_model_of
from lmflow.training.job import Job
from lmflow.training.problems import TrainingProblem
from lmflow.training.recipe import Recipe
from lmflow.training.tinker import Tinker
from lmflow.training.trainer import TrainingFunction, job_inputs
from lmflow.values.hashed_files import HashedFiles

# The requests as the types of tinker 0.22.0 write them (Apache-2.0, pypi.org/project/tinker).
SHAPES = json.loads(Path(__file__).with_name("tinker_requests.json").read_text(encoding="utf-8"))
CHATS = tuple(
    lf.Record(
        messages=[
            {"role": "user", "content": f"{number} + 1?"},
            {"role": "assistant", "content": str(number + 1)},
        ]
    )
    for number in range(4)
)
RECIPE = Recipe(epochs=4, batch=2, rank=8)  # 8 steps
JOB = Job("tinker", "tinker/ORG/small", CHATS, RECIPE, 3)


class Letters:
    """A tokenizer with a token for each character."""

    def apply_chat_template(self, messages: Any, **options: bool) -> str:
        """Each turn on a line."""
        text = "".join(f"<{turn['role']}>{turn['content']}<end>\n" for turn in messages)
        return text + "<assistant>" * options.get("add_generation_prompt", False)

    def __call__(self, text: str, **options: bool) -> dict[str, list[int]]:
        """The characters' numbers."""
        assert {"add_special_tokens": False} == options
        return {"input_ids": [ord(letter) for letter in text]}


def trainer(**options: Any) -> Tinker:
    """The trainer, which waits for nothing."""
    return lf.tinker(tokenizer=Letters(), poll=0.0, **options)


@attrs.define
class Service:
    """A training server in Tinker's shape: a model's weights are the list of all it learned."""

    asked: list[tuple[str, Any]] = attrs.field(factory=list)
    models: dict[str, list[Any]] = attrs.field(factory=dict)
    gradients: dict[str, list[Any]] = attrs.field(factory=dict)
    saved: dict[str, list[Any]] = attrs.field(factory=dict)
    results: dict[str, Any] = attrs.field(factory=dict)
    numbered: dict[tuple[str, int], str] = attrs.field(factory=dict)
    waits: set[str] = attrs.field(factory=set)
    kill_at: int = 0
    killed: asyncio.Event = attrs.field(factory=asyncio.Event)
    lost: int = 0
    refuses: str = ""

    def app(self) -> web.Application:
        """The application."""
        app = web.Application()
        app.router.add_post("/api/v1/{request}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take a request; those with a number that is known are answered as before."""
        name, body = request.match_info["request"], await request.json()
        if name == "retrieve_future":
            return self.retrieve(body["request_id"])
        self.asked.append((name, body))
        if name == "create_session":
            return web.json_response({"session_id": "s-1", "type": "create_session"})
        if name == "get_info":
            return web.json_response({"model_data": {"tokenizer_id": "ORG/small:1"}})
        if self.kill_at and len(self.asked) == self.kill_at:
            self.killed.set()
            await asyncio.sleep(60)
        response = web.json_response({"request_id": self.future(name, body)})
        if self.lost and len(self.asked) == self.lost:
            assert request.transport is not None
            request.transport.close()
        return response

    def future(self, name: str, body: Any) -> str:
        """The id of a request's future; the request is carried out unless it was."""
        key = body.get("model_id", ""), body.get("seq_id", len(self.asked))
        if key not in self.numbered:
            self.numbered[key] = f"f-{len(self.numbered)}"
            self.results[self.numbered[key]] = self.result(name, body)
            self.waits.add(self.numbered[key])
        return self.numbered[key]

    def result(self, name: str, body: Any) -> Any:
        """Carry a request out."""
        id_ = body.get("model_id", "")
        if name == self.refuses:
            return {"error": "out of capacity", "category": "server"}
        if name == "create_model":
            made = f"run-{len(self.models)}"
            self.models[made] = [body["base_model"], body["lora_config"]]
            return {"model_id": made, "type": "create_model"}
        if name == "forward_backward":
            self.gradients[id_] = body["forward_backward_input"]["data"]
            return {"loss_fn_output_type": "x", "loss_fn_outputs": [], "metrics": {"loss:sum": 1.0}}
        if name == "optim_step":
            step = (self.gradients.pop(id_), body["adam_params"]["learning_rate"])
            self.models[id_] = [*self.models[id_], step]
            return {}
        if name == "load_weights":
            return self.load(id_, body["path"])
        kind = "sampler_weights" if "sampler" in name else "weights"
        path = f"tinker://{id_}:train:0/{kind}/{body['path']}"
        self.saved[path] = self.models[id_]
        return {"path": path}

    def load(self, id_: str, path: str) -> Any:
        """Take up a checkpoint."""
        if path not in self.saved:
            return {"error": "no such checkpoint", "category": "user"}
        self.models[id_] = self.saved[path]
        return {"path": path}

    def retrieve(self, id_: str) -> web.Response:
        """Give a result at the second question."""
        if id_ in self.waits:
            self.waits.remove(id_)
            if id_.endswith("3"):
                return web.Response(status=408, text="{}")
            return web.json_response({"type": "try_again", "queue_state": "active"})
        return web.json_response(self.results[id_])


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """The server, on the loopback, and the variables that name it."""
    made = Service()
    runner = web.AppRunner(made.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("TINKER_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("TINKER_API_KEY", "k-secret")
    yield made
    await runner.cleanup()


async def run(files: HashedFiles, job: Job = JOB, **options: Any) -> dict[str, Any]:
    """The weights that the tool gives for a job."""
    outputs = await TrainingFunction(trainer(**options), files)(**job_inputs(job))
    weights: dict[str, Any] = outputs["weights"]
    return weights


def served(service: Service, weights: dict[str, Any]) -> list[Any]:
    """All that the served weights have learned."""
    return service.saved[weights["model"].removeprefix("tinker/")]


def everything(folder: Path) -> bytes:
    """The content of all files of a folder."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def kinds(value: Any) -> Any:
    """The shape of JSON values: the kinds of an object's fields, and of a list's first element."""
    if isinstance(value, dict):
        return {name: kinds(each) for name, each in value.items()}
    if isinstance(value, list):
        return [kinds(each) for each in value[:1]]
    return type(value).__name__


async def test_each_request_has_the_shape_of_the_package(service: Service, tmp_path: Path) -> None:
    """Every request of a whole job and of a resumed one is what the package's own types write."""
    await killed(service, HashedFiles(tmp_path), 13)
    await run(HashedFiles(tmp_path), checkpoints=4)
    shapes = {name: kinds(body) for name, body in service.asked}
    assert kinds(SHAPES) == {name: shapes.get(name) for name in SHAPES}


async def test_a_job_learns_its_replies_and_is_named(service: Service, tmp_path: Path) -> None:
    """All steps are taken, only the reply's tokens count, and the model is their address."""
    weights = await run(HashedFiles(tmp_path), checkpoints=2)
    base, lora, *steps = served(service, weights)
    assert ("ORG/small", 8, 3, 8) == (base, lora["rank"], lora["seed"], len(steps))
    for datum in steps[0][0]:
        inputs = datum["loss_fn_inputs"]
        pairs = zip(inputs["target_tokens"]["data"], inputs["weights"]["data"], strict=True)
        learned = "".join(chr(token) for token, weight in pairs if weight)
        assert learned in {f"{number}<end>" for number in range(1, 5)}
    assert 1.0 == pytest.approx(sum(sum(weights_of(datum)) for datum in steps[0][0]))
    assert "tinker/tinker://run-0:train:0/sampler_weights/" in weights["model"]
    again = await run(HashedFiles(tmp_path))
    assert (weights, 1) == (again, len(service.models))


def weights_of(datum: Any) -> list[float]:
    """What each token of a chat counts."""
    values: list[float] = datum["loss_fn_inputs"]["weights"]["data"]
    return values


async def killed(service: Service, files: HashedFiles, point: int) -> None:
    """Run a job until the server was asked so often more, and kill it there."""
    service.kill_at = len(service.asked) + point
    service.killed.clear()
    task = asyncio.create_task(run(files, checkpoints=4))
    await service.killed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    service.kill_at = 0


async def test_killed_at_five_points_each_step_counts_once(
    service: Service, tmp_path: Path
) -> None:
    """A job that was killed five times has learned what one has that nobody killed."""
    whole = served(service, await run(HashedFiles(tmp_path / "whole")))
    for point in (1, 4, 7, 9, 8):
        await killed(service, HashedFiles(tmp_path / "killed"), point + 1)
    resumed = served(service, await run(HashedFiles(tmp_path / "killed"), checkpoints=4))
    assert whole == resumed
    assert 1 < [name for name, _ in service.asked].count("load_weights")
    keys = {body["user_metadata"]["lmflow"] for name, body in service.asked if "create" in name}
    assert {JOB.key} == keys


async def test_a_request_sent_again_counts_once(service: Service, tmp_path: Path) -> None:
    """If an answer is lost on the way, the request goes out again under its number."""
    whole = served(service, await run(HashedFiles(tmp_path / "whole")))
    service.lost = len(service.asked) + 6
    assert whole == served(service, await run(HashedFiles(tmp_path / "lost")))


async def test_a_failed_step_is_gone_on_with_from_the_checkpoint(
    service: Service, tmp_path: Path
) -> None:
    """The error has the provider's words; the next run takes up the last checkpoint."""
    await killed(service, HashedFiles(tmp_path), 10)
    service.refuses = "forward_backward"
    with pytest.raises(TrainingProblem, match="out of capacity"):
        await run(HashedFiles(tmp_path), checkpoints=4)
    service.refuses = ""
    assert 8 == len(served(service, await run(HashedFiles(tmp_path), checkpoints=4))[2:])
    assert "load_weights" in {name for name, _ in service.asked}


async def test_a_lost_checkpoint_begins_anew(service: Service, tmp_path: Path) -> None:
    """If the provider has dropped a checkpoint, the error says so, and the next run is whole."""
    await killed(service, HashedFiles(tmp_path), 10)
    service.saved.clear()
    with pytest.raises(TrainingProblem, match=r"no such checkpoint.*begins anew"):
        await run(HashedFiles(tmp_path), checkpoints=4)
    assert 8 == len(served(service, await run(HashedFiles(tmp_path), checkpoints=4))[2:])


async def test_no_key_is_written(service: Service, tmp_path: Path) -> None:
    """The key is in no file of a job."""
    await run(HashedFiles(tmp_path))
    assert "forward_backward" in {name for name, _ in service.asked}
    assert b"k-secret" not in everything(tmp_path)


def test_the_served_model_is_at_tinkers_chat_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's name is the weights' address; requests go where Tinker serves chats."""
    monkeypatch.setenv("TINKER_BASE_URL", "http://127.0.0.1:9")
    made: Any = bare_model_of("tinker/tinker://run-0:train:0/sampler_weights/x")
    assert "http://127.0.0.1:9/oai/api/v1" == made.base_url
    assert "tinker://run-0:train:0/sampler_weights/x" == made.wire


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another provider's base and a missing key say the fix; without a price nobody can tell one."""
    monkeypatch.delenv("TINKER_API_KEY", raising=False)
    monkeypatch.delenv("TINKER_BASE_URL", raising=False)
    with pytest.raises(ModelUnavailable, match="TINKER_API_KEY"):
        trainer().check("tinker/ORG/small")
    with pytest.raises(ModelUnavailable, match="its own models"):
        trainer().check("local/smollm2-135m")
    assert trainer().quote(JOB).cost is None
    assert JOB.tokens * 2_000 == trainer(usd_per_million=2.0).quote(JOB).cost

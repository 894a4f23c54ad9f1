"""The trainer ``tinker``: training steps on Tinker's machines, from checkpoint to checkpoint.

The requests are those of the package ``tinker`` 0.22 (Thinking Machines Lab), which sent all of
them as JSON: create_session, create_model, load_weights, forward_backward, optim_step,
save_weights, save_weights_for_sampler, each answered by the id of a future for retrieve_future.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import ModelUnavailable, clipped
from lmflow.models.registry import PROVIDERS
from lmflow.training.chats import Row, batches, rate_share, text_chat, tokenize_chat
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.place import TrainingPlace
from lmflow.training.problems import TrainingProblem
from lmflow.training.provider_api import ProviderApi, provider_api, text_in
from lmflow.values.record import Record

_PREFIX = "tinker/"
_VERSION = "0.22.0"  # of the package whose requests these are
_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "grad_clip_norm": 1.0}
_MODULES = {"train_unembed": False, "train_mlp": True, "train_attn": True}  # as lora's
_HEARTBEAT = 10.0  # seconds between two signs of life, without which a session ends
_PENDING = {"type": "try_again"}
_NANO, _MILLION = 10**9, 10**6


@attrs.frozen
class Tinker:
    """Trains adapters at Tinker, and names what comes of it ``tinker/tinker://...``.

    Args:
        tokenizer: The base's tokenizer: its name or folder, or the tokenizer itself. If empty, the
            one that Tinker names is loaded by transformers (extra ``train``).
        usd_per_million: The price of a million trained tokens, ``None`` if it isn't known: then a
            budget in dollars refuses the job.
        checkpoints: About how many checkpoints a job keeps; it is gone on with from the last one.
        poll: Seconds between two questions for a result that isn't there yet.
    """

    tokenizer: Any = ""
    usd_per_million: float | None = None
    checkpoints: int = 10
    poll: float = 1.0

    @property
    def name(self) -> str:
        """``tinker``."""
        return "tinker"

    def check(self, base: str) -> None:
        """Raise ``ModelUnavailable`` if the base isn't one of Tinker's, or a key or the extra
        ``train`` is missing.
        """
        if not base.startswith(_PREFIX):
            fix = "Name one of theirs, base='tinker/ORG/MODEL', or use the trainer 'lora'."
            raise ModelUnavailable(base, "tinker trains its own models alone", fix)
        if not _key() and _url() == PROVIDERS["tinker"].url:
            raise ModelUnavailable(base, "there is no key for it", "Set TINKER_API_KEY.")
        if isinstance(self.tokenizer, str) and importlib.util.find_spec("transformers") is None:
            fix = 'Run: pip install "lmflow-dsl[train]"'
            raise ModelUnavailable(base, "the package transformers is missing", fix)

    def quote(self, job: Job) -> Quote:
        """Return the tokens and the price that a job is expected to take."""
        if self.usd_per_million is None:
            return Quote(job.tokens)
        return Quote(job.tokens, None, round(job.tokens * self.usd_per_million * _NANO / _MILLION))

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Take the job's steps, from its last checkpoint on, and save what they came to."""
        chats = [text_chat(chat, self.name) for chat in job.chats_json()]
        async with provider_api(f"{_url()}/api/v1", {"X-API-Key": _key()}) as api:
            model = await _begin(api, job, place, self.poll)
            tokenizer = await self._tokenizer(model)
            rows = [tokenize_chat(tokenizer, chat, job.recipe.longest) for chat in chats]
            await self._take_steps(model, rows, job, place)
            path = await model.publish(_name(job, "served"))
        details = Record(run=model.id, steps=job.recipe.steps(len(rows)))
        return Weights(f"{_PREFIX}{path}", job.base, job.trainer, job.key, details=details)

    async def _take_steps(
        self, model: _Model, rows: Sequence[Row], job: Job, place: TrainingPlace
    ) -> None:
        first, steps = place.noted().get("step", 0), job.recipe.steps(len(rows))
        every = max(1, steps // self.checkpoints)
        for step, batch in enumerate(batches(rows, job.recipe, job.seed)):
            if step < first:
                continue
            rate = job.recipe.rate * rate_share(step, steps)
            metrics = await model.step(batch, rate)
            place.tell({"step": step + 1, "steps": steps, "metrics": metrics})
            if (step + 1) % every == 0 and step + 1 < steps:
                path = await model.checkpoint(_name(job, f"{step + 1:06}"))
                # Both at once: a checkpoint under another step's number would repeat its batches.
                place.note({"state": path, "step": step + 1})
                place.tell({"checkpoint": step + 1})

    async def _tokenizer(self, model: _Model) -> Any:
        if not isinstance(self.tokenizer, str):
            return self.tokenizer
        name = self.tokenizer or await model.tokenizer_name()
        transformers: Any = importlib.import_module("transformers")
        try:
            return await asyncio.to_thread(transformers.AutoTokenizer.from_pretrained, name)
        except (OSError, ValueError) as error:
            msg = f"the tokenizer {name} can't be loaded: {clipped(str(error), 300)}"
            fix = "name a folder that holds it, lf.tinker(tokenizer=...)"
            raise TrainingProblem("base", f"{msg}; {fix}") from None


def tinker(
    *,
    tokenizer: Any = "",
    usd_per_million: float | None = None,
    checkpoints: int = 10,
    poll: float = 1.0,
) -> Tinker:
    """Make the trainer of Tinker's hosted models (``TINKER_API_KEY``).

    Their adapters have an alpha of their own, so a recipe's isn't sent.

    Args:
        tokenizer: The base's tokenizer: its name or folder, or a tokenizer of transformers with its
            chat template. If empty, the one that Tinker names is loaded (extra ``train``).
        usd_per_million: The price of a million trained tokens, ``None`` if it isn't known.
        checkpoints: About how many checkpoints a job keeps.
        poll: Seconds between two questions for a result that isn't there yet.

    Returns:
        The trainer.

    Raises:
        ValueError: ``checkpoints`` is less than 1.
    """
    if checkpoints < 1:
        msg = f"tinker(checkpoints=...) must be 1 or more, found {checkpoints}"
        raise ValueError(msg)
    return Tinker(tokenizer, usd_per_million, checkpoints, poll)


@attrs.define
class _Model:
    """A model that is trained: its requests are numbered, so that one sent again counts once."""

    api: ProviderApi
    session: str
    poll: float
    id: str = ""
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))
    _alive: float = attrs.field(factory=time.monotonic)

    async def create(self, job: Job) -> None:
        """Make a fresh adapter of the base."""
        body = {
            "session_id": self.session,
            "model_seq_id": 0,
            "base_model": job.base.removeprefix(_PREFIX),
            "user_metadata": {"lmflow": job.key},
            "lora_config": {"rank": job.recipe.rank, "seed": job.seed, **_MODULES},
            "type": "create_model",
        }
        answer = await self._result(await self.api.ask("POST", "create_model", body))
        self.id = text_in(answer, "model_id")

    async def load(self, path: str) -> None:
        """Take up a checkpoint, with the optimizer's state."""
        await self._asked("load_weights", {"path": path, "optimizer": True, "type": "load_weights"})

    async def step(self, batch: Sequence[Row], rate: float) -> dict[str, Any]:
        """Take one step on a batch, and return the numbers that it reports."""
        learned = sum(len(row.tokens) - row.start for row in batch)
        data = [_datum(row, 1 / learned) for row in batch]
        inputs = {"data": data, "loss_fn": "cross_entropy"}
        # Both are sent before either is waited for: their machines take them in one cycle.
        forward = await self._sent("forward_backward", {"forward_backward_input": inputs})
        params = {"learning_rate": rate, **_ADAM}
        update = await self._sent("optim_step", {"adam_params": params, "type": "optim_step"})
        answer = await self._result(forward)
        await self._result(update)
        metrics = answer.get("metrics")
        return dict(metrics) if isinstance(metrics, Mapping) else {}

    async def checkpoint(self, name: str) -> str:
        """Save the weights with the optimizer's state, and return their address."""
        body = {"path": name, "overwrite": True, "type": "save_weights"}
        return text_in(await self._asked("save_weights", body), "path")

    async def publish(self, name: str) -> str:
        """Save the weights as they are served, and return their address."""
        request = "save_weights_for_sampler"
        return text_in(await self._asked(request, {"path": name, "type": request}), "path")

    async def tokenizer_name(self) -> str:
        """Return the name of the base's tokenizer."""
        info = await self.api.ask("POST", "get_info", {"model_id": self.id, "type": "get_info"})
        values = info.get("model_data") if isinstance(info, Mapping) else None
        return text_in(values, "tokenizer_id").partition(":")[0]

    async def _asked(self, request: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._result(await self._sent(request, body))

    async def _sent(self, request: str, body: Mapping[str, Any]) -> Any:
        numbered = {**body, "model_id": self.id, "seq_id": next(self._numbers)}
        return await self.api.ask("POST", request, numbered)

    async def _result(self, future: Any) -> dict[str, Any]:
        """Wait for a future's result. ``TrainingProblem`` if the request failed."""
        body = {"request_id": text_in(future, "request_id")}
        while True:
            await self._sign_of_life()
            answer = await self.api.ask("POST", "retrieve_future", body, pending=_PENDING)
            if not isinstance(answer, dict):
                msg = f"the provider answered with no object: {clipped(str(answer), 300)}"
                raise TrainingProblem("provider", msg)
            if "error" in answer:
                raise TrainingProblem("provider", clipped(str(answer["error"]), 300))
            if answer.get("type") != "try_again":
                return answer
            await asyncio.sleep(self.poll)

    async def _sign_of_life(self) -> None:
        if time.monotonic() - self._alive < _HEARTBEAT:
            return
        body = {"session_id": self.session, "type": "session_heartbeat"}
        await self.api.ask("POST", "session_heartbeat", body)
        self._alive = time.monotonic()


async def _begin(api: ProviderApi, job: Job, place: TrainingPlace, poll: float) -> _Model:
    """Return a model for a job: as its last checkpoint left it, or a fresh one."""
    session = {
        "tags": ["lmflow"],
        "user_metadata": {"lmflow": job.key},
        "sdk_version": _VERSION,
        "type": "create_session",
    }
    id_ = text_in(await api.ask("POST", "create_session", session), "session_id")
    model = _Model(api, id_, poll)
    await model.create(job)
    noted = place.noted()
    place.tell({"provider": model.id, "resumed": noted.get("step", 0)})
    if noted.get("state"):
        await _load(model, noted["state"], place)
    return model


async def _load(model: _Model, path: str, place: TrainingPlace) -> None:
    try:
        await model.load(path)
    except TrainingProblem as problem:
        place.note({"state": None, "step": 0})
        msg = f"the checkpoint {path} can't be taken up: {problem}; the next run begins anew"
        raise TrainingProblem("provider", msg) from None


def _datum(row: Row, weight: float) -> dict[str, Any]:
    """Return a chat as Tinker learns it: each token is predicted from those before it, and those
    of the reply count.
    """
    targets = row.tokens[1:]
    weights = [0.0] * (row.start - 1) + [weight] * (len(row.tokens) - row.start)
    return {
        "model_input": {"chunks": [{"tokens": row.tokens[:-1], "type": "encoded_text"}]},
        "loss_fn_inputs": {
            "target_tokens": {"data": targets, "dtype": "int64", "shape": [len(targets)]},
            "weights": {"data": weights, "dtype": "float32", "shape": [len(weights)]},
        },
    }


def _name(job: Job, part: str) -> str:
    return f"lmflow-{job.key[:24]}-{part}"


def _url() -> str:
    provider = PROVIDERS["tinker"]
    return (os.environ.get(provider.url_from) or provider.url).rstrip("/")


def _key() -> str:
    return os.environ.get(PROVIDERS["tinker"].key_from, "").strip()

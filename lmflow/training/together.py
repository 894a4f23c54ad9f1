"""The trainer ``together``: fine-tuning jobs of Together's API, re-attached to by their ids.

The shapes are those of its API reference: files/upload, fine-tunes, fine-tunes/ID.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.errors import ModelUnavailable, clipped
from lmflow.models.registry import PROVIDERS
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.place import TrainingPlace
from lmflow.training.problems import TrainingProblem
from lmflow.training.provider_api import ProviderApi, provider_api, text_in
from lmflow.values.record import Record

_PREFIX = "together/"
_ENDED = frozenset({"completed", "error", "user_error", "cancelled"})
_NANO, _MILLION = 10**9, 10**6


@attrs.frozen
class Together:
    """Trains adapters at Together, and names the model that comes of it ``together/NAME``.

    Args:
        usd_per_million: The price of a million trained tokens, ``None`` if it isn't known: then a
            budget in dollars refuses the job.
        poll: Seconds between two questions how far the job is.
    """

    usd_per_million: float | None = None
    poll: float = 10.0

    @property
    def name(self) -> str:
        """``together``."""
        return "together"

    def check(self, base: str) -> None:
        """Raise ``ModelUnavailable`` if the base isn't one of Together, or there is no key."""
        if not base.startswith(_PREFIX):
            fix = "Name one of theirs, base='together/ORG/MODEL', or use the trainer 'lora'."
            raise ModelUnavailable(base, "together trains its own models alone", fix)
        if not _key() and _url() == PROVIDERS["together"].url:
            raise ModelUnavailable(base, "there is no key for it", "Set TOGETHER_API_KEY.")

    def quote(self, job: Job) -> Quote:
        """Return the tokens and the price that a job is expected to take."""
        if self.usd_per_million is None:
            return Quote(job.tokens)
        return Quote(job.tokens, None, round(job.tokens * self.usd_per_million * _NANO / _MILLION))

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Upload the chats, begin the job and wait for its end; what was begun is gone on with."""
        headers = {"Authorization": f"Bearer {_key()}"}
        async with provider_api(_url(), headers) as api:
            id_ = place.noted().get("id") or await self._begin(api, job, place)
            while True:
                state = await api.ask("GET", f"fine-tunes/{id_}")
                status = str(state.get("status", ""))
                place.tell({"provider": id_, "status": status})
                if status in _ENDED:
                    return _weights(job, place, id_, status, state)
                await asyncio.sleep(self.poll)

    async def _begin(self, api: ProviderApi, job: Job, place: TrainingPlace) -> str:
        file = place.noted().get("file") or await _upload(api, job)
        place.note({"file": file})
        recipe = job.recipe
        lora = {"type": "Lora", "lora_r": recipe.rank, "lora_alpha": round(recipe.alpha)}
        body = {
            "model": job.base.removeprefix(_PREFIX),
            "training_file": file,
            "n_epochs": recipe.epochs,
            "learning_rate": recipe.rate,
            "batch_size": recipe.batch,
            "training_type": lora,
            # The suffix finds the job again if this process ends before its id is written down.
            "suffix": _suffix(job),
        }
        id_ = await _begun(api, job)
        if not id_:
            # A job that may have begun is looked for by its suffix, never begun twice.
            id_ = text_in(await api.ask("POST", "fine-tunes", body, once=True), "id")
        place.note({"id": id_})
        return id_


def together(*, usd_per_million: float | None = None, poll: float = 10.0) -> Together:
    """Make the trainer of Together's hosted models (``TOGETHER_API_KEY``).

    Args:
        usd_per_million: The price of a million trained tokens, ``None`` if it isn't known.
        poll: Seconds between two questions how far the job is.

    Returns:
        The trainer.
    """
    return Together(usd_per_million, poll)


async def _upload(api: ProviderApi, job: Job) -> str:
    import aiohttp  # noqa: PLC0415 - slow to import

    lines = "".join(json.dumps(chat) + "\n" for chat in job.chats_json()).encode()

    def form() -> Any:
        data = aiohttp.FormData()
        data.add_field("purpose", "fine-tune")
        data.add_field("file_name", f"{_suffix(job)}.jsonl")
        data.add_field("file", lines, filename=f"{_suffix(job)}.jsonl")
        return data

    return text_in(await api.ask("POST", "files/upload", form=form), "id")


async def _begun(api: ProviderApi, job: Job) -> str:
    """Return the id of the job if an earlier process began it, empty if none did."""
    answer = await api.ask("GET", "fine-tunes")
    jobs = answer.get("data", ()) if isinstance(answer, Mapping) else ()
    own = [each for each in jobs if _suffix(job) in str(each.get("suffix") or each)]
    return text_in(own[0], "id") if own else ""


def _weights(
    job: Job, place: TrainingPlace, id_: str, status: str, state: Mapping[str, Any]
) -> Weights:
    if status != "completed":
        place.note({"id": None})  # the next try begins a new job
        reason = clipped(str(state.get("error") or state.get("message") or "it says no more"), 300)
        raise TrainingProblem("provider", f"the job {id_} ended as {status}: {reason}")
    name = state.get("model_output_name") or state.get("output_name")
    if not name:
        raise TrainingProblem("provider", f"the job {id_} ended without the name of its model")
    return Weights(f"{_PREFIX}{name}", job.base, job.trainer, job.key, details=Record(id=id_))


def _suffix(job: Job) -> str:
    return f"lmflow-{job.key[:24]}"


def _url() -> str:
    provider = PROVIDERS["together"]
    return (os.environ.get(provider.url_from) or provider.url).rstrip("/")


def _key() -> str:
    return os.environ.get(PROVIDERS["together"].key_from, "").strip()

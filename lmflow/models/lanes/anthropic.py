"""The lane of Anthropic's message batches.

As documented at platform.claude.com/docs: "Batch processing" (build-with-claude/batch-processing),
"Create", "List", "Retrieve" and "Retrieve results" (api/messages/batches).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Collection, Hashable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from lmflow.errors import ModelFailed
from lmflow.models.base import Response
from lmflow.models.lanes.base import Answer, LaneRequest, LaneState, Submission, expired
from lmflow.models.lanes.transfer import Transfer

_PATH = "/v1/messages"
_SKEW = 600  # seconds that the clocks may differ
_PAGE = 100
_NANO = 10**9
# The status that the Messages API answers with for a type of error ("Errors", api/errors).
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@attrs.frozen
class AnthropicLane:
    """Message batches: the requests are in the body that begins one.

    Args:
        most_requests: The most requests of one batch.
        most_bytes: The most bytes of its body.
    """

    most_requests: int = 100_000
    most_bytes: int = 256_000_000

    @property
    def name(self) -> str:
        """``anthropic``."""
        return "anthropic"

    def takes(self, url: str) -> bool:
        """Tell whether a URL is that of the Messages API."""
        return url.endswith(_PATH)

    def group(self, request: LaneRequest) -> Hashable:
        """Return the URL and the headers; models may differ."""
        return request.url, tuple(request.headers.items())

    def line(self, request: LaneRequest) -> bytes:
        """Return a request as a member of the batch."""
        member = {"custom_id": request.id, "params": request.body}
        return msgspec.json.encode(member, enc_hook=dict)

    # A message batch has no name and no metadata. It is known by the ids of its requests, which
    # only its results show, once it has ended.
    async def find(
        self, transfer: Transfer, url: str, submission: Submission, taken: Collection[str]
    ) -> str | None:
        """Look for a batch of the same size, begun since, whose results have one of the ids."""
        undecided = False
        async for batch in _batches_since(transfer, url, submission.at // _NANO - _SKEW):
            id_ = str(batch["id"])
            if id_ in taken or _count(batch) != len(submission.ids):
                continue
            if batch.get("processing_status") != "ended":
                undecided = True
            elif await _is_of(transfer, url, id_, frozenset(submission.ids)):
                return id_
        return None if undecided else ""

    async def submit(
        self, transfer: Transfer, url: str, submission: Submission, lines: Sequence[bytes]
    ) -> str:
        """Begin a batch."""
        del submission
        body = b'{"requests":[' + b",".join(lines) + b"]}"
        return str((await transfer.post(f"{url}/batches", body))["id"])

    async def state(self, transfer: Transfer, url: str, batch: str) -> LaneState:
        """Ask how far a batch is."""
        found = await transfer.get(f"{url}/batches/{batch}")
        total = _count(found)
        waiting = int((found.get("request_counts") or {}).get("processing") or 0)
        return LaneState(found["processing_status"] == "ended", total - waiting, total, (batch,))

    async def answers(
        self, transfer: Transfer, url: str, state: LaneState, submission: Submission
    ) -> AsyncIterator[tuple[str, Answer]]:
        """Read the results of a batch that has ended."""
        del submission
        # Not `results_url`: the key must go to no place that an answer names.
        for batch in state.outputs:
            async for line in transfer.lines(f"{url}/batches/{batch}/results"):
                if line.strip():
                    yield _answer(msgspec.json.decode(line))


async def _batches_since(
    transfer: Transfer, url: str, oldest: int
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the batches that were begun since a time in seconds, newest first."""
    after = ""
    while True:
        cursor = f"&after_id={after}" if after else ""
        page = await transfer.get(f"{url}/batches?limit={_PAGE}{cursor}")
        batches = page.get("data") or []
        for batch in batches:
            if _seconds(batch["created_at"]) < oldest:
                return
            yield batch
        if not page.get("has_more") or not batches:
            return
        after = str(batches[-1]["id"])


async def _is_of(transfer: Transfer, url: str, batch: str, ids: frozenset[str]) -> bool:
    """Tell whether the first result of a batch that has ended is that of one of some requests."""
    async for line in transfer.lines(f"{url}/batches/{batch}/results"):
        if line.strip():
            return msgspec.json.decode(line).get("custom_id") in ids
    return False


def _answer(line: Mapping[str, Any]) -> tuple[str, Answer]:
    """Return the answer of a line of results, with the id of its request."""
    id_, result = str(line["custom_id"]), line["result"]
    match result["type"]:
        case "succeeded":
            return id_, Response(200, {}, msgspec.json.encode(result["message"]))
        case "errored":
            error = result.get("error") or {}
            kind = str((error.get("error") or error).get("type"))
            body = msgspec.json.encode(error if "error" in error else {"error": error})
            return id_, Response(_STATUSES.get(kind, 500), {}, body)
        case "expired":
            return id_, expired("anthropic", "the batch ended before the request was answered")
        case "canceled":
            return id_, expired("anthropic", "the batch was cancelled")
    words = f"anthropic: a result of the type {str(result['type'])[:80]!r}"
    return id_, ModelFailed("bad_reply", f"{words}. Ask again.")


def _count(batch: Mapping[str, Any]) -> int:
    counts = (batch.get("request_counts") or {}).values()
    return sum(count for count in counts if isinstance(count, int))


def _seconds(time: str) -> float:
    return dt.datetime.fromisoformat(time).timestamp()

"""The lane of OpenAI's batches, which other servers of its shapes have too.

As documented at platform.openai.com/docs: "Batch API" (guides/batch), "Batch" and "Files"
(api-reference/batch, api-reference/files).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Hashable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from lmflow.errors import ModelFailed, clipped
from lmflow.models.base import Response
from lmflow.models.lanes.base import Answer, LaneRequest, LaneState, Submission, expired
from lmflow.models.lanes.transfer import Transfer

_PATHS = ("/chat/completions", "/embeddings")
_WINDOW = "24h"
_MARK = "lmflow"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_UNBILLED = frozenset({"batch_expired", "batch_cancelled"})
_SKEW = 600  # seconds that the clocks may differ
_PAGE = 100
_NANO = 10**9


@attrs.frozen
class OpenAILane:
    """Batches of OpenAI: a file of requests to one endpoint and one model, answered in two files.

    Args:
        most_requests: The most requests of one batch.
        most_bytes: The most bytes of its file.
    """

    most_requests: int = 50_000
    most_bytes: int = 200_000_000

    @property
    def name(self) -> str:
        """``openai``."""
        return "openai"

    def takes(self, url: str) -> bool:
        """Tell whether a URL is that of chat completions or embeddings."""
        return _without_query(url).endswith(_PATHS)

    def group(self, request: LaneRequest) -> Hashable:
        """Return the URL, the headers and the model: a file has requests to one model alone."""
        return request.url, tuple(request.headers.items()), request.body.get("model")

    def line(self, request: LaneRequest) -> bytes:
        """Return a request as a line of the file."""
        return msgspec.json.encode(
            {
                "custom_id": request.id,
                "method": "POST",
                "url": _endpoint(request.url),
                "body": request.body,
            },
            enc_hook=dict,
        )

    async def find(
        self, transfer: Transfer, url: str, submission: Submission, taken: Collection[str]
    ) -> str | None:
        """Look for the batch whose metadata has the submission's name, newest first."""
        del taken
        oldest, after = submission.at // _NANO - _SKEW, ""
        while True:
            cursor = f"&after={after}" if after else ""
            page = await transfer.get(f"{_base(url)}/batches?limit={_PAGE}{cursor}")
            batches = page.get("data") or []
            for batch in batches:
                if (batch.get("metadata") or {}).get(_MARK) == submission.name:
                    return str(batch["id"])
            is_older = batches and int(batches[-1].get("created_at") or 0) < oldest
            if not page.get("has_more") or not batches or is_older:
                return ""
            after = str(batches[-1]["id"])

    async def submit(
        self, transfer: Transfer, url: str, submission: Submission, lines: Sequence[bytes]
    ) -> str:
        """Upload the file and begin its batch, which carries the submission's name."""
        file = await transfer.upload(
            f"{_base(url)}/files",
            {"purpose": "batch"},
            f"{submission.name}.jsonl",
            b"\n".join(lines) + b"\n",
        )
        batch = await transfer.post(
            f"{_base(url)}/batches",
            {
                "input_file_id": file["id"],
                "endpoint": _endpoint(url),
                "completion_window": _WINDOW,
                "metadata": {_MARK: submission.name},
            },
        )
        return str(batch["id"])

    async def state(self, transfer: Transfer, url: str, batch: str) -> LaneState:
        """Ask how far a batch is. One that was refused says for which lines."""
        found = await transfer.get(f"{_base(url)}/batches/{batch}")
        counts = found.get("request_counts") or {}
        files = (found.get("output_file_id"), found.get("error_file_id"))
        errors = (found.get("errors") or {}).get("data") or []
        words = "; ".join(clipped(str(error.get("message")), 300) for error in errors[:3])
        lines = {error["line"]: error for error in errors if isinstance(error.get("line"), int)}
        status = str(found["status"])
        return LaneState(
            status in _ENDED,
            int(counts.get("completed") or 0) + int(counts.get("failed") or 0),
            int(counts.get("total") or 0),
            tuple(str(file) for file in files if file),
            (words or "it says no more") if status == "failed" else "",
            # Lines are counted from 1.
            {line - 1: str(error.get("message")) for line, error in lines.items()},
        )

    async def answers(
        self, transfer: Transfer, url: str, state: LaneState, submission: Submission
    ) -> AsyncIterator[tuple[str, Answer]]:
        """Read the file of answers and that of errors."""
        del submission
        for file in state.outputs:
            async for line in transfer.lines(f"{_base(url)}/files/{file}/content"):
                if line.strip():
                    yield _answer(msgspec.json.decode(line))


def _answer(line: Mapping[str, Any]) -> tuple[str, Answer]:
    """Return the answer of a line of a file, with the id of its request."""
    response, error = line.get("response"), line.get("error")
    if response:
        body = msgspec.json.encode(response["body"])
        return str(line["custom_id"]), Response(int(response["status_code"]), {}, body)
    error = error or {}
    words = clipped(str(error.get("message") or "no answer"), 300).rstrip(".")
    if error.get("code") in _UNBILLED:
        return str(line["custom_id"]), expired("openai", words)
    return str(line["custom_id"]), ModelFailed("server", f"openai: {words}. Ask again.")


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _path(url: str) -> str:
    return next(path for path in _PATHS if _without_query(url).endswith(path))


def _base(url: str) -> str:
    return _without_query(url).removesuffix(_path(url))


def _endpoint(url: str) -> str:
    """Return the endpoint of a batch, which is the same whatever the server's own URL is."""
    return f"/v1{_path(url)}"

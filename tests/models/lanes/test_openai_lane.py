"""OpenAI's batches in the documented shapes (platform.openai.com/docs/guides/batch)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

from lmflow.errors import ModelFailed
from lmflow.models.base import Response
from lmflow.models.lanes.base import LaneRequest, LaneState, Submission
from lmflow.models.lanes.openai import OpenAILane
from lmflow.models.lanes.transfer import Transfer

URL = "https://api.openai.com/v1/chat/completions"
LANE = OpenAILane()
SUBMISSION = Submission("lmflow-w1", ("a", "b"), 0)


class Canned:
    """The provider, by what it answers to a URL."""

    def __init__(self, **pages: Any) -> None:
        self.pages = pages

    async def get(self, url: str) -> Any:
        """Answer by the last part of the path."""
        return self.pages[url.rpartition("/")[2].partition("?")[0]]

    async def lines(self, url: str) -> AsyncIterator[bytes]:
        """Yield the lines of a file."""
        for line in self.pages[url.split("/")[-2].replace("-", "_")]:
            yield json.dumps(line).encode()


def _canned(**pages: Any) -> Transfer:
    return cast("Transfer", Canned(**pages))


def test_a_line_is_the_live_request() -> None:
    """A line holds the id, the endpoint whatever the server's URL is, and the live body."""
    request = LaneRequest("a", "http://127.0.0.1:9/other/v1/embeddings", {}, {"model": "m"})
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m"}}
    assert line == json.loads(LANE.line(request))


def test_a_file_is_for_one_model() -> None:
    """Requests to two models, or with two keys, are two batches."""
    requests = [
        LaneRequest("a", URL, {"Authorization": key}, {"model": model})
        for key, model in (("k", "m"), ("k", "n"), ("l", "m"), ("k", "m"))
    ]
    assert 3 == len({LANE.group(request) for request in requests})


async def test_states_are_read() -> None:
    """An expired batch has ended, with the files of what was answered and what was not."""
    batch = {
        "id": "batch_1",
        "status": "expired",
        "output_file_id": "file-out",
        "error_file_id": "file-err",
        "request_counts": {"total": 100, "completed": 95, "failed": 2},
    }
    state = await LANE.state(_canned(batch_1=batch), URL, "batch_1")
    assert LaneState(ended=True, done=97, total=100, outputs=("file-out", "file-err")) == state


async def test_a_failed_batch_names_its_lines() -> None:
    """A batch that failed validation says why, and for which lines, counted from 1."""
    error = {"code": "invalid_json_line", "message": "not parseable", "param": None, "line": 2}
    errors = {"object": "list", "data": [error]}
    batch = {"id": "batch_1", "status": "failed", "errors": errors}
    state = await LANE.state(_canned(batch_1=batch), URL, "batch_1")
    assert (True, "not parseable", {1: "not parseable"}) == (state.ended, state.refused, state.bad)


async def test_answers_are_those_of_live_requests() -> None:
    """A line of an answer is the live response; one that expired is unbilled, another can be sent
    again.
    """
    body: dict[str, Any] = {"choices": []}
    good = {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "req_1", "body": body},
        "error": None,
    }
    words = "This request could not be executed before the completion window expired."
    late = {
        "custom_id": "b",
        "response": None,
        "error": {"code": "batch_expired", "message": words},
    }
    odd = {"custom_id": "c", "response": None, "error": {"code": "server_error", "message": "x"}}
    state = LaneState(ended=True, outputs=("file-out", "file-err"))
    canned = _canned(file_out=[good], file_err=[late, odd])
    read = [pair async for pair in LANE.answers(canned, URL, state, SUBMISSION)]
    assert ("a", Response(200, {}, json.dumps(body, separators=(",", ":")).encode())) == read[0]
    kinds = [(id_, answer.kind) for id_, answer in read[1:] if isinstance(answer, ModelFailed)]
    assert [("b", "expired"), ("c", "server")] == kinds


async def test_a_batch_is_found_by_its_name() -> None:
    """The batch whose metadata has the name is found; without one there is none."""
    mine = {"id": "batch_2", "created_at": 5, "metadata": {"lmflow": "lmflow-w1"}}
    other = {"id": "batch_3", "created_at": 6, "metadata": None}
    for batches, found in (([other, mine], "batch_2"), ([other], ""), ([], "")):
        page = {"data": batches, "has_more": False}
        assert found == await LANE.find(_canned(batches=page), URL, SUBMISSION, ())

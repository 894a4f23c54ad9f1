"""Anthropic's message batches in the documented shapes (platform.claude.com/docs, api/messages)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from lmflow.errors import ModelFailed
from lmflow.models.base import Response
from lmflow.models.lanes.anthropic import AnthropicLane
from lmflow.models.lanes.base import LaneRequest, LaneState, Submission
from lmflow.models.lanes.transfer import Transfer

URL = "https://api.anthropic.com/v1/messages"
LANE = AnthropicLane()
SUBMISSION = Submission("lmflow-w1", ("a", "b"), 0)


class Canned:
    """The provider, by its list of batches and their results."""

    def __init__(self, batches: list[dict[str, Any]], **results: list[dict[str, Any]]) -> None:
        self.batches, self.results = batches, results

    async def get(self, url: str) -> Any:
        """Answer with a batch, or with all."""
        named = [batch for batch in self.batches if url.endswith(f"/{batch['id']}")]
        return named[0] if named else {"data": self.batches, "has_more": False}

    async def lines(self, url: str) -> AsyncIterator[bytes]:
        """Yield the results of a batch, from the API's own address alone."""
        assert url.startswith(f"{URL}/batches/")
        for line in self.results[url.split("/")[-2]]:
            yield json.dumps(line).encode()


def _canned(*batches: dict[str, Any], **results: list[dict[str, Any]]) -> Transfer:
    return cast("Transfer", Canned(list(batches), **results))


def _batch(id_: str, status: str = "ended", **counts: int) -> dict[str, Any]:
    return {
        "id": id_,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {"processing": 0, "succeeded": 2, "errored": 0, **counts},
        "created_at": "2026-08-20T18:37:24.100435Z",
        "results_url": "https://elsewhere.invalid/results",
    }


def test_a_member_is_the_live_request() -> None:
    """A member holds the id and the body of the live request; models may differ."""
    requests = [LaneRequest("a", URL, {}, {"model": model}) for model in ("m", "n")]
    assert {"custom_id": "a", "params": {"model": "m"}} == json.loads(LANE.line(requests[0]))
    assert 1 == len({LANE.group(request) for request in requests})


async def test_states_are_read() -> None:
    """A batch under way says how many of its requests are done."""
    batch = _batch("msgbatch_1", "in_progress", processing=6)
    state = await LANE.state(_canned(batch), URL, "msgbatch_1")
    assert (False, 2, 8) == (state.ended, state.done, state.total)


async def test_results_are_those_of_live_requests() -> None:
    """A message is a live response, an error has the status of its type, the rest is unbilled."""
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
    results: list[dict[str, Any]] = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"id": "msg_1"}}},
        {"custom_id": "b", "result": {"type": "errored", "error": error}},
        {"custom_id": "c", "result": {"type": "expired"}},
        {"custom_id": "d", "result": {"type": "canceled"}},
    ]
    state = LaneState(ended=True, outputs=("m1",))
    canned = _canned(m1=results)
    read = dict([pair async for pair in LANE.answers(canned, URL, state, SUBMISSION)])
    statuses = [answer.status for answer in read.values() if isinstance(answer, Response)]
    kinds = [answer.kind for answer in read.values() if isinstance(answer, ModelFailed)]
    assert ([200, 400], ["expired", "expired"]) == (statuses, kinds)


@pytest.mark.parametrize(
    ("batches", "found"),
    [
        ([_batch("m1")], "m1"),
        ([_batch("m2")], ""),
        ([_batch("m1", errored=1)], ""),
        ([_batch("m3", "in_progress")], None),
        ([_batch("taken")], ""),
        ([], ""),
    ],
)
async def test_a_batch_is_found_by_its_results(
    batches: list[dict[str, Any]], found: str | None
) -> None:
    """A batch of the same size is ours if its results have our ids; before its end nobody knows."""
    mine, other = [{"custom_id": "b"}], [{"custom_id": "x"}]
    canned = _canned(*batches, m1=mine, m2=other, taken=mine)
    assert found == await LANE.find(canned, URL, SUBMISSION, {"taken"})

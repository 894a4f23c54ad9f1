"""Models in waves: their names, the lanes that take them, and what they refuse."""

from __future__ import annotations

import pytest

import lmflow as lf
from lmflow.errors import ModelFailed, ModelUnavailable
from lmflow.execution.models import Models
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Http
from lmflow.models.lanes.anthropic import AnthropicLane
from lmflow.models.lanes.model import Batched, WaveExchange, WaveRules
from lmflow.models.lanes.openai import OpenAILane
from lmflow.models.retries import Retrying
from lmflow.testing.models import Door

OPENAI = "http://127.0.0.1:9/v1/chat/completions"


async def _nothing(_: Http) -> ModelReply:
    raise AssertionError


def test_a_name_says_that_a_model_goes_in_waves() -> None:
    """``batch:`` before a name is the model in waves, under its live name, without waiting retries."""
    model = lf.model("batch:ollama/MODEL")
    assert isinstance(model, Batched)
    assert ("ollama/MODEL", "ollama") == (model.name, model.endpoint)
    assert not isinstance(model.model, Retrying)
    assert not isinstance(lf.batched(lf.model("ollama/MODEL")).model, Retrying)


def test_waves_leave_the_choice_of_an_adapter_as_it_is() -> None:
    """Adapters are chosen by the live name; executions in waves are many at once."""
    models = Models("batch:ollama/MODEL")
    assert ("ollama/MODEL", True) == (models.default_name, models.wait_for_waves)
    assert Models(lf.fallback(lf.batched("ollama/M"), "ollama/N")).wait_for_waves
    assert not Models("ollama/MODEL").wait_for_waves


@pytest.mark.parametrize(
    ("url", "lane"),
    [
        (OPENAI, OpenAILane()),
        ("http://127.0.0.1:9/v1/embeddings", OpenAILane()),
        ("http://127.0.0.1:9/v1/messages", AnthropicLane()),
    ],
)
def test_the_url_chooses_the_lane(url: str, lane: object) -> None:
    """Without a named lane the URL of the live request chooses it."""
    assert lane == WaveExchange(_nothing, None, WaveRules()).lane_of(url)


def test_a_request_that_no_lane_takes_is_refused() -> None:
    """A URL without a lane is a mistake in the request, and the words name the lanes."""
    with pytest.raises(ModelFailed, match="openai"):
        WaveExchange(_nothing, AnthropicLane(), WaveRules()).lane_of(OPENAI)


@pytest.mark.parametrize("options", [{"attempts": 0}, {"size": 0}, {"max_waves": 0}])
def test_numbers_are_checked(options: dict[str, int]) -> None:
    """A number below 1 is named."""
    with pytest.raises(ValueError, match=next(iter(options))):
        lf.batched("ollama/MODEL", **options)  # type: ignore[arg-type]


def test_an_unknown_lane_is_named() -> None:
    """The lanes are listed, with what is near."""
    with pytest.raises(ValueError, match="Did you mean 'openai'"):
        lf.batched("ollama/MODEL", lane="opnai")


def test_a_model_without_an_api_has_no_lane() -> None:
    """A model that posts nothing can't be batched: else it would be asked live at a live price."""
    with pytest.raises(ModelUnavailable, match="no batch lane"):
        lf.batched(lf.scripted(["42"]))


async def test_without_an_executor_a_batched_model_sends_nothing() -> None:
    """Only an executor can wait for a wave; the words say so."""
    with pytest.raises(ModelFailed, match="executor"):
        await lf.batched("ollama/MODEL")(ChatRequest(()), Door())

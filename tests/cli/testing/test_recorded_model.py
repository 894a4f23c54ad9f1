"""The laws of models in a recording: only the server that was recorded answers new requests."""

import attrs
import pytest
from fakes import ask

import lmflow as lf
from lmflow.cli.testing.recorded_model import RecordedModel
from lmflow.errors import ModelUnavailable
from lmflow.testing.models import Door


def _recorded(endpoint: str, now: str) -> RecordedModel:
    model = attrs.evolve(lf.scripted({"": "fine"}, name="openai/m"), endpoint=now)
    return RecordedModel("openai/m", endpoint, "test.db", lambda: model)


@pytest.mark.parametrize(
    ("endpoint", "now"),
    [("host:8000/team", "host:8000/team"), ("host", "host:8000/team"), ("openai", "openai")],
)
async def test_the_recorded_server_answers(endpoint: str, now: str) -> None:
    """Older recordings have the host alone, which any server of it fits."""
    assert "fine" == (await _recorded(endpoint, now)(ask(), Door())).text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("endpoint", "now"), [("host:8000", "host:8001"), ("host", "other:8000"), ("openai", "host")]
)
async def test_another_server_is_refused(endpoint: str, now: str) -> None:
    """A recording isn't continued with another server in silence."""
    with pytest.raises(ModelUnavailable, match="Record anew"):
        await _recorded(endpoint, now)(ask(), Door())

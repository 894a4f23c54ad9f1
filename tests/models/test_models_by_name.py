"""Models by name: wherever a model is taken, ``provider/model`` names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import ModelUnavailable
from lmflow.models.base import Model
from lmflow.models.retries import Retrying
from lmflow.models.wrap import Routed

NAME = "ollama/qwen3"
Wrap = Callable[[Any], Model]
WRAPPERS: dict[str, Wrap] = {
    "cached": lambda model: lf.cached(model, lf.MemoryStore()),
    "limited": lambda model: lf.limited(model, requests=5),
    "retrying": lambda model: lf.retrying(model, attempts=2),
    "fallback": lf.fallback,
    "routed": lambda model: lf.routed({"fast": model}),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_name_is_the_model_that_it_names(wrap: Wrap) -> None:
    """A wrapper of a name has the name and endpoint of the wrapper of that model."""
    by_name, by_model = wrap(NAME), wrap(lf.model(NAME))
    assert (by_model.name, by_model.endpoint) == (by_name.name, by_name.endpoint)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "expected a model or its name, found int 5. Name one"),
        (lf.scripted, r"found function scripted\. .*lf\.scripted\(\["),
        ({"model": NAME}, "found dict"),
        (None, "found NoneType None"),
    ],
)
def test_what_is_no_model_is_named(wrap: Wrap, value: Any, words: str) -> None:
    """With the line that makes one, before anything is sent."""
    with pytest.raises(TypeError, match=words):
        wrap(value)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_name_without_a_provider_is_refused(wrap: Wrap) -> None:
    """With the name that would do."""
    with pytest.raises(ModelUnavailable, match=r"Write provider/model, such as openai/gpt-4o\."):
        wrap("gpt-4o")


def test_retries_of_a_name_do_not_multiply() -> None:
    """A name is made without the retries that ``lf.model`` adds."""
    model = lf.retrying(NAME, attempts=2)
    assert not isinstance(model.model, Retrying)
    assert {2} == set(model.attempts.values())


async def test_a_step_finds_a_route_by_its_short_name() -> None:
    """Names and models stand side by side in one ``routed``."""
    model = lf.routed({"fast": lf.scripted(["ok"]), "good": NAME})
    step = lf.predict("answer", "question -> answer", model="fast")
    async with lf.Executor(model) as ex:
        assert lf.Record(answer="ok") == (await ex.run(step, question="?")).outputs
    assert isinstance(model, Routed)


@pytest.mark.parametrize("value", [5, lf.scripted, {"model": NAME}])
def test_an_executor_takes_a_model_or_its_name(value: Any) -> None:
    """Anything else is named where it is given."""
    with pytest.raises(TypeError, match="expected a model or its name, found"):
        lf.Executor(value)


def test_replies_are_reused_from_a_store() -> None:
    """A path in place of the store is named with the line that opens it."""
    path: Any = "notes.db"
    with pytest.raises(TypeError, match=r"expected a store .*found str 'notes\.db'\. Open one"):
        lf.cached(NAME, path)

"""The laws of staged optimizers: a generator and its options make a factory."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Generator
from typing import Any

import pytest

import lmflow as lf
from lmflow.optimizers.parts.plan import PlanOptimizer


@lf.staged(bound=lambda _program, data, tries: tries * len(data.select), parts=["select"])
def trying(task: lf.Task, *, tries: int = 2) -> Generator[Any, Any, lf.Version]:
    """Try the start version."""
    best = lf.Best(task.version)
    for number in range(tries):
        _, best = yield from lf.score_candidate(task, task.version, f"try[{number}]", best)
    return best.version


DATA = lf.Data([{"q": "a"}], [{"q": "b"}, {"q": "c"}])
PROGRAM = lf.predict("p", "q -> a")


def test_a_factory_is_like_its_function() -> None:
    """It has the name, the docstring and the typed options, so that help and commands read them."""
    assert ("trying", "Try the start version.") == (trying.__name__, trying.__doc__)
    assert ["tries"] == list(inspect.signature(trying).parameters)
    assert {"tries": int} == typing.get_type_hints(trying)


def test_options_identify_an_optimizer() -> None:
    """Equal options make equal optimizers; the defaults are among them."""
    assert isinstance(trying(), PlanOptimizer)
    assert trying() == trying(tries=2) != trying(tries=3)
    assert ("trying", {"tries": 3}) == (trying(tries=3).name, dict(trying(tries=3).options))


def test_the_bound_is_a_function_of_data_and_options() -> None:
    """A number is one of rollouts; without a bound there is none to run."""

    @lf.staged()
    def idle(task: lf.Task, *, seed: int = 0) -> Generator[Any, Any, lf.Version]:
        del seed
        yield from ()
        return task.version

    metric = lf.exact_match("a")
    assert 6 == trying(tries=3).bound_for(PROGRAM, DATA, metric).rollouts
    assert 0 == idle().bound_for(PROGRAM, DATA, metric).rollouts


def test_an_option_that_there_is_not_is_refused() -> None:
    """By Python's own words."""
    with pytest.raises(TypeError, match="tris"):
        trying(tris=3)


def _no_generator(task: Any, *, seed: int = 0) -> Any:
    del seed
    return task.version


def _by_position(task: Any, seed: int = 0) -> Any:
    del seed
    yield task


def _without_default(task: Any, *, seed: int) -> Any:
    del seed
    yield task


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (_no_generator, "is no generator function. Write `def _no_generator(task"),
        (_by_position, "options by name with defaults"),
        (_without_default, "options by name with defaults"),
    ],
)
def test_another_function_is_refused_with_the_line_to_write(function: Any, problem: str) -> None:
    """A staged optimizer is a generator of a task and of options by name."""
    with pytest.raises(TypeError) as caught:
        lf.staged()(function)
    assert problem in str(caught.value)

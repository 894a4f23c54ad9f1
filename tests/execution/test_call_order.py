"""A version is given by keyword to every method that takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.execution.call_order import LINES

ANSWER = lf.predict("answer", "question -> reply")
RELEASE = lf.predict("release", "version -> notes")
ROWS = [{"id": "a", "question": "?", "reply": "x"}]
DATA = lf.Data(train=ROWS)
METRIC = lf.exact_match("reply")


def old_order(method: Callable[..., Any], *arguments: Any) -> Any:
    """Call a method without its types, which refuse the old order already."""
    return method(*arguments)


OLD_ORDER: dict[str, Callable[[lf.Executor, Any], Any]] = {
    "run": lambda ex, version: ex.run(ANSWER, version, question="?"),
    "stream": lambda ex, version: ex.stream(ANSWER, version, question="?"),
    "map": lambda ex, version: ex.map(ANSWER, ROWS, version),
    "evaluate": lambda ex, version: old_order(ex.evaluate, ANSWER, version, ROWS, METRIC),
    "optimize": lambda ex, version: old_order(
        ex.optimize, lf.labeled_few_shot(), ANSWER, version, DATA, METRIC
    ),
    "replay": lambda ex, version: ex.replay(lf.Run("1", "run", "x"), ANSWER, version),
    "world": lambda ex, version: ex.world(ANSWER, version),
}


def test_every_method_is_tried() -> None:
    """Each method with a line in the error is called in the old order below."""
    assert set(LINES) == set(OLD_ORDER)


@pytest.mark.parametrize("method", OLD_ORDER)
@pytest.mark.parametrize("version", [None, "prod", lf.init(ANSWER)], ids=["none", "name", "value"])
async def test_the_old_order_names_the_new_line(method: str, version: object) -> None:
    """A version by position is refused by the line that passes it by keyword; nothing is sent."""
    store = lf.MemoryStore()
    async with lf.Executor(lf.scripted([]), store) as ex:
        with pytest.raises(TypeError) as caught:
            await OLD_ORDER[method](ex, version)
    assert LINES[method] in str(caught.value)
    assert not list(store.runs())


async def test_a_version_before_the_rows_is_refused() -> None:
    """The old order with one argument too few is recognized as well."""
    async with lf.Executor(lf.scripted([])) as ex:
        with pytest.raises(TypeError, match=r"ex\.evaluate\(program, examples, metric, version="):
            await ex.evaluate(ANSWER, lf.init(ANSWER), ROWS)  # type: ignore[arg-type]


async def test_an_input_called_version() -> None:
    """A program with such an input gets it by a call of its own; by keyword it is ambiguous."""
    async with lf.Executor(lf.scripted(["fixed", "again"])) as ex:
        trace = await ex.run(RELEASE(version="2.0"), version=lf.init(RELEASE))
        assert trace.outputs is not None
        assert ("fixed", "2.0") == (trace.outputs.notes, trace.inputs["version"])
        with pytest.raises(TypeError, match=r"release\(version=\.\.\.\), version="):
            await ex.run(RELEASE, version="2.0")
    again = lf.run(RELEASE(version="2.1"), model=lf.scripted(["again"]))
    assert again.outputs is not None
    assert "again" == again.outputs.notes

"""What a newcomer gives in the wrong place is named, with the line that mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import WrongType

STEP = lf.predict("classify", "text -> label", "Say which.")
ROWS = [{"text": f"t{n}", "label": "a"} for n in range(6)]
METRIC = lf.exact_match("label")
VERSION: Any = lf.init(STEP)
MAIN: Any = "main"
UPPER: Any = str.upper
SIGNATURE: Any = "question -> answer"


def one_argument(outputs: lf.Record) -> bool:
    """What a judge of another library may look like."""
    return bool(outputs)


ONE: Any = one_argument
DATA = lf.Data(ROWS[:2], ROWS[2:4], ROWS[4:])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda ex: ex.run(STEP, version={"text": "x"}),
            r"expected a version, found dict .*ex\.run\(program, question=",
        ),
        (
            lambda ex: ex.run(len, text="x"),
            r"expected a program, found builtin_function_or_method .*lf\.predict",
        ),
        (
            lambda ex: ex.map(STEP, ["x"]),
            r"expected an example, found str 'x'\. Its fields have names",
        ),
        (
            lambda ex: ex.map(STEP, ROWS, budget=3),
            r"expected a budget, found int 3\. .*lf\.Budget\(calls=100\)",
        ),
        (
            lambda ex: ex.evaluate(STEP, DATA, METRIC),
            r"expected examples, found Data .*data\.held",
        ),
        (
            lambda ex: ex.evaluate(STEP, ROWS, "label"),
            r"found the text 'label'\. .*lf\.exact_match\('label'\)",
        ),
        (
            lambda ex: ex.evaluate(STEP, ROWS, ONE),
            r"Write `def one_argument\(example, outputs\)`",
        ),
        (
            lambda ex: ex.evaluate(STEP, ROWS, METRIC, budget=3),
            "expected a budget, found int 3",
        ),
        (
            lambda ex: ex.optimize(lf.mipro, STEP, DATA, METRIC),
            r"expected an optimizer.*lf\.mipro\(\)",
        ),
        (
            lambda ex: ex.optimize(lf.mipro(), STEP, ROWS, METRIC),
            r"expected lf\.Data, found list .*lf\.split\(",
        ),
        (
            lambda ex: ex.optimize(lf.mipro(), STEP, DATA, METRIC, budget=3),
            "expected a budget, found int 3",
        ),
    ],
)
async def test_an_executor_names_it(call: Callable[[lf.Executor], Any], words: str) -> None:
    """Before anything is asked."""
    model = lf.scripted(["a"] * 50)
    async with lf.Executor(model) as ex:
        with pytest.raises(TypeError, match=words):
            await call(ex)
        assert 0 == ex.spent.calls


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: STEP >> UPPER, r"expected a program, found method_descriptor .*lf\.tool\("),
        (
            lambda: lf.compare(VERSION, VERSION),
            r"expected an evaluation, found Version .*ex\.evaluate",
        ),
        (lambda: lf.diff(VERSION, MAIN), r"expected a version, found str 'main'. That of a ref is"),
        (lambda: lf.Dataset("rows", [MAIN]), "expected an example, found str 'main'"),
    ],
)
def test_a_function_names_it(call: Callable[[], object], words: str) -> None:
    """With what it takes."""
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lf.init(SIGNATURE), "expected a program, found str 'question -> answer'"),
        (lambda: lf.chain_of_thought(SIGNATURE), r"expected a step, found str .*lf\.predict\("),
        (lambda: lf.nearest(SIGNATURE), "expected a step, found str"),
        (lambda: lf.similar(SIGNATURE), "expected a step, found str"),
        (lambda: lf.parallel(STEP, SIGNATURE), "expected a program, found str"),
        (lambda: lf.branch("ok", STEP, SIGNATURE), "expected a program, found str"),
        (lambda: lf.map(SIGNATURE, "texts"), "expected a program, found str"),
        (lambda: lf.repeat(SIGNATURE, until="ok", times=2), "expected a program, found str"),
        (lambda: lf.flow("text -> label", uses=[SIGNATURE]), "expected a program, found str"),
        (lambda: lf.self_consistency(SIGNATURE, n=3), "expected a program, found str"),
        (lambda: lf.multi_chain_comparison(SIGNATURE), "expected a program, found str"),
        (lambda: lf.ensemble(SIGNATURE, [VERSION]), "expected a program, found str"),
        (lambda: lf.constrain(SIGNATURE), "expected a program, found str"),
        (lambda: lf.Judge(SIGNATURE), "expected a program, found str"),
        (lambda: lf.diagram(SIGNATURE), "expected a program, found str"),
        (
            lambda: lf.best_of_n(STEP, ONE, n=2),
            r"is called with \(inputs, outputs\) and can't be: too many",
        ),
        (lambda: lf.refine(STEP, ONE), r"Write `def one_argument\(inputs, outputs\)`"),
        (lambda: lf.constrain(STEP, ONE), r"Write `def one_argument\(inputs, outputs\)`"),
        (lambda: lf.metric(ONE), r"Write `def one_argument\(example, outputs\)`"),
    ],
)
def test_what_programs_are_made_of(make: Callable[[], object], words: str) -> None:
    """A signature in place of a program, and a judge with other arguments, are named where they are
    given.
    """
    with pytest.raises(TypeError, match=words):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lf.guard,
        lambda it: lf.only("*", it),
        lambda it: lf.chain(lf.mipro(), it),
        lf.first_best,
        lambda it: lf.within(it, max_calls=5),
    ],
)
def test_an_optimizer_of_optimizers_takes_those_that_were_called(
    make: Callable[[Any], object],
) -> None:
    """Not the function that makes one."""
    with pytest.raises(TypeError, match=r"expected an optimizer, found function .*lf\.mipro\(\)"):
        make(lf.mipro)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: lf.random_search(candidates=-3),
            r"random_search\(candidates=\.\.\.\) must be 0 or more, found -3",
        ),
        (
            lambda: lf.bootstrap_few_shot(max_bootstrapped=-1),
            r"bootstrap_few_shot\(max_bootstrapped=\.\.\.\) must be",
        ),
        (
            lambda: lf.within(lf.random_search(), max_calls=-1),
            r"within\(max_calls=\.\.\.\) must be 0 or more",
        ),
        (lambda: lf.mipro(trials=0), "trials must be at least 1, found 0"),
        (lambda: lf.mipro(candidates=0), "candidates must be at least 1, found 0"),
    ],
)
def test_counts_are_counts(make: Callable[[], object], words: str) -> None:
    """A number of trials that nothing can be is refused where it is given."""
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("slot", "value", "words"),
    [
        ("instruction", 5, "classify.instruction expects a text, found 5"),
        (
            "demos",
            {"text": "a", "label": "b"},
            "classify.demos expects a list of demonstrations, found Record",
        ),
        ("demos", "hello", "classify.demos expects a list of demonstrations, found 'hello'"),
        (
            "demos",
            ["hello"],
            r"classify.demos\[0\] expects a mapping of field names to values, found 'hello'",
        ),
        ("options", None, "classify.options expects a mapping, .*, found None"),
        ("model", 5, "classify.model expects a text, found 5"),
        ("adapter", None, "classify.adapter expects an adapter or its name, found None"),
    ],
)
async def test_a_parameter_of_another_kind(slot: str, value: object, words: str) -> None:
    """Is named by its path before anything is asked."""
    async with lf.Executor(lf.scripted(["a"])) as ex:
        with pytest.raises(WrongType, match=words):
            await ex.run(STEP, version=lf.init(STEP).put({f"classify.{slot}": value}), text="x")
        assert 0 == ex.spent.calls


def test_a_path_is_no_store() -> None:
    """A store is opened, so that somebody closes it."""
    path: Any = "x.db"
    with pytest.raises(
        TypeError,
        match=r"found the path 'x\.db'\. Open it: with lf\.SqliteStore\('x\.db'\) as store",
    ):
        lf.Executor("openai/gpt-5", path)


def test_what_has_not_run_has_no_outputs() -> None:
    """A program with its inputs is asked for an output too early."""
    with pytest.raises(
        AttributeError, match="what hasn't run has no 'label': `await` it in a flow"
    ):
        STEP(text="x").label  # noqa: B018 - the access is the mistake


def test_rows_are_parted_as_they_are() -> None:
    """A plain list is a data set to a split."""
    assert [3, 3] == [len(part) for part in lf.split(ROWS, {"train": 0.5, "select": 0.5}).values()]

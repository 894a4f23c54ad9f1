"""What a newcomer gives in the wrong place is named, with the line that mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import ModelFailed, ProgramError, WrongType

STEP = lf.predict("classify", "text -> label", "Say which.")
ROWS = [{"text": f"t{n}", "label": "a"} for n in range(6)]
METRIC = lf.exact_match("label")
VERSION: Any = lf.init(STEP)
MAIN: Any = "main"
UPPER: Any = str.upper
SIGNATURE: Any = "question -> answer"
NAME_ALONE: Any = lf.predict


def one_argument(outputs: lf.Record) -> bool:
    """What a judge of another library may look like."""
    return bool(outputs)


async def an_async_metric(_: lf.Record, outputs: lf.Record) -> bool:
    """A metric that would have to be awaited."""
    return bool(outputs)


async def an_async_script(_: object) -> str:
    """A script that would have to be awaited."""
    return "x"


async def takes_more(question: str, context: str) -> str:
    """A flow's function with an input that its signature lacks."""
    return question + context


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
            lambda ex: ex.map(STEP, "rows.jsonl"),
            r"found the text 'rows\.jsonl'\. Read a file: lf\.dataset\('rows\.jsonl'\)",
        ),
        (lambda ex: ex.map(STEP, ROWS[0]), "expected a list of examples, found one mapping"),
        (lambda ex: ex.run(STEP, {"text": "x"}), r"Write ex\.run\(program, text=\.\.\.\)"),
        (lambda ex: ex.run(STEP, "x"), "takes inputs and the version by keyword"),
        (lambda ex: ex.replay("abc", STEP), r"found str 'abc'\. Read it: store\.run\(ID\)"),
        (lambda ex: ex.resume("abc", STEP), "expected a trace or run, found str 'abc'"),
        (
            lambda ex: ex.evaluate(STEP, ROWS, lf.exact_match),
            r'exact_match makes a metric\. Call it: lf\.exact_match\("answer"\)',
        ),
        (lambda ex: ex.evaluate(STEP, ROWS, STEP), r"classify is a program.*lf\.Judge\(classify"),
        (
            lambda ex: ex.evaluate(STEP, METRIC, ROWS),
            r"a metric is a function .*found dict .*ex\.evaluate\(program, rows, metric\)",
        ),
        (lambda ex: ex.evaluate(STEP, ROWS, an_async_metric), "is an async function. Write `def`"),
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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: lf.predict(SIGNATURE),
            r"the name of the step is missing\. Write lf\.predict\('answer', 'question -> answer'\)",
        ),
        (
            lambda: lf.predict(SIGNATURE, "Answer briefly."),
            r"lf\.predict\('answer', 'question -> answer', 'Answer briefly\.'\)",
        ),
        (
            lambda: lf.predict(SIGNATURE, "qa"),
            r"Write lf\.predict\('qa', 'question -> answer'\)",
        ),
        (
            lambda: NAME_ALONE("qa"),
            r"'qa' is the name of a step, whose signature is missing",
        ),
        (
            lambda: lf.predict("my step", SIGNATURE),
            r"can't be the name of a step\. Write lf\.predict\('my_step', 'question -> answer'\)",
        ),
        (
            lambda: lf.flow("question -> answer")(takes_more),
            r"context is no input of the signature: add it, \"question, context -> \.\.\.\"",
        ),
        (
            lambda: lf.Corpus.build("x.jsonl"),  # type: ignore[arg-type]
            r"lf\.Corpus\.from_jsonl\('x\.jsonl'\), found 'x\.jsonl'",
        ),
    ],
)
def test_a_definition_names_what_is_missing(make: Callable[[], object], words: str) -> None:
    """With the line that was meant."""
    with pytest.raises(ProgramError, match=words):
        make()


class Fields:
    """A class with annotated fields, as other libraries write a signature."""

    question: str
    answer: str


ANY: Any = Fields
SCRIPT: Any = {"answer": "x"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lf.predict("qa", ANY), r'found the class Fields\. Write "question -> answer"'),
        (lambda: lf.predict("qa", SIGNATURE, ANY), "expected an instruction, found type"),
        (
            lambda: lf.predict("qa", SIGNATURE, model=ANY),
            r"expected the name of a model.*lf\.routed",
        ),
        (lambda: lf.predict("qa", SIGNATURE, demos=SCRIPT), r"They are a list: demos=\[\{"),
        (lambda: lf.predict("qa", SIGNATURE, options=ANY), r"options=\{\"temperature\": 0\}"),
        (lambda: STEP("x"), r"takes its inputs by name, found 'x' .*Write classify\(text=\.\.\.\)"),  # type: ignore[arg-type]
        (lambda: lf.Signature(SIGNATURE), r'lf\.predict\("answer", \'question -> answer\'\)\.sig'),
        (lambda: lf.scripted("hello"), r'lf\.scripted\(\["42"\]\)'),
        (lambda: lf.scripted([SCRIPT]), r"found dict .*here '\[\[answer\]\]\\nx'"),
        (lambda: lf.scripted({"": SCRIPT}), "a script answers with a text"),
        (lambda: lf.scripted(ANY.__init__.__class__), "a script"),
        (lambda: lf.Executor("openai/x", budget=ANY), "expected a budget, found type"),
        (lambda: lf.Executor("openai/x", ANY), "expected a store, found type Fields"),
        (lambda: lf.split(ROWS, ANY), "expected the parts of a split, found type"),
        (lambda: lf.replay(ANY, STEP), "expected a trace or run, found type"),
    ],
)
def test_a_definition_names_another_kind(make: Callable[[], object], words: str) -> None:
    """What was found, what was expected, and the line."""
    with pytest.raises(TypeError, match=words):
        make()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            lambda _: {"answer": "x"},
            r"found dict \{'answer': 'x'\}\. A reply is what a model would",
        ),
        (lambda _: None, "found NoneType None. A reply is a text"),
        (an_async_script, "The function is a plain one, without async"),
    ],
)
def test_a_script_that_answers_with_another_kind(script: Any, words: str) -> None:
    """Is named in its own words, not by what fails on its answer; it is a recorded failure."""
    with pytest.raises(ModelFailed, match=words):
        lf.run(STEP, text="x", model=lf.scripted(script))


def test_a_stream_needs_a_loop() -> None:
    """Plain code has one of its own."""
    with pytest.raises(RuntimeError, match=r"with lf\.Sync\(model\) as ex: for part in ex\.stream"):
        lf.Executor(lf.scripted([])).stream(STEP, text="x")


async def test_plain_code_is_not_entered_async() -> None:
    """The error names both."""
    ex: Any = lf.Sync(lf.scripted([]))
    with pytest.raises(
        TypeError, match=r"with lf\.Sync\(\.\.\.\) as ex\. In async code: lf\.Executor"
    ):
        async with ex:
            pass


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

"""The names and options of DSPy, ell, promptfoo and LangChain say what they are called here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import options
from lmflow.errors.names_elsewhere import _ELSEWHERE

QA = lf.predict("qa", "question -> answer", "Answer.")
VERSION: Any = lf.init(QA)
ANY_LF: Any = lf
HINTS = [
    table
    for name in dir(options)
    if name.endswith("_OPTIONS") and isinstance(table := getattr(options, name), dict)
]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MIPROv2", r"lmflow has no 'MIPROv2'\. Here: lf\.mipro\(\): await ex\.optimize"),
        ("ChainOfThought", r"lf\.chain_of_thought\(lf\.predict\("),
        ("configure", r"there are no global settings: .*lf\.Executor\("),
        ("settings", "there are no global settings"),
        ("LM", r"the model is an argument: lf\.Executor\("),
        ("Predict", r'lf\.predict\("answer", "question -> answer"\)'),
        ("Module", r"a >> b, or an async function: @lf\.flow"),
        ("Example", "an example is a mapping"),
        ("Prediction", r"the outputs are trace\.outputs"),
        ("InputField", "fields are in the signature"),
        ("GEPA", r"lf\.gepa\(\)"),
        ("BootstrapFewShot", r"lf\.bootstrap_few_shot\(\)"),
        ("BootstrapFewShotWithRandomSearch", r"lf\.random_search\(\)"),
        ("COPRO", r"lf\.coordinate_ascent_opro\(\)"),
        ("Evaluate", r"ex\.evaluate\(program, rows, metric\)"),
        ("evaluate", r"ex\.evaluate\(program, rows, metric\)"),
        ("optimize", r"ex\.optimize\("),
        ("ReAct", r"lf\.react\(signature, tools\)"),
        ("inspect_history", "runs show RUN --messages"),
        ("ChatOpenAI", "the model is an argument"),
        ("PromptTemplate", r"lf\.render"),
        ("RunnableParallel", r"lf\.parallel\(a, b\)"),
        ("simple", r"@lf\.predict"),
        ("exact_mach", r"Did you mean lf\.exact_match\?"),
        ("evalute", r"Did you mean 'evaluate'\? Here: await ex\.evaluate"),
        ("Sqlite_store", r"It is called lf\.SqliteStore here"),
        ("zzzzqqq", r"dir\(lmflow\) lists all names"),
    ],
)
def test_a_name_says_what_it_is_here(name: str, words: str) -> None:
    """An ``AttributeError`` that names the line to write."""
    with pytest.raises(AttributeError, match=words):
        getattr(lf, name)


@pytest.mark.parametrize("name", sorted(_ELSEWHERE))
def test_what_it_is_called_here_exists(name: str) -> None:
    """Each name of lmflow that the table mentions is a public one."""
    for public in re.findall(r"\blf\.(\w+)", _ELSEWHERE[name]):
        assert hasattr(lf, public)


def test_options_name_what_exists() -> None:
    """Each name of lmflow that a hint mentions is a public one."""
    assert 13 == len(HINTS)
    for table in HINTS:
        for hint in table.values():
            for public in re.findall(r"\blf\.(\w+)", hint):
                assert hasattr(lf, public)


def test_public_names_stay_lazy() -> None:
    """Importing lmflow, or a name of it, loads neither the table nor difflib."""
    code = (
        "import sys, lmflow as lf; lf.Record; "
        "print([name for name in sys.modules if 'elsewhere' in name or name == 'asyncio'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


def test_private_names_are_not_explained() -> None:
    """Machinery that asks for dunder names gets the plain error, quickly."""
    assert not hasattr(lf, "__wrapped__")
    assert not hasattr(lf, "_repr_html_")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: ANY_LF.Executor("openai/x", cache=True),
            r"Executor\(\) has no option 'cache'.*lf\.cached",
        ),
        (lambda: ANY_LF.Executor("openai/x", temperature=0), r"options=\{\"temperature\": 0"),
        (lambda: ANY_LF.Executor("openai/x", api_key="k"), r"lf\.model\(.*api_key="),
        (lambda: ANY_LF.Executor("openai/x", num_threads=8), "concurrency=16"),
        (lambda: ANY_LF.Executor("openai/x", concurency=8), "Did you mean 'concurrency'"),
        (lambda: ANY_LF.Sync("openai/x", cache=True), r"lf\.cached"),
        (lambda: ANY_LF.predict("qa", "q -> a", temperature=0.7), "It is a decoding option"),
        (lambda: ANY_LF.predict("qa", "q -> a", system="Be kind."), "third argument: instruction"),
        (lambda: ANY_LF.predict("qa", "q -> a", tools=[]), r"lf\.react"),
        (
            lambda: ANY_LF.Budget(max_calls=5),
            r"Budget\(\) has no option 'max_calls'\. It is called calls",
        ),
        (lambda: VERSION.put(instruction="x"), r"Values are given by path: version\.put\(\{"),
        (lambda: ANY_LF.render(QA, question="x"), r"lf\.render\(step, \{\"question\""),
        (lambda: ANY_LF.Field("a description"), r"A description is Annotated\[str"),
        (lambda: ANY_LF.mipro(metric=len), r"It goes to ex\.optimize"),
        (lambda: ANY_LF.mipro(num_candidates=3), "It is called candidates"),
        (lambda: ANY_LF.gepa(reflection_lm="openai/x"), "It is called model"),
        (
            lambda: ANY_LF.bootstrap_few_shot(lf.exact_match()),
            "takes its options by name. The metric",
        ),
        (
            lambda: ANY_LF.bootstrap_few_shot(max_bootstrapped_demos=2),
            "It is called max_bootstrapped",
        ),
        (lambda: ANY_LF.random_search(trainset=[]), r"The data go to ex\.optimize"),
    ],
)
def test_an_option_says_what_it_is_here(call: Callable[[], Any], words: str) -> None:
    """A ``TypeError`` of the public name, with the option to write."""
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ex: ex.evaluate(QA, devset=[], metric=len), "The rows follow the program"),
        (lambda ex: ex.optimize(lf.mipro(), QA, trainset=[], metric=len), r"lf\.Data\(train="),
        (lambda ex: ex.map(QA, [], num_threads=4), r"lf\.Executor\(model, store, concurrency=16\)"),
    ],
)
async def test_an_option_of_a_job_says_what_it_is_here(
    call: Callable[[Any], Any], words: str
) -> None:
    """Nothing is sent."""
    async with lf.Executor(lf.scripted([])) as ex:
        with pytest.raises(TypeError, match=words):
            await call(ex)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forward", r"has no 'forward'\. Here: await ex\.run\(qa, \.\.\.\)"),
        ("invoke", r"await ex\.run\(qa"),
        ("batch", r"await ex\.map\(qa, rows\)"),
        ("compile", r"await ex\.optimize\(lf\.mipro\(\), qa, data, metric\)"),
        ("save", r'lf\.init\(qa\)\.save\("qa\.json"\)'),
        ("set_lm", r'version\.put\(\{"qa\.model"'),
        ("named_predictors", r"qa\.predictors"),
        ("nonsense", "'Predict' object has no attribute 'nonsense'"),
    ],
)
def test_a_method_says_where_it_is(name: str, words: str) -> None:
    """A program has no methods that run, save or tune it."""
    with pytest.raises(AttributeError, match=words):
        getattr(QA, name)


@pytest.mark.parametrize("slot", ["instruction", "demos", "model", "options"])
def test_a_parameter_is_put_into_a_version(slot: str) -> None:
    """Setting it on a step says the line that makes a version, and the one that runs it."""
    words = (
        rf"qa\.{slot} can't be set\. It is a parameter: version = lf\.init\(qa\)\.put"
        rf"\(\{{\"qa\.{slot}\": \.\.\.\}}\), ex\.run\(qa, version=version\)"
    )
    with pytest.raises(AttributeError, match=words):
        setattr(QA, slot, "x")


def test_a_version_is_put_anew() -> None:
    """Setting an item says the line that makes a version."""
    with pytest.raises(
        TypeError, match=r"make another, version\.put\(\{'qa\.instruction': \.\.\.\}\)"
    ):
        VERSION["qa.instruction"] = "x"


def test_a_signature_is_no_class() -> None:
    """A class of fields is written as the string that they make."""
    with pytest.raises(TypeError, match=r'lf\.predict\("answer", "context, question -> answer"'):

        class Ask(lf.Signature):
            """Answer the question."""

            context: str
            question: str
            answer: str


def test_an_executor_is_entered_async() -> None:
    """Without async, the error names lf.Sync."""
    ex: Any = lf.Executor(lf.scripted([]))
    with pytest.raises(TypeError, match=r"without async: with lf\.Sync\(\.\.\.\) as ex"), ex:
        pass


def test_an_optimizer_compiles_nothing() -> None:
    """The executor runs it."""
    with pytest.raises(AttributeError, match=r"await ex\.optimize\(lf\.mipro\(\), program, data"):
        lf.mipro().compile(QA)


def test_a_trace_has_its_outputs_apart() -> None:
    """An output that is read from the trace or the run says where it is."""
    with lf.Sync(lf.scripted({"": "x"})) as ex:
        trace: Any = ex.run(QA, question="?")
        run: Any = ex.map(QA, [{"question": "?"}])
    with pytest.raises(AttributeError, match=r"It is an output: trace\.outputs\.answer"):
        _ = trace.answer
    with pytest.raises(AttributeError, match=r"run\.traces\[0\]\.outputs\.answer"):
        _ = run.answer
    with pytest.raises(AttributeError, match=r"run\.traces\[0\]\.outputs"):
        _ = run.outputs


def strict(example: lf.Record, outputs: lf.Record, trace: Any = None) -> float:
    """A metric as DSPy's tutorials have it."""
    right = bool(example.answer == outputs.answer)
    if trace is not None:
        return right
    return 0.5 + right / 2


def by_calls(_: lf.Record, outputs: lf.Record, trace: lf.Trace) -> float:
    """A metric that reads the trace as it is meant here."""
    return len(outputs.answer) / len(trace.calls)


def test_a_metric_of_dspy_is_warned_of() -> None:
    """Once an evaluation; one that reads the trace is not."""
    rows = [{"question": "?", "answer": "x"}]
    with lf.Sync(lf.scripted({"": "x"})) as ex:
        with pytest.warns(UserWarning, match="strict asks whether `trace` is None") as caught:
            ex.evaluate(QA, rows, [strict, by_calls])
        assert 1 == len(caught)
        ex.evaluate(QA, rows, by_calls)

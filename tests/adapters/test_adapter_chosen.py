"""The laws of adapters chosen by model: parameter before step before model, recorded so that a
replay needs none.
"""

import asyncio
from pathlib import Path
from typing import Any

import attrs
import pytest
from agents import TOOLS
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.adapters.registry import (
    NO_ADAPTER_RULES,
    AdapterRules,
    adapter_rules,
    recorded_adapter_rules,
)
from lmflow.cli.main import main
from lmflow.errors import NO_TOOLS, BudgetExceeded, ModelFailed, ReplayDiverged, UnknownAdapter
from lmflow.execution.sync.run import wait_for
from lmflow.messages.requests import ChatRequest

STEP = lf.predict("answer", "question -> answer, why", "Answer.")
TWO = lf.predict("first", "question -> hint, more", model="good/one") >> lf.predict(
    "answer", "hint -> answer, why"
)
JSON, CHAT = '{"answer": "a", "why": "w"}', "[[answer]]\na\n[[why]]\nw"


def _script(request: ChatRequest) -> str:
    names = ("hint", "more") if "hint, more" in request.messages[0].content else ("answer", "why")
    if request.schema is not None:
        return "{" + ", ".join(f'"{name}": "x"' for name in names) + "}"
    return "\n".join(f"[[{name}]]\nx" for name in names)


MODEL = lf.scripted(_script, name="fast/model")
ROUTED = lf.routed(
    {"good/one": lf.scripted(_script, name="good/one"), "fast/model": MODEL}, lambda _: "fast/model"
)


def _ran(
    adapters: dict[str, str],
    program: lf.Program = STEP,
    version: lf.Version | None = None,
    store: Any = None,
) -> lf.Trace:
    async def go() -> lf.Trace:
        async with lf.Executor(ROUTED if program is TWO else MODEL, store, adapters=adapters) as ex:
            return await ex.run(program, version=version, question="?")

    return wait_for(go)


def _in_json(trace: lf.Trace) -> list[bool]:
    return [call.request.schema is not None for call in trace.calls]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameter", "step", "model", "expected"),
    [
        ("", "", "", False),
        ("", "", "json", True),
        ("", "chat", "json", False),
        ("chat", "", "json", False),
        ("json", "chat", "chat", True),
        ("chat", "json", "json", False),
    ],
)
def test_the_parameter_counts_before_the_step_before_the_model(
    parameter: str,
    step: str,
    model: str,
    expected: bool,  # noqa: FBT001 - a case
) -> None:
    """And chat where nobody says anything."""
    program = lf.predict("answer", "question -> answer, why", "Answer.", adapter=step)
    version = lf.init(program).put({"answer.adapter": parameter}) if parameter else None
    trace = _ran({"fast/model": model} if model else {}, program, version)
    assert [expected] == _in_json(trace)


def test_each_model_has_its_own() -> None:
    """By the name that the step names it by; "" is the executor's own."""
    assert [True, False] == _in_json(_ran({"good/*": "json"}, TWO))


@given(
    st.text("ab/", max_size=4),
    st.lists(
        st.tuples(st.sampled_from(["a*", "*b", "*", "a/b"]), st.sampled_from(["chat", "json"]))
    ),
)
def test_the_first_pattern_that_fits_counts(name: str, pairs: list[tuple[str, str]]) -> None:
    """In the order in which they were given; the executor's own model is found by its name."""
    adapters = dict(pairs)
    expected = AdapterRules(tuple(adapters.items())).of(name)
    assert expected == adapter_rules(adapters, name).of("")
    assert adapter_rules(adapters, name) == recorded_adapter_rules(
        {"adapters": adapter_rules(adapters, name).to_json()}
    )


def test_a_recording_replays_without_the_option(tmp_path: Path) -> None:
    """The choice is in the world of the trace: offline the same messages are rendered, from memory
    and store.
    """
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = _ran({"fast/*": "json"}, store=store)
        again = store.trace(trace.id)
    assert [["", "json"], ["fast/*", "json"]] == [list(pair) for pair in trace.world["adapters"]]
    assert (trace.root, trace.root) == (lf.replay(trace).root, lf.replay(again, STEP).root)
    assert 0 == lf.what_if(again, STEP, version=lf.init(STEP)).most.calls


def test_a_replay_under_another_choice_would_differ() -> None:
    """It is the recorded choice that makes it exact."""
    trace = _ran({"*": "json"})
    forgotten = lf.Record(
        {name: value for name, value in trace.world.items() if name != "adapters"}
    )
    with pytest.raises(ReplayDiverged):
        lf.replay(attrs.evolve(trace, world=forgotten))


def test_without_choices_the_world_is_as_before() -> None:
    """Nothing is added to what existing recordings hold."""
    assert "adapters" not in _ran({}).world
    assert NO_ADAPTER_RULES == adapter_rules({}, "fast/model")


def test_render_shows_what_is_sent() -> None:
    """With the executor's model and adapters; the record holds the same messages."""
    trace = _ran({"fast/*": "json"})
    shown = lf.render(STEP, {"question": "?"}, model="fast/model", adapters={"fast/*": "json"})
    assert shown == trace.calls[0].request.messages  # type: ignore[union-attr]
    assert shown != lf.render(STEP, {"question": "?"})


def test_an_overlay_may_change_the_model() -> None:
    """The choice goes by the model that is asked in the end."""
    pending = STEP(question="?").under({"answer.model": "good/one"})

    async def go() -> lf.Trace:
        async with lf.Executor(ROUTED, adapters={"good/*": "json"}) as ex:
            return await ex.run(pending)

    trace = wait_for(go)
    assert ([True], trace.root) == (_in_json(trace), lf.replay(trace).root)


def test_an_unknown_adapter_is_refused_at_once() -> None:
    """When the executor is made, with the known ones named."""
    with pytest.raises(UnknownAdapter, match="json"):
        lf.Executor(MODEL, adapters={"*": "yaml"})


def test_the_command_line_shows_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`render --model --adapter` prints the adapter and its messages."""
    (tmp_path / "asking.py").write_text(
        'import lmflow as lf\nstep = lf.predict("answer", "question -> answer, why")\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    args = [
        "render",
        "asking:step",
        "--set",
        "question=?",
        "--model",
        "anthropic/claude",
        "--adapter",
        "anthropic/*=json",
    ]
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert ("adapter json" in result.output, "JSON object" in result.output) == (True, True)
    assert 2 == CliRunner().invoke(main, [*args[:-1], "json"]).exit_code


async def test_reuse_heeds_the_form(tmp_path: Path) -> None:
    """What was asked in another form is asked anew; what was asked in this one is not paid again."""
    rows = [{"question": "?", "answer": "x"}]
    reused = []
    with lf.SqliteStore(tmp_path / "s.db") as store:
        for adapters in ({}, {"fast/*": "json"}, {"fast/*": "json"}):
            async with lf.Executor(MODEL, store, adapters=adapters) as ex:
                await ex.evaluate(STEP, rows, lf.exact_match("answer"))
            reused.append(bool(store.run(store.runs(1)[0].id).traces[0].calls[0].source))
    assert [False, False, True] == reused


async def test_a_run_is_resumed_under_its_own_choice(tmp_path: Path) -> None:
    """Without it the difference is named before anything is sent; with it the run is finished."""
    rows = [{"question": question} for question in "ab"]
    two = lf.predict("first", "question -> hint, more") >> STEP.named("answer")
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(
            MODEL, store, adapters={"*": "json"}, budget=lf.Budget(calls=1)
        ) as ex:
            with pytest.raises(BudgetExceeded):
                await ex.map(two, rows)
        run = store.run(store.runs(1)[0].id)
        async with lf.Executor(MODEL, store) as ex:
            with pytest.raises(ReplayDiverged):
                await ex.resume(run, two)
        async with lf.Executor(MODEL, store, adapters={"*": "json"}) as ex:
            done = await ex.resume(store.run(run.id), two)
    assert ("done", 2) == (done.status, len(done))


def test_a_live_replay_is_under_the_choice_of_its_executor() -> None:
    """As with models: what is then asked in another form is asked anew, the rest is not."""
    trace = _ran({"fast/*": "json"})

    async def again(adapters: dict[str, str]) -> bool:
        async with lf.Executor(MODEL, adapters=adapters) as ex:
            return bool((await ex.replay(trace, STEP)).traces[0].calls[0].source)

    assert (True, False) == (asyncio.run(again({"fast/*": "json"})), asyncio.run(again({})))


def test_the_command_line_goes_on_with_the_recorded_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`replay --live` asks nothing anew of a run that was begun with --adapter."""
    (tmp_path / "going.py").write_text(
        'import lmflow as lf\nstep = lf.predict("answer", "question -> answer, why")\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    step = lf.predict("answer", "question -> answer, why")
    with lf.SqliteStore("s.db") as store:
        trace = _ran({"fast/*": "json"}, step, store=store)
        run = store.runs(1)[0].id
    args = [
        "replay",
        run,
        "--program",
        "going:step",
        "--live",
        "--model",
        "openai/none",
        "--store",
        "s.db",
        "--json",
    ]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(main, args)
    with lf.SqliteStore("s.db") as store:
        again = store.run(store.runs(1)[0].id).traces[0]
    assert trace.world["adapters"][1:] == again.world["adapters"], result.output


async def test_an_agent_asks_natively_whatever_is_chosen() -> None:
    """The choice is for the form of its calls in a text, where the endpoint has no function
    calling.
    """
    agent = lf.react("question -> answer", TOOLS, "Answer.")

    def answer(request: ChatRequest) -> str | ModelFailed:
        if request.tools:
            return ModelFailed(NO_TOOLS, "no functions here")
        return (
            '{"thought": "done", "calls": []}' if "Tools:" in request.messages[0].content else "a"
        )

    async with lf.Executor(
        lf.scripted(answer, name="fast/model"), adapters={"fast/*": "json"}
    ) as ex:
        trace = await ex.run(agent, question="q")
    assert [True, False] == [bool(call.request.tools) for call in trace.calls[:2]]  # type: ignore[union-attr]
    assert "JSON object" in trace.calls[1].request.messages[0].content  # type: ignore[union-attr]
    assert trace.root == lf.replay(trace).root

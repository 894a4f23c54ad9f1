"""The laws of optimization live: what is needed is run once, replays offline to the same version,
and stops in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from heard_plans import heard
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import asked_again, kept_going

import lmflow as lf
from lmflow.errors import BadData, NotFound, ReplayDiverged
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.execution.jobs.run_config import run_config
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.combinators import guard, within
from lmflow.optimizers.few_shot import bootstrap_few_shot
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.opro import opro
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.optimizers.random_search import random_search
from lmflow.traces.counts import count_model_calls
from lmflow.values.record import digest

think = lf.predict("think", "question -> thought", "Think of it.", options={"max_tokens": 20})
decide = lf.predict(
    "decide", "question, thought -> answer", "Decide it.", options={"max_tokens": 20}
)
PROGRAM = think >> decide
METRIC = lf.exact_match("answer")


def rows(start: int, count: int) -> list[dict[str, str]]:
    """Questions with answers that the model sometimes gives."""
    return [
        {"id": f"e{n}", "question": f"is {n} odd?", "answer": "yes no".split()[n % 2]}
        for n in range(start, start + count)
    ]


DATA = lf.Data(rows(0, 8), rows(20, 6), rows(40, 6))
MAKERS: dict[str, Callable[[], PlanOptimizer]] = {
    "bootstrap": lambda: bootstrap_few_shot(max_bootstrapped=2, max_labeled=3),
    "random_search": lambda: random_search(candidates=2, max_bootstrapped=2, max_labeled=2),
    "opro": lambda: opro("decide", steps=2, breadth=2),
    "mipro": lambda: mipro(candidates=3, trials=3),
    "guard": lambda: guard(random_search(candidates=1)),
}


class Model:
    """A model that answers by the hash of what it is asked, and counts."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, request: ChatRequest) -> str:
        """One of the words that go with what the system message begins with."""
        self.sent += 1
        words = {"Think": "well hm", "Decide": "yes no maybe"}
        system = request.messages[0].content
        choices = next(
            (text for key, text in words.items() if key in system), "Think Decide Try Ponder"
        ).split()
        return choices[
            int(digest("pick", [message.content for message in request.messages])[-8:], 16)
            % len(choices)
        ]


async def tuned(optimizer: PlanOptimizer, store: Any, model: Model, **more: Any) -> lf.Optimization:
    """An optimization of the program."""
    async with lf.Executor(lf.scripted(model), store, concurrency=4) as ex:
        return await ex.optimize(optimizer, PROGRAM, DATA, METRIC, **more)


@pytest.fixture(params=sorted(MAKERS))
def maker(request: pytest.FixtureRequest) -> Callable[[], PlanOptimizer]:
    """Each of some optimizers."""
    return MAKERS[request.param]


async def test_a_whole_optimization_replays_offline_to_the_same_version(
    maker: Callable[[], PlanOptimizer], tmp_path: Path
) -> None:
    """From the recording alone, without a model, the plan comes to the identical version id."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await tuned(maker(), store, Model())
        run = store.run(done.run.id)
    assert run.root == done.run.root
    assert (
        done.version.id
        == replay_optimization(run, maker(), PROGRAM, Traces(lf.init(PROGRAM), DATA), METRIC).id
    )


async def test_begun_again_it_pays_for_nothing_twice(
    maker: Callable[[], PlanOptimizer], tmp_path: Path
) -> None:
    """A second optimization over the same store sends nothing and comes to the same version."""
    model = Model()
    with lf.SqliteStore(tmp_path / "s.db") as store:
        first = await tuned(maker(), store, model)
        sent = model.sent
        second = await tuned(maker(), store, model)
    assert (first.version.id, sent) == (second.version.id, model.sent)


async def test_stopped_by_its_budget_it_goes_on_to_the_same_version(
    maker: Callable[[], PlanOptimizer], tmp_path: Path
) -> None:
    """A budget ends it with the best so far, not one call above; with a larger one it pays only the
    rest.
    """
    whole, stopped = Model(), Model()
    with lf.SqliteStore(tmp_path / "whole.db") as store:
        expected = await tuned(maker(), store, whole)
    with lf.SqliteStore(tmp_path / "s.db") as store:
        first = await tuned(maker(), store, stopped, budget=lf.Budget(calls=15), judge_rows=0)
        assert first.spent.calls <= 15
        second = await tuned(maker(), store, stopped)
    assert (expected.version.id, whole.sent) == (second.version.id, stopped.sent)


async def test_a_stopped_optimization_replays_too(tmp_path: Path) -> None:
    """One that its budget ended replays offline to the best version so far."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await tuned(random_search(candidates=2), store, Model(), budget=lf.Budget(calls=40))
        run = store.run(done.run.id)
    assert "stopped" == run.status
    again = replay_optimization(
        run, random_search(candidates=2), PROGRAM, Traces(lf.init(PROGRAM), DATA), METRIC
    )
    assert done.version.id == again.id


@pytest.mark.parametrize("at", [0, 1, 3, 5])
async def test_cancelled_it_keeps_the_best_so_far(at: int, tmp_path: Path) -> None:
    """Stopped from Python at any need, its run holds the best version by then, replays to it, and
    goes on from there to the version of one that was never stopped, paying nothing twice.
    """
    whole, model, best = Model(), Model(), list[str]()
    with lf.SqliteStore(tmp_path / "whole.db") as store:
        expected = await tuned(random_search(candidates=2), store, whole)
    with lf.SqliteStore(tmp_path / "s.db") as store:

        def hear(need: Need) -> None:
            best.append(need.best.tree)
            if len(best) > at:
                work.cancel()

        search = heard(random_search(candidates=2), hear)
        work = asyncio.create_task(tuned(search, store, model))
        with pytest.raises(asyncio.CancelledError):
            await work
        run = store.run(store.runs(1)[0].id)
        assert ("stopped", best[-1]) == (run.status, store.version(run.result).tree)
        again = replay_optimization(
            run, random_search(candidates=2), PROGRAM, Traces(lf.init(PROGRAM), DATA), METRIC
        )
        assert run.result == again.id
        second = await tuned(random_search(candidates=2), store, model, of=run.id)
    assert (expected.version.id, whole.sent) == (second.version.id, model.sent)


async def test_what_grows_is_begun_again_and_not_resumed(tmp_path: Path) -> None:
    """``resume`` finishes executions that a run was begun for; a search is named the call that goes
    on with it.
    """
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await tuned(random_search(candidates=2), store, Model(), budget=lf.Budget(calls=30))
        async with lf.Executor(lf.scripted(Model()), store) as ex:
            with pytest.raises(ReplayDiverged, match=r"ex\.optimize\(\.\.\., of=run\.id\)"):
                await ex.resume(store.run(done.run.id), PROGRAM)
        assert "stopped" == store.run(done.run.id).status


@pytest.mark.parametrize("clean", [False, True])
async def test_examples_are_kept_unless_texts_are_cleaned(tmp_path: Path, *, clean: bool) -> None:
    """What an optimization is of is kept by its content; where texts are cleaned before they are
    stored, it isn't.
    """
    data = lf.Data([{"id": "e1", "question": "canary-1234", "answer": "yes"}])
    redact = (lambda text: text.replace("canary-1234", "***")) if clean else None
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(Model()), store, redact=redact) as ex:
            await ex.optimize(bootstrap_few_shot(max_labeled=0), PROGRAM, data, METRIC)
        if clean:
            with pytest.raises(NotFound):
                store.dataset(data.train.digest)
        else:
            assert [*data.train] == [*store.dataset(data.train.digest)]
        with store.reading() as reader:
            assert [] == reader.datasets.names()


@pytest.mark.parametrize("usd", [1, 0.5, Decimal("0.25")])
def test_a_budget_of_money_is_kept_as_a_number(usd: float | Decimal) -> None:
    """However its dollars were given, the run says them as JSON does, and they make the same budget
    again.
    """
    budget = lf.Budget(calls=3, usd=usd)
    held = run_config(PROGRAM, (DATA.train,), METRIC, budget).python.budget
    assert {"calls", "usd"} == set(held)
    assert budget.cost == lf.Budget(**held).cost


async def test_an_error_leaves_the_best_so_far(tmp_path: Path) -> None:
    """Where the plan itself fails, what was found by the need before is kept too."""
    best = list[str]()

    def hear(need: Need) -> None:
        if len(best) > 3:
            raise RuntimeError
        best.append(need.best.tree)

    with lf.SqliteStore(tmp_path / "s.db") as store:
        with pytest.raises(RuntimeError):
            await tuned(heard(random_search(candidates=2), hear), store, Model())
        run = store.runs(1)[0]
        assert ("stopped", best[-1]) == (run.status, store.version(run.result).tree)


async def test_it_scores_before_and_after_on_what_was_not_tuned_on() -> None:
    """Both versions are scored on the held-back examples, within the one budget."""
    done = await tuned(
        random_search(candidates=1), lf.MemoryStore(), Model(), budget=lf.Budget(calls=200)
    )
    assert done.before is not None
    assert done.after is not None
    assert [row["id"] for row in rows(40, 6)] == [row.example.id for row in done.before.rows]
    assert done.spent.calls <= 200


async def test_recorded_runs_are_harvested(tmp_path: Path) -> None:
    """Demonstrations of runs that went well, each step's from its own calls; nothing is sent, and
    it replays.
    """
    model = Model()
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(model), store) as ex:
            before = await ex.evaluate(PROGRAM, [*DATA.train, *DATA.select], METRIC)
            sent, prior = model.sent, store.run(before.run)
            done = await ex.optimize(
                lf.harvest(max_demos=9), PROGRAM, lf.Data(DATA.train), METRIC, prior=prior
            )
        run = store.run(done.run.id)
    right = {row.example.question for row in before.scored if row.score and row.score.value}
    right &= {row.question for row in DATA.train}
    good = [
        trace.inputs | (trace.outputs or {}) for trace in prior if trace.inputs.question in right
    ]
    assert good
    assert good == list(done.version["decide.demos"])
    assert sent == model.sent
    assert 8 == len(run.config["prior"])
    known = {trace.id: trace for trace in prior}
    traces = Traces(
        lf.init(PROGRAM), lf.Data(DATA.train), tuple(known[name] for name in run.config["prior"])
    )
    assert (
        done.version.id
        == replay_optimization(run, lf.harvest(max_demos=9), PROGRAM, traces, METRIC).id
    )


async def test_without_recorded_runs_there_is_nothing_to_harvest() -> None:
    """No traces, or those of other examples, are refused; runs of which none went well leave the
    start version.
    """
    async with lf.Executor(lf.scripted(Model())) as ex:
        others = await ex.map(PROGRAM, list(DATA.select))
        for prior in ((), others):
            with pytest.raises(
                BadData, match="harvest was given no recorded traces of the program on the examples"
            ):
                await ex.optimize(lf.harvest(), PROGRAM, DATA, METRIC, prior=prior)
        own = await ex.map(PROGRAM, list(DATA.train))
        wrong = lf.Data([row | {"answer": "never"} for row in DATA.train])
        done = await ex.optimize(lf.harvest(), PROGRAM, wrong, METRIC, prior=own)
    assert done.start == done.version


async def test_printed_it_says_what_it_came_to() -> None:
    """The version, both scores, the verdict between them and what was spent; where nothing was held
    back, that.
    """
    async with lf.Executor(lf.scripted(Model())) as ex:
        done = await ex.optimize(MAKERS["random_search"](), PROGRAM, DATA, METRIC)
        blind = await ex.optimize(
            MAKERS["random_search"](), PROGRAM, lf.Data(DATA.train, DATA.select), METRIC
        )
        kept = await ex.optimize(lf.first_best(), PROGRAM, DATA, METRIC)
    assert done.before
    assert done.after
    assert done.comparison
    lines = str(done).splitlines()
    assert f"version {done.version.id[6:18]}: {done.version.note}" == lines[0]
    words = ["before", "after", "held back", "spending by phase", "in all", "learning curve"]
    starts = [next(line for line in lines if line.startswith(word)) for word in words]
    assert done.comparison.verdict in starts[2]
    assert f"in all {done.spent}, of which {done.judging} on judging" == starts[4]
    assert str(lf.diff(done.start, done.version)) in str(done)
    assert lines[0] in repr(done)
    assert "no data was held back" in str(blind)
    assert "<Optimization first_best think >> decide: the start version is kept>" == repr(kept)
    assert kept.comparison is None


async def test_a_ref_points_at_the_version(tmp_path: Path) -> None:
    """With a ref the new version is what it points at, and its lineage is whole."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await tuned(random_search(candidates=1), store, Model(), ref="main")
        assert done.version == store.version("main")
        assert lf.init(PROGRAM).id == store.version("main~1").id


async def test_a_version_says_what_it_came_from() -> None:
    """Optimizer with options, data, metric and program are in the origin of the version, and so in
    its id.
    """
    optimizer = random_search(candidates=1)
    origin = (await tuned(optimizer, None, Model())).version.origin
    assert (optimizer.name, optimizer.options) == (origin.optimizer.name, origin.optimizer.options)
    assert (DATA.digest, METRIC.key, PROGRAM.key) == (origin.data, origin.metric, origin.program)


async def test_each_need_is_a_stage() -> None:
    """The stages are the needs of the plan, in order."""
    needs: list[Need] = []
    done = await tuned(heard(opro("decide", steps=1, breadth=2), needs.append), None, Model())
    assert [(need.phase, len(need.rollouts), need.score) for need in needs] == [
        (stage.phase, stage.asked, stage.score) for stage in done.stages
    ]


async def test_the_learning_curve_ends_with_what_was_found() -> None:
    """Its last point is the score that the version was chosen by, after all calls, also of a win in
    the last stage.
    """
    best = lf.exact_match("answer")
    for maker in (MAKERS["random_search"], MAKERS["opro"], MAKERS["mipro"]):
        done = await tuned(maker(), lf.MemoryStore(), Model())
        async with lf.Executor(lf.scripted(Model()), concurrency=4) as ex:
            chosen = await ex.evaluate(PROGRAM, DATA.select, best, version=done.version)
        assert chosen.mean is not None
        assert (done.stages[-1].calls, chosen.mean.value) == done.curve[-1]
        assert sorted(done.curve) == [*done.curve]


async def test_a_score_is_on_the_curve_where_it_was_known() -> None:
    """A point is after the calls that were sent before the need that told it, also where a budget
    refuses that need.
    """
    seen: list[tuple[int, float]] = []
    async with lf.Executor(lf.scripted(Model()), concurrency=4) as ex:

        def hear(need: Need) -> None:
            if need.score is not None:
                seen.append((ex.spent.calls, need.score))

        optimizer = heard(random_search(candidates=2), hear)
        done = await ex.optimize(
            optimizer,
            PROGRAM,
            lf.Data(DATA.train, DATA.select),
            METRIC,
            budget=lf.Budget(calls=40),
        )
    assert done.stopped
    assert tuple(seen) == done.curve


@given(st.integers(1, 90), st.integers(2, 9))
@settings(max_examples=40)
def test_within_spends_what_is_left_and_no_more(calls: int, dear: int) -> None:
    """Where some rollouts take a second call, it stays within its calls, and stops only where what
    is left could not do for what comes next; however it is driven, it comes to the same.
    """
    step = lf.predict("decide", "question -> answer: Literal['yes', 'no']", "Decide it.")
    optimizer = within(
        random_search(candidates=4, max_bootstrapped=1, max_labeled=1), max_calls=calls
    )

    def answer(request: ChatRequest) -> str:
        number = int(digest("pick", request.messages[-1].content)[-8:], 16)
        return (
            "perhaps"
            if number % dear == 0 and len(request.messages) < 6
            else ("yes", "no")[number % 2]
        )

    traces = Traces(lf.init(step), lf.Data(DATA.train, DATA.select))
    seen = kept_going(optimizer, step, traces, METRIC, answer)
    spent = sum(map(count_model_calls, seen.answers.values()))
    whole = kept_going(
        random_search(candidates=4, max_bootstrapped=1, max_labeled=1), step, traces, METRIC, answer
    )
    assert spent <= max(calls, 1)
    assert calls - spent < len(DATA.select) or seen.answers.keys() == whole.answers.keys()
    assert seen.version.id == asked_again(optimizer, step, traces, METRIC, answer).version.id

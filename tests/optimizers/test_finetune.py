"""The laws of trained weights: the prompt that is trained is the one that is served, the job is a
recorded call, and nothing is lost if it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ModelUnavailable, ProgramError, TrainingFailed, Unbounded
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.finetune import better_together, bootstrap_finetune
from lmflow.optimizers.parts.plan import Traces
from lmflow.optimizers.registry import optimizer_from_options
from lmflow.replays.teaching import student_chat, student_params
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.place import TrainingPlace
from lmflow.training.problems import TrainingProblem
from lmflow.training.recipe import Recipe

TRAINED = "openai/trained"
THINK = lf.predict("think", "question -> thought", "Think.")
ANSWER = lf.predict("answer", "question, thought -> answer: Literal['yes', 'no']", "Answer.")
PROGRAM = THINK >> ANSWER
ROWS = [
    {"id": f"r{n}", "question": f"is {n} even?", "answer": "yes no".split()[n % 2]}
    for n in range(8)
]
DATA = lf.Data(ROWS)
RIGHT = lf.exact_match("answer")


@attrs.define
class Teller:
    """A trainer that trains nothing, and remembers the jobs that it was given."""

    jobs: list[Job] = attrs.field(factory=list)
    fails: str = ""
    cost: int | None = 0
    name: str = "teller"

    def check(self, base: str) -> None:
        """Any base will do but one."""
        if base == "local/missing":
            raise ModelUnavailable(base, "it is not here", "Pull it.")

    def quote(self, job: Job) -> Quote:
        """A small price."""
        return Quote(job.tokens, 1.0, self.cost, 10)

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Remember the job."""
        self.jobs.append(job)
        if self.fails:
            raise TrainingProblem("provider", self.fails)
        place.tell({"step": 1})
        return Weights(TRAINED, job.base, job.trainer, job.key)


def teaches(request: ChatRequest) -> str:
    """A teacher that thinks, and is right about small numbers alone."""
    text = request.messages[-1].content
    number = next(int(word) for word in text.split() if word.isdigit())
    if "Think" in request.messages[0].content:
        return f"about {number}"
    return "yes no".split()[number % 2] if number < 6 else "no"


def optimizer(trainer: Teller, **options: Any) -> Any:
    """An optimizer that trains by a teller."""
    return bootstrap_finetune(trainer=trainer, **options)


def free(model: str, usage: Any, at: int) -> int:
    """Prices of models that cost nothing."""
    del model, usage, at
    return 0


async def optimized(
    made: Any, store: Any = None, answer: Callable[[ChatRequest], str] = teaches, **options: Any
) -> Any:
    """An optimization in a scripted world."""
    data = options.pop("data", DATA)
    async with lf.Executor(lf.scripted(answer), store or lf.MemoryStore()) as ex:
        return await ex.optimize(made, PROGRAM, data, RIGHT, **options)


async def test_accepted_runs_become_the_chats_of_each_step(tmp_path: Path) -> None:
    """What the metric accepts is learned, a chat a step, and the version names the weights."""
    trainer = Teller()
    with lf.SqliteStore(tmp_path / "s.db") as store:
        result = await optimized(optimizer(trainer), store)
    (job,) = trainer.jobs
    assert 2 * 7 == len(job.chats)
    last = {str(chat["messages"][-1]["content"]) for chat in job.chats}
    assert {"yes", "no", "about 0", "about 7"} <= last
    assert {"think.model": TRAINED, "answer.model": TRAINED} == {
        path: value for path, value in result.version.params.items() if path.endswith("model")
    }
    origin = result.version.origin["answer.model"]
    assert (7, 0, 14, job.key) == tuple(
        origin[name] for name in ("examples", "made_up", "chats", "job")
    )


@given(
    st.sampled_from(["", "chat", "json", "xml"]),
    st.text(max_size=20),
    st.lists(st.sampled_from(["yes", "no"]), max_size=2),
)
def test_the_trained_prompt_is_the_served_one(
    adapter: str, question: str, shown: list[str]
) -> None:
    """Under every adapter the chat's prompt is what the step sends under the trained version."""
    step = lf.predict("step", "question -> why, answer: Literal['yes', 'no']", "Say.")
    demos = [{"question": "q", "why": "w", "answer": answer} for answer in shown]
    start = lf.init(step).put({"step.adapter": adapter, "step.demos": demos})
    params = student_params(step, start, ("step",))
    version = lf.Version(params=params | {"step.model": TRAINED})
    chat = student_chat(step, params, "step", {"question": question}, {"why": "w", "answer": "no"})
    sent: list[ChatRequest] = []

    def model(request: ChatRequest) -> str:
        sent.append(request)
        return chat.reply.content

    async def run() -> lf.Trace:
        async with lf.Executor(lf.scripted(model, name=TRAINED), adapters={"*": "json"}) as ex:
            return await ex.run(step, question=question, version=version)

    trace = asyncio.run(run())
    assert chat.messages == sent[0].messages
    assert lf.Record(why="w", answer="no") == trace.outputs


async def test_a_job_is_run_once_and_replayed_without_training(tmp_path: Path) -> None:
    """Begun again it reuses the recorded job, and offline it comes to the same version."""
    trainer = Teller()
    with lf.SqliteStore(tmp_path / "s.db") as store:
        first = await optimized(optimizer(trainer), store)
        again = await optimized(optimizer(trainer), store)
        run = store.run(first.run.id)
    assert first.version.id == again.version.id
    assert 1 == len(trainer.jobs)
    made = optimizer(Teller(fails="never"))
    version = replay_optimization(run, made, PROGRAM, Traces(lf.init(PROGRAM), DATA), RIGHT)
    assert first.version.id == version.id


async def test_a_job_that_fails_moves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    """The error names the reason, the ref stays, and the next run trains without new calls."""
    trainer = Teller(fails="the provider is out of cards")
    with lf.SqliteStore(tmp_path / "s.db") as store:
        lf.commit(store, "main", lf.init(PROGRAM))
        with pytest.raises(TrainingFailed, match="out of cards"):
            await optimized(optimizer(trainer), store, ref="main")
        assert lf.init(PROGRAM).id == store.version("main").id
        trainer.fails = ""

        def refuses(request: ChatRequest) -> str:
            raise AssertionError(request)

        result = await optimized(optimizer(trainer), store, refuses, ref="main")
    assert 2 == len(trainer.jobs)
    assert TRAINED == result.version["answer.model"]


async def test_an_unknown_price_is_refused_under_a_budget_of_money(tmp_path: Path) -> None:
    """Before anything is sent; a known price is reserved, and a job beyond the budget not begun."""
    step = lf.predict("step", "question -> answer", options={"max_tokens": 8})
    data = lf.Data(ROWS)

    async def spend(trainer: Teller, usd: int) -> Any:
        store = lf.SqliteStore(tmp_path / f"{usd}{trainer.cost}.db")
        with store:
            async with lf.Executor(lf.scripted(lambda _: "yes"), store, prices=free) as ex:
                made = optimizer(trainer)
                return await ex.optimize(made, step, data, RIGHT, budget=lf.Budget(usd=usd))

    unknown = Teller(cost=None)
    with pytest.raises(Unbounded, match="price isn't known"):
        await spend(unknown, 1)
    assert [] == unknown.jobs
    dear = Teller(cost=2_000_000_000)
    stopped = await spend(dear, 1)
    assert ([], lf.init(step).id) == (dear.jobs, stopped.version.id)
    assert stopped.stopped
    fair = await spend(Teller(cost=500_000_000), 1)
    assert (TRAINED, 500_000_000) == (fair.version["step.model"], fair.spent.cost)


async def test_what_cannot_be_trained_is_refused_first() -> None:
    """A missing base, step or reply is an error before the teacher is paid."""

    def refuses(request: ChatRequest) -> str:
        raise AssertionError(request)

    with pytest.raises(ModelUnavailable, match="Pull it"):
        await optimized(optimizer(Teller(), base="local/missing"), answer=refuses)
    with pytest.raises(ProgramError, match="no step 'anser'"):
        await optimized(optimizer(Teller(), steps=("anser",)), answer=refuses)
    start = lf.init(PROGRAM).put({"answer.adapter": "two_step"})
    with pytest.raises(ProgramError, match="two_step"):
        await optimized(optimizer(Teller()), answer=refuses, version=start)
    with pytest.raises(ValueError, match="no trainer 'lora2'"):
        bootstrap_finetune(trainer="lora2")
    with pytest.raises(ValueError, match="rank"):
        bootstrap_finetune(rank=0)


async def test_nothing_accepted_is_nothing_learned() -> None:
    """If the metric accepts no run, the start stays and the reason says so."""
    trainer = Teller()
    result = await optimized(optimizer(trainer), answer=lambda _: "maybe")
    assert (lf.init(PROGRAM).id, []) == (result.version.id, trainer.jobs)


async def test_one_step_alone_gets_weights(tmp_path: Path) -> None:
    """With ``steps`` only these learn, and ``only`` keeps the paths of others as they are."""
    trainer = Teller()
    with lf.SqliteStore(tmp_path / "s.db") as store:
        result = await optimized(optimizer(trainer, steps="answer"), store)
        assert ("", TRAINED) == (result.version["think.model"], result.version["answer.model"])
        assert 7 == len(trainer.jobs[0].chats)
        kept = await optimized(lf.only("think.*", optimizer(trainer)), store)
        assert (TRAINED, "") == (kept.version["think.model"], kept.version["answer.model"])


async def test_made_up_examples_are_counted(tmp_path: Path) -> None:
    """Made-up examples that the metric accepts are learned once each, and their number recorded."""
    numbers = iter(range(10, 100))

    def answer(request: ChatRequest) -> str:
        if request.messages[0].content.startswith("You make up"):
            number = next(numbers) // 2 * 2
            return f'{{"question": "is {number} even?", "thought": "hm", "answer": "no"}}'
        return teaches(request)

    trainer = Teller()
    made = optimizer(trainer, invented=6)
    with lf.SqliteStore(tmp_path / "s.db") as store:
        result = await optimized(made, store, answer)
    origin = result.version.origin["answer.model"]
    assert (10, 3) == (origin["examples"], origin["made_up"])
    assert len(trainer.jobs[0].chats) == origin["chats"] == 20


async def test_turns_keep_the_best(tmp_path: Path) -> None:
    """Prompts and weights in turns: the best of all turns on the selection data is the result."""
    trainer = Teller()
    prompts = lf.labeled_few_shot(k=2)
    made = better_together(prompts, optimizer(trainer))

    def answer(request: ChatRequest) -> str:
        if request.model == TRAINED:
            number = next(
                int(word) for word in request.messages[-1].content.split() if word.isdigit()
            )
            return "yes no".split()[number % 2]
        return teaches(request)

    select = [
        {**row, "id": f"s{at}", "question": f"is {at} even, then?"} for at, row in enumerate(ROWS)
    ]
    data = lf.Data(ROWS, select)
    with lf.SqliteStore(tmp_path / "s.db") as store:
        models = lf.routed(
            {"plain": lf.scripted(answer), TRAINED: lf.scripted(answer, name=TRAINED)}
        )
        async with lf.Executor(models, store) as ex:
            result = await ex.optimize(made, PROGRAM, data, RIGHT)
    assert TRAINED == result.version["answer.model"]
    with pytest.raises(ValueError, match="turns"):
        better_together(prompts, optimizer(trainer), turns=("p",))


def test_an_optimizer_is_made_again_from_its_record() -> None:
    """Name and options say all of it, those of both optimizers in turns too."""
    for made in (
        bootstrap_finetune(steps=("answer",), epochs=2),
        better_together(lf.labeled_few_shot(), bootstrap_finetune(), turns=("weights",)),
    ):
        again = optimizer_from_options(made.name, made.options)
        assert made == again


def test_equal_jobs_have_one_key() -> None:
    """A job's key changes with each of its parts, and with nothing else."""
    chat = lf.Record(messages=[{"role": "user", "content": "a"}])
    job = Job("lora", "local/a", (chat,), Recipe(), 0)
    others = [
        attrs.evolve(job, base="local/b"),
        attrs.evolve(job, chats=()),
        attrs.evolve(job, recipe=Recipe(rank=8)),
        attrs.evolve(job, seed=1),
    ]
    assert job.key == Job("lora", "local/a", (chat,), Recipe(), 0).key
    assert 5 == len({job.key, *(other.key for other in others)})

"""Every optimizer with options that make it quick, and the task that it is tried on."""

from __future__ import annotations

import functools
from collections.abc import Callable

import attrs
from simulated import by_hash, ran

import lmflow as lf
from lmflow.optimizers.auto.optimizer import auto
from lmflow.optimizers.bootstrap_tpe import bootstrap_optuna
from lmflow.optimizers.combinators import chain, first_best, guard, only, within
from lmflow.optimizers.few_shot import bootstrap_few_shot, harvest, labeled_few_shot
from lmflow.optimizers.finetune import bootstrap_finetune
from lmflow.optimizers.folds import cross_fit
from lmflow.optimizers.gepa import gepa
from lmflow.optimizers.knn import knn_few_shot
from lmflow.optimizers.mipro import mipro
from lmflow.optimizers.opro import coordinate_ascent_opro, module_opro, opro
from lmflow.optimizers.parts.needs import PlannedRollout
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.optimizers.racing import racing
from lmflow.optimizers.random_search import random_search
from lmflow.optimizers.rules import infer_rules
from lmflow.optimizers.simba import simba
from lmflow.optimizers.synthesis import synthesize
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.place import TrainingPlace

think = lf.predict("think", "question -> thought", "Think of it.")
decide = lf.nearest(lf.predict("decide", "question, thought -> answer", "Decide it."), k=2)
PROGRAM = think >> decide
INVENTED = " ".join(
    f'{{"question":"is-{n}-so?","thought":"hm","answer":"yes"}}' for n in (*range(9), 20)
)
WORDS = {
    "Think": "well hm",
    "Decide": "yes no maybe",
    "Grade": "0 1 0.5",
    "You write": "Try Think Decide Ponder",
    "You make up": INVENTED,
}
ANSWER = by_hash(WORDS)
SIZES = {"train": 12, "select": 9, "held": 8}
METRIC = lf.exact_match("answer")
GRADE = lf.predict("grade", "question, response -> score: float", "Grade it.")
JUDGE = lf.Judge(GRADE, reads={"question": "example.question", "response": "outputs.answer"})


@attrs.frozen
class UntrainedTrainer:
    """A trainer whose weights are those of the program's own model."""

    name: str = "untrained"

    def check(self, base: str) -> None:
        """Any base will do."""

    def quote(self, job: Job) -> Quote:
        """It costs nothing."""
        return Quote(job.tokens, 0.0, 0)

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Give the model that there is."""
        del place
        return Weights("", job.base, job.trainer, job.key)


MAKERS: dict[str, Callable[[int], PlanOptimizer]] = {
    "labeled_few_shot": lambda seed: labeled_few_shot(k=3, seed=seed),
    "bootstrap_few_shot": lambda seed: bootstrap_few_shot(
        max_bootstrapped=2, max_labeled=3, rounds=2, seed=seed
    ),
    "harvest": lambda seed: harvest(seed=seed),
    "random_search": lambda seed: random_search(
        candidates=3, max_bootstrapped=2, max_labeled=3, seed=seed
    ),
    "opro": lambda seed: opro("decide", steps=2, breadth=2, seed=seed),
    "coordinate_ascent_opro": lambda _: coordinate_ascent_opro(breadth=3, depth=2),
    "module_opro": lambda seed: module_opro(steps=2, breadth=2, seed=seed),
    "mipro": lambda seed: mipro(candidates=3, trials=4, seed=seed),
    "mipro_zero_shot": lambda seed: mipro(
        candidates=3, trials=4, max_bootstrapped=0, max_labeled=0, seed=seed
    ),
    "bootstrap_optuna": lambda seed: bootstrap_optuna(
        trials=3, max_bootstrapped=2, factor=2, seed=seed
    ),
    "infer_rules": lambda seed: infer_rules(
        candidates=2, max_bootstrapped=2, max_labeled=3, seed=seed
    ),
    "synthesize": lambda seed: synthesize(count=2, attempts=5, seed=seed),
    "bootstrap_finetune": lambda seed: bootstrap_finetune(
        trainer=UntrainedTrainer(), invented=2, rounds=2, seed=seed
    ),
    "synthesize_one_step": lambda seed: only(
        "decide.*", synthesize(count=2, attempts=5, seed=seed)
    ),
    "knn_few_shot": lambda seed: knn_few_shot(size=5, seed=seed),
    "auto": lambda seed: auto(calls=120, seed=seed),
    "auto_small": lambda seed: auto(calls=30, seed=seed),
    "racing": lambda seed: racing(
        sets=3, instructions=2, trials=6, block=3, finalists=2, seed=seed
    ),
    "gepa": lambda seed: gepa(iterations=6, seed=seed),
    "simba": lambda seed: simba(steps=2, batch=6, candidates=2, max_demos=2, seed=seed),
    "chain": lambda seed: chain(
        labeled_few_shot(k=2, seed=seed), opro("think", steps=1, breadth=2, seed=seed)
    ),
    "only": lambda seed: only("*.demos", mipro(candidates=2, trials=2, seed=seed)),
    "first_best": lambda seed: first_best(
        labeled_few_shot(seed=seed), bootstrap_few_shot(max_labeled=2, seed=seed)
    ),
    "cross_fit": lambda seed: cross_fit(random_search(candidates=1, seed=seed), folds=2, seed=seed),
    "guard": lambda seed: guard(random_search(candidates=1, seed=seed)),
    "within": lambda seed: within(random_search(candidates=2, seed=seed), max_calls=60),
}


def rows(start: int, count: int) -> list[lf.Record]:
    """Questions with answers that the simulated model sometimes gives."""
    return [
        lf.Record(id=f"e{n}", question=f"is {n} odd?", answer="yes no".split()[n % 2])
        for n in range(start, start + count)
    ]


def given_traces() -> Traces:
    """What optimizers are given here."""
    data = lf.Data(rows(0, 12), rows(20, 9), rows(40, 8))
    return Traces(lf.init(PROGRAM), data, recorded())


@functools.cache
def recorded() -> tuple[lf.Trace, ...]:
    """Executions of the program on some training and selection examples, before anything was tuned."""
    start = lf.init(PROGRAM)
    return tuple(
        ran(PlannedRollout(PROGRAM, start, row), ANSWER) for row in [*rows(0, 10), *rows(20, 2)]
    )

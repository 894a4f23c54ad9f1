"""What training a small local model on a larger one's runs brings, and the tokens that it saves.

python bench/weights.py [train curve] [--seeds 0 1 2] [--rounds 1] [--store weights.db]

The task is that of examples/desks: the training questions and the held-back ones were written apart.
``train`` lets the larger model, told what each desk knows, teach the small one, which is told
nothing, once a seed, and judges both on the held-back questions. ``curve`` scores the larger model
on the same questions, told so, and shown more and more demonstrations instead: tokens a call
against score. Both go on where they stopped.

It needs the extras local and train, and `lmflow models pull` of both models.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples" / "desks"))

from desks import data, right, route  # noqa: E402 - beside the examples

import lmflow as lf  # noqa: E402 - after the path
from lmflow.messages.replies import ChatReply  # noqa: E402

SMALL, LARGE = "local/smollm2-135m", "local/qwen2.5-coder-1.5b"
SHOWN = (0, 6, 12, 24, 48)
EPOCHS, BATCH = 5, 4
TOLD = """Name the desk of the library that answers the question.

- atlas: where something is
- census: how many, how much, how far, how long, how old: a number
- diary: when something was, is or happens
- ladder: how to do or make something, step by step
- lexicon: what a word or idea is or means
- portrait: who a person is, or who did something"""
SLOTS = 4


@attrs.frozen
class Trained:
    """What one seed came to."""

    seed: int
    before: str
    after: str
    gain: str
    chats: int
    seconds: float
    cpu: float
    load: str
    tokens: float

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.before} -> {self.after}, gain {self.gain};"
            f" {self.chats} chats, {self.seconds:.0f} s in all, {self.cpu:.0f} s of CPU (load {self.load}),"
            f" {self.tokens:.1f} tokens a call"
        )


def prompted(demos: int) -> lf.Version:
    """The larger model with so many training questions as demonstrations, evenly of each desk."""
    rows = sorted(data().train, key=lambda row: str(row["id"]))
    by_desk = [[row for row in rows if row["desk"] == desk] for desk in _desks(rows)]
    mixed = [row for turn in zip(*by_desk, strict=True) for row in turn]
    shown = [row.only("question", "desk") for row in mixed[:demos]]
    return lf.init(route).put(
        {"route.model": LARGE, "route.demos": shown}, note=f"{demos} demonstrations"
    )


def told() -> lf.Version:
    """The larger model with an instruction that says what each desk knows."""
    changes = {"route.model": LARGE, "route.instruction": TOLD}
    return lf.init(route).put(changes, note="told what each desk knows")


def _teacher(model: str | None) -> lf.Version:
    """The version that teaches: the larger model, or the small instruction on a model."""
    return told() if model is None else lf.init(route).put({"route.model": model})


def _desks(rows: list[lf.Record]) -> Iterator[str]:
    yield from dict.fromkeys(str(row["desk"]) for row in rows)


def tokens_a_call(evaluation: lf.Evaluation, run: lf.Run) -> float:
    """The tokens read and written in a call, on average."""
    del evaluation
    outcomes = [call.outcome for trace in run.traces for call in trace.calls]
    counts = [
        (reply.usage.prompt or 0) + (reply.usage.completion or 0)
        for reply in outcomes
        if isinstance(reply, ChatReply)
    ]
    return sum(counts) / max(1, len(counts))


async def train(store: lf.SqliteStore, seed: int, teacher: lf.Version, rounds: int) -> Trained:
    """Teach the small model, and judge it and the start on the held-back questions."""
    parts = data()
    rows = lf.Data(parts.train, (), parts.held)
    optimizer = lf.bootstrap_finetune(
        teacher=teacher, base=SMALL, rounds=rounds, epochs=EPOCHS, batch=BATCH, seed=seed
    )
    began = time.monotonic()
    async with lf.Executor(SMALL, store, concurrency=SLOTS) as ex:
        result = await ex.optimize(optimizer, route, rows, right, progress=lf.silent)
        seconds = time.monotonic() - began
        await ex.evaluate(route, parts.held, right, version=result.version, progress=lf.silent)
        tokens = tokens_a_call(None, ex.runs[-1])  # type: ignore[arg-type]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    comparison = result.comparison
    origin = result.version.origin["route.model"]
    return Trained(
        seed,
        str(result.before.mean) if result.before else "",
        str(result.after.mean) if result.after else "",
        str(comparison.difference) if comparison else "",
        origin["chats"],
        seconds,
        usage.ru_utime + usage.ru_stime,
        f"{os.getloadavg()[1]:.1f}",
        tokens,
    )


async def curve(store: lf.SqliteStore, shown: Iterable[int]) -> None:
    """Score the larger model with more and more demonstrations."""
    async with lf.Executor(SMALL, store, concurrency=SLOTS) as ex:
        versions = {"told": told()} | {
            f"{demos} demonstrations": prompted(demos) for demos in shown
        }
        for name, version in versions.items():
            began = time.monotonic()
            evaluation = await ex.evaluate(
                route, data().held, right, version=version, progress=lf.silent
            )
            tokens = tokens_a_call(evaluation, ex.runs[-1])
            seconds = time.monotonic() - began
            print(
                f"{LARGE}, {name}: {evaluation.mean}, {tokens:.1f} tokens a call, {seconds:.0f} s",
                flush=True,
            )


async def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["train", "curve"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--store", default="weights.db")
    parser.add_argument(
        "--teacher", help="the name of a model that teaches instead, such as one trained before"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=1,
        help="the most runs of the teacher a question; the first that is right is learned",
    )
    parser.add_argument("--shown", nargs="+", type=int, default=SHOWN, help="demonstrations")
    options = parser.parse_args()
    with lf.SqliteStore(options.store) as store:
        if "train" in options.what:
            for seed in options.seeds:
                print(
                    await train(store, seed, _teacher(options.teacher), options.rounds), flush=True
                )
        if "curve" in options.what:
            await curve(store, options.shown)


if __name__ == "__main__":
    asyncio.run(main())

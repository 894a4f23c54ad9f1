"""The part of ``speed.py`` that asks models: recorded calls beside bare aiohttp and dspy, in rounds
of all clients, by store, by the number of open calls and by the latency of the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
from common import HERE, Child, mock_server, ratio, spread

Row = tuple[str, ...]
OURS = ("sqlite", "memory", "none")
NAMES = {
    "bare": "bare aiohttp",
    "dspy": "dspy",
    "sqlite": "SQLite",
    "memory": "memory",
    "none": "no store",
}
DSPY_EVERY = 3  # rounds: it takes ten times as long as the others together
BURST = {("bare", 1): "≥ 0.55", ("bare", 64): "≥ 0.70", ("dspy", 64): "≥ 6"}
SUSTAINED = {("bare", 64): "≥ 0.50"}
CPU = {("bare", 64): "≤ 2.2"}


@attrs.frozen
class Question:
    """What is asked of each client of a round."""

    calls: int
    concurrency: int
    delay: int = 0
    way: str = "map"


Answers = dict[str, list[dict[str, float]]]
"""The answers of each client, one a round."""


@contextlib.contextmanager
def clients(pythons: Mapping[str, str], url: str) -> Iterator[dict[str, Child]]:
    """The clients while the block lasts, each in a process of its own that keeps its connections."""
    with contextlib.ExitStack() as stack:
        started = {}
        for name, python in pythons.items():
            started[name] = Child(python, str(HERE / "clients.py"), name, url)
            stack.callback(started[name].close)
        yield started


def rounds_of(
    asked: Mapping[str, Child], questions: Mapping[str, Question], rounds: int
) -> Answers:
    """Ask every client once a round, in a turning order, after a first round that isn't counted."""
    answers: Answers = {name: [] for name in questions}
    for name, question in questions.items():
        warm = attrs.evolve(question, calls=max(20, min(question.calls, question.concurrency * 2)))
        _client_of(asked, name).ask(**attrs.asdict(warm))
    order = list(questions)
    for number in range(rounds):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            if name != "dspy" or number % DSPY_EVERY == 0:
                answers[name].append(_client_of(asked, name).ask(**attrs.asdict(questions[name])))
    return answers


def _client_of(asked: Mapping[str, Child], name: str) -> Child:
    return asked[name.partition(":")[0]]


def recorded(
    pythons: Mapping[str, str], concurrencies: Iterable[int], rounds: int, calls: int
) -> Iterator[Row]:
    """Calls a second and CPU a call: to the last acknowledgement, and to the last row where readers
    look; ``ex.run`` beside ``ex.map``; the peak memory of each client.
    """
    with mock_server() as url, clients(pythons, url) as asked:
        peaks = dict.fromkeys(pythons, 0.0)
        for concurrency in concurrencies:
            answers = rounds_of(asked, _questions(pythons, concurrency, calls), rounds)
            many = {
                name: question.calls
                for name, question in _questions(pythons, concurrency, calls).items()
            }
            yield from _speeds(answers, many, concurrency)
            for name in pythons:
                peaks[name] = max(peaks[name], *(answer["peak_mb"] for answer in answers[name]))
    for name in pythons:
        yield ("peak memory, MB", f"{peaks[name]:.0f}", NAMES[name], "", "", "")


def _questions(pythons: Mapping[str, str], concurrency: int, calls: int) -> dict[str, Question]:
    few = max(concurrency, calls // 4 if concurrency == 1 else calls)
    asked = {name: Question(few, concurrency) for name in pythons}
    if "dspy" in asked:
        asked["dspy"] = Question(max(concurrency, few // 20), concurrency)
    if "sqlite" in asked:
        asked["sqlite:run"] = Question(few, concurrency, way="run")
    return asked


def _speeds(answers: Answers, many: Mapping[str, int], concurrency: int) -> Iterator[Row]:
    def speed(name: str, kind: str = "seconds") -> list[float]:
        return [many[name] / answer[kind] for answer in answers[name]]

    def work(name: str, kind: str = "cpu") -> list[float]:
        return [answer[kind] / many[name] * 1e6 for answer in answers[name]]

    where = f"{concurrency} open"
    for theirs in (name for name in ("bare", "dspy") if name in answers):
        key = (theirs, concurrency)
        for ours in (name for name in OURS if name in answers):
            last = f"{where}, {NAMES[ours]}"
            bar = BURST.get(key, "") if ours == "sqlite" else ""
            yield compared(f"calls/s, {last}", speed(ours), theirs, speed(theirs), bar)
            if ours == "sqlite":
                kept = speed(ours, "settled_seconds")
                bar = SUSTAINED.get(key, "")
                yield compared(f"calls/s sustained, {last}", kept, theirs, speed(theirs), bar)
            yield compared(f"CPU µs a call, {last}", work(ours), theirs, work(theirs))
            if ours == "sqlite":
                kept, bar = work(ours, "settled_cpu"), CPU.get(key, "")
                yield compared(f"CPU µs a call sustained, {last}", kept, theirs, work(theirs), bar)
    if "sqlite:run" in answers:
        ran, mapped = work("sqlite:run", "settled_cpu"), work("sqlite", "settled_cpu")
        yield compared(f"CPU µs a call of ex.run, {where}", ran, "ex.map", mapped, "≤ 1.5")


def compared(
    what: str, ours: Sequence[float], name: str, theirs: Sequence[float], bar: str = ""
) -> Row:
    """A row of ours beside theirs; the ratio is of each round's pair. Who was asked in every third
    round alone is compared with ours of those.
    """
    step = 1 if len(theirs) == len(ours) else DSPY_EVERY
    part = ratio(ours[::step], theirs)
    return (what, spread(ours), NAMES.get(name, name), spread(theirs), part, bar)


def delayed(
    pythons: Mapping[str, str],
    concurrencies: Iterable[int],
    delays: Iterable[int],
    rounds: int,
) -> Iterator[Row]:
    """Wall seconds of a batch, with models that take a while: what a user waits for."""
    chosen = {
        name: python for name, python in pythons.items() if name in {"bare", "sqlite", "dspy"}
    }
    with mock_server() as url, clients(chosen, url) as asked:
        for concurrency in concurrencies:
            for delay in delays:
                calls = concurrency * (4 if delay else 8)
                question = Question(calls, concurrency, delay)
                answers = rounds_of(asked, dict.fromkeys(chosen, question), rounds)
                seconds = {
                    name: [answer["seconds"] * 1000 for answer in those]
                    for name, those in answers.items()
                }
                what = f"ms for {calls:,} calls of {delay} ms, {concurrency} open"
                for theirs in (name for name in ("bare", "dspy") if name in chosen):
                    limited = (theirs, concurrency, delay) == ("bare", 512, 50)
                    bar = "≤ 2.2" if limited else ""
                    yield compared(what, seconds["sqlite"], theirs, seconds[theirs], bar)

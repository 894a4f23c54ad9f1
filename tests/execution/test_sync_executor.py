"""The laws of ``lf.Sync``: every method of the executor, blocking, over one background loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import BudgetExceeded, MetricFailed, ModelFailed

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
MODEL = lf.scripted(lambda r: r.messages[-1].content[-1].upper())
ROWS = [{"question": letter, "answer": letter.upper(), "id": letter} for letter in "abcd"]
METRIC = lf.exact_match("answer")
DATA = lf.Data(ROWS[:1], ROWS[1:2], ROWS[2:])
METHODS = sorted(name for name in vars(lf.Executor) if not name.startswith("_"))
RENAMED = {"aclose": "close"}


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lmflow-sync"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_twin(name: str) -> None:
    """With the same parameters in the same order, and words of its own."""
    method, twin = getattr(lf.Executor, name), getattr(lf.Sync, RENAMED.get(name, name))
    assert twin.__doc__
    if callable(method):
        ours, theirs = inspect.signature(twin), inspect.signature(method)
        assert list(theirs.parameters.values())[1:] == list(ours.parameters.values())[1:]
        assert not inspect.iscoroutinefunction(twin)


def test_it_takes_the_executor_s_options() -> None:
    """The constructors have the same parameters."""
    assert inspect.signature(lf.Executor).parameters == inspect.signature(lf.Sync).parameters


def test_results_are_those_of_the_executor() -> None:
    """Runs, evaluations, optimizations, replays and scores come to the same roots and values."""

    async def awaited() -> list[Any]:
        store = lf.MemoryStore()
        async with lf.Executor(MODEL, store) as ex:
            trace = await ex.run(ANSWER, question="x")
            run = await ex.map(ANSWER, ROWS)
            evaluation = await ex.evaluate(ANSWER, ROWS, METRIC)
            tuned = await ex.optimize(lf.labeled_few_shot(k=1), ANSWER, DATA, METRIC)
            again = await ex.replay(run, ANSWER)
            await ex.score(trace, 1.0, name="helpful")
            world = ex.world(ANSWER)
        scores = [score.value for score in store.scores(trace.id)]
        return [trace.root, run.root, evaluation.root, tuned.version, again.root, scores, world]

    store = lf.MemoryStore()
    with lf.Sync(MODEL, store) as ex:
        trace = ex.run(ANSWER, question="x")
        run = ex.map(ANSWER, ROWS)
        evaluation = ex.evaluate(ANSWER, ROWS, METRIC)
        tuned = ex.optimize(lf.labeled_few_shot(k=1), ANSWER, DATA, METRIC)
        again = ex.replay(run, ANSWER)
        ex.score(trace, 1.0, name="helpful")
        world = ex.world(ANSWER)
    scores = [score.value for score in store.scores(trace.id)]
    blocked = [trace.root, run.root, evaluation.root, tuned.version, again.root, scores, world]
    assert asyncio.run(awaited()) == blocked


async def test_it_works_inside_a_running_loop() -> None:
    """A notebook's cell gets the run; the loop's thread is gone once it is closed."""
    with lf.Sync(MODEL) as ex:
        before = set(_threads())
        assert 4 == len(ex.map(ANSWER, ROWS))
        (thread,) = set(_threads()) - before
    assert not thread.is_alive()


def test_all_calls_share_one_loop() -> None:
    """Every call runs in the same thread, so that connections are reused."""
    seen: list[str] = []

    async def look(x: str) -> str:
        seen.append(f"{threading.current_thread().name} {id(asyncio.get_running_loop())}")
        return x

    step = lf.tool("look", "x -> y", look, version="1")
    with lf.Sync() as ex:
        ex.run(step, x="a")
        ex.limited(lf.Budget(calls=1)).run(step, x="b")
        list(ex.stream(step, x="c"))
    assert (3, 1) == (len(seen), len(set(seen)))
    assert seen[0].startswith("lmflow-sync")


def test_threads_may_share_it() -> None:
    """Calls of several threads run side by side in the one loop."""
    with lf.Sync(MODEL) as ex, ThreadPoolExecutor(4) as pool:
        traces = list(pool.map(lambda row: ex.run(ANSWER, question=row["question"]), ROWS))
    assert ["A", "B", "C", "D"] == [trace.outputs.answer for trace in traces if trace.outputs]


def test_what_the_program_raises_is_raised() -> None:
    """A failure is recorded, then raised; the executor goes on."""
    store = lf.MemoryStore()
    with lf.Sync(lf.scripted([]), store) as ex:
        for _ in range(2):
            with pytest.raises(ModelFailed):
                ex.run(ANSWER, question="a")
    assert ["failed", "failed"] == [run.status for run in store.runs()]


def test_wrong_arguments_are_named_as_ever() -> None:
    """A missing or unknown argument is a ``TypeError``, before anything is sent."""
    call: Any = lf.Sync.map
    with lf.Sync(MODEL) as ex:
        with pytest.raises(
            TypeError, match=r"map\(\) needs examples\. Write ex\.map\(program, rows\)"
        ):
            call(ex, ANSWER)
        with pytest.raises(TypeError, match="has no option 'rows'"):
            call(ex, ANSWER, rows=ROWS)
        with pytest.raises(TypeError, match="unexpected keyword argument 'rows'"):
            ex.limited(rows=ROWS)  # type: ignore[call-arg]


def test_a_limited_one_has_limits_of_its_own() -> None:
    """It keeps its owner alive, counts in its owner's spending too, and ends with it."""
    limited = lf.Sync(MODEL).limited(lf.Budget(calls=1))
    gc.collect()
    limited.run(ANSWER, question="a")
    limited.close()
    with pytest.raises(BudgetExceeded):
        limited.run(ANSWER, question="b")
    assert 1 == limited.spent.calls
    del limited
    gc.collect()


def test_a_stopped_run_is_resumed() -> None:
    """``resume`` finishes what a budget stopped."""
    store = lf.MemoryStore()
    with lf.Sync(MODEL, store, concurrency=1) as ex:
        with pytest.raises(BudgetExceeded):
            ex.limited(lf.Budget(calls=2)).map(ANSWER, ROWS)
        run = ex.resume(store.run(store.runs()[0].id), ANSWER)
    assert ("done", 4) == (run.status, len(run))


def test_a_stream_is_an_ordinary_iterator() -> None:
    """It gives the pieces while they arrive; at its end it has the trace."""
    with lf.Sync(lf.scripted({"": "one two three"})) as ex:
        stream = ex.stream(ANSWER, question="a")
        pieces = [part.text for part in stream]
        assert ["one", " two", " three"] == pieces
        assert lf.Record(answer="one two three") == stream.trace.outputs
        with pytest.raises(StopIteration):
            next(stream)


def test_a_stream_has_no_trace_before_its_end() -> None:
    """It says how to come to it."""

    async def sleep(x: str) -> str:
        await asyncio.sleep(30)
        return x

    step = lf.tool("sleep", "x -> y", sleep, version="1")
    with (
        lf.Sync() as ex,
        ex.stream(step, x="a") as stream,
        pytest.raises(RuntimeError, match="for part in stream"),
    ):
        _ = stream.trace


@pytest.mark.parametrize("how", ["close", "with", "drop", "close the executor"])
def test_letting_go_of_a_stream_stops_its_run(how: str) -> None:
    """It is recorded as stopped, however it is let go."""
    release = threading.Event()

    async def sleep(x: str) -> str:
        release.set()
        await asyncio.sleep(30)
        return x

    step, store = lf.tool("sleep", "x -> y", sleep, version="1"), lf.MemoryStore()
    with lf.Sync(store=store) as ex:
        stream = ex.stream(step, x="a")
        assert release.wait(10)
        if how == "close":
            stream.close()
        elif how == "with":
            with stream:
                pass
        elif how == "drop":
            del stream
    assert ["stopped"] == [run.status for run in store.runs()]


def test_a_stream_raises_what_the_run_raised() -> None:
    """At its end, as ``run`` does."""
    with lf.Sync(lf.scripted([])) as ex, pytest.raises(ModelFailed):
        list(ex.stream(ANSWER, question="a"))


def test_events_are_an_ordinary_iterator() -> None:
    """They end when the executor closes; what was queued by then is still read."""
    with lf.Sync(MODEL) as ex:
        events = ex.events()
        ex.run(ANSWER, question="a")
        first = next(events)
    names = [type(event).__name__ for event in [first, *events]]
    assert ("RunOpened", "RunClosed") == (names[0], names[-1])


def test_a_listening_thread_ends_with_the_executor() -> None:
    """A thread that waits for the next event is let go."""
    with lf.Sync(MODEL) as ex:
        events = ex.events()
        names: list[str] = []
        thread = threading.Thread(target=lambda: names.extend(type(e).__name__ for e in events))
        thread.start()
        ex.run(ANSWER, question="a")
    thread.join(10)
    assert not thread.is_alive()
    assert "RunClosed" == names[-1]


def test_a_closed_one_says_so() -> None:
    """Closing twice is once; any call after it names the line that makes another."""
    ex = lf.Sync(MODEL)
    ex.run(ANSWER, question="a")
    ex.close()
    ex.close()
    with pytest.raises(RuntimeError, match=r"is closed\. Make another: with lf\.Sync\("):
        ex.run(ANSWER, question="a")
    lf.Sync(MODEL).close()


def test_it_never_waits_for_itself() -> None:
    """A flow that calls it would wait for ever: it is refused with what to write."""
    with lf.Sync(MODEL) as ex:

        @lf.flow("question -> answer", uses=[ANSWER], version="1")
        async def blocked(question: str) -> Any:
            return ex.run(ANSWER, question=question).outputs

        with pytest.raises(RuntimeError, match=r"would stand still\. In a flow: await step"):
            ex.run(blocked, question="a")


def test_a_tool_may_call_it() -> None:
    """Tools run in threads of their own."""
    with lf.Sync(MODEL) as ex:

        def call(x: str) -> str:
            outputs = ex.run(ANSWER, question=x).outputs
            return "" if outputs is None else str(outputs.answer)

        ask = lf.tool("ask", "x -> y", call, version="1")
        assert lf.Record(y="Q") == ex.run(ask, x="q").outputs


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_its_store_may_be_closed_first(kind: str, tmp_path: Path) -> None:
    """If all is on record, closing the executor after its store is no error."""
    store: Any = lf.MemoryStore() if kind == "memory" else lf.SqliteStore(tmp_path / "lmflow.db")
    ex = lf.Sync(MODEL, store)
    ex.run(ANSWER, question="why?")
    store.close()
    ex.close()
    assert 1 == len(store.runs())


def test_a_forgotten_one_is_closed() -> None:
    """The garbage collector ends its thread."""
    gc.collect()
    before = _threads()
    ex = lf.Sync(MODEL)
    ex.run(ANSWER, question="a")
    (thread,) = set(_threads()) - set(before)
    del ex
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


_FORGOTTEN = """
import sys, lmflow as lf
step = lf.predict("answer", "question -> answer")
store = lf.SqliteStore(sys.argv[1])
ex = lf.Sync(lf.scripted({"": "fine and well"}), store)
print(ex.run(step, question="a").outputs.answer)
stream = ex.stream(step, question="b")
print(next(stream).text)
"""


def test_the_end_of_the_process_closes_it(tmp_path: Path) -> None:
    """A script that closes nothing ends by itself, in silence, with everything on record."""
    path = tmp_path / "s.db"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", _FORGOTTEN, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ("fine and well\nfine\n", "") == (done.stdout, done.stderr)
    with lf.SqliteStore(path) as store:
        assert "done" == store.runs()[-1].status


_CHILD = """
import asyncio, sys, lmflow as lf

async def wait(x: str) -> str:
    if x != "b":
        print("open", flush=True)
        await asyncio.sleep(30)
    return x

step = lf.tool("wait", "x -> y", wait, version="1")
path, where, method = sys.argv[1:]

def work(ex):
    if method == "stream":
        return list(ex.stream(step, x="a"))
    if method == "run":
        return ex.run(step, x="a")
    return ex.map(step, [{"x": "a"}])

def go(store):
    with lf.Sync(store=store) as ex:
        try:
            work(ex)
        except KeyboardInterrupt:
            print(ex.run(step, x="b").outputs.y, flush=True)
            raise

async def inside(store):
    go(store)

with lf.SqliteStore(path) as store:
    try:
        asyncio.run(inside(store)) if where == "inside" else go(store)
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
with lf.SqliteStore(path) as store:
    print([run.status for run in store.runs()], flush=True)
"""


@pytest.mark.parametrize("method", ["run", "map", "stream"])
def test_ctrl_c_stops_what_runs(method: str, tmp_path: Path) -> None:
    """An interrupt ends the call at once, on record as stopped; the executor goes on."""
    assert ["b\n", "['done', 'stopped']\n"] == _interrupted(tmp_path, "plain", method)


@pytest.mark.parametrize("method", ["run", "map", "stream"])
def test_ctrl_c_stops_what_runs_inside_a_loop(method: str, tmp_path: Path) -> None:
    """In a running loop the interrupt cancels the task that waits, and the call with it."""
    assert ["['stopped']\n"] == _interrupted(tmp_path, "inside", method)


def _interrupted(folder: Path, where: str, method: str) -> list[str]:
    """What a child prints after Ctrl-C."""
    command = [sys.executable, "-c", _CHILD, str(folder / "s.db"), where, method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert "open\n" == child.stdout.readline()
        os.kill(child.pid, signal.SIGINT)
        return child.stdout.readlines()


def test_outputs_survive_a_metric_that_fails() -> None:
    """What the words of a failing metric promise holds: the outputs are scored at no call."""
    answer = lf.predict("answer", "question -> answer")
    rows = [{"question": "a", "answer": "x"}]
    with lf.Sync(lf.scripted(["x"])) as ex:
        with pytest.raises(MetricFailed, match=r"lf\.scores_from\(ex\.runs\[-1\], rows, metric\)"):
            ex.evaluate(answer, rows, _reads_a_missing_field)
        evaluation = lf.scores_from(ex.runs[-1], rows, lf.exact_match())
    assert evaluation.mean is not None
    assert 1.0 == evaluation.mean.value


def _reads_a_missing_field(example: lf.Record, _: lf.Record) -> bool:
    return bool(example.anser)


FORKED = """
import os
import lmflow as lf

answer = lf.predict("answer", "question -> answer")
ex = lf.Sync(lf.scripted(lambda _: "x"))
ex.run(answer, question="a")
child = os.fork()
if child == 0:
    try:
        ex.run(answer, question="b")
    except RuntimeError as error:
        print(error, flush=True)
    ex.close()
    with lf.Sync(lf.scripted(["own"])) as own:
        print(own.run(answer, question="b").outputs.answer, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(ex.run(answer, question="c").outputs.answer)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_forked_process_makes_its_own() -> None:
    """In a fork the parent's Sync refuses at once instead of waiting for ever; the parent's goes
    on.
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    refusal, own, parent = done.stdout.splitlines()
    assert "Make one in each process: with lf.Sync(model, store) as ex" in refusal
    assert ("own", "x") == (own, parent)

"""The laws of trace stores."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import attrs

from lmflow.errors import ModelFailed, NotFound, RefChanged, UnknownVersion, check_kind
from lmflow.execution.executor import Executor
from lmflow.messages.replies import ChatReply, EmbedReply, Usage, failure_of
from lmflow.messages.requests import EmbedRequest
from lmflow.models.scripted import scripted
from lmflow.programs.factories import predict
from lmflow.testing.laws import check_laws, holds, laws, raising, same
from lmflow.testing.sample_runs import (
    OTHER,
    SAVED,
    SECONDS,
    THIRD,
    VERSION,
    answered,
    asked,
    begun,
    events_of,
    failure_to_keep,
    keep,
    run_of,
    trace_of,
)
from lmflow.traces.events import CallStarted, RefMoved, RunClosed, RunOpened, TraceOpened
from lmflow.traces.store import ExecutionQuery, Store
from lmflow.traces.trace import CallAttempt, Run
from lmflow.values.record import Record

_QUESTIONS, _THREADS, _RUNS_EACH = 20, 8, 10


def check_store(make: Callable[[], Store]) -> None:
    """Check the laws of a trace store.

    Args:
        make: Opens a new, empty store, for each law another one.

    Raises:
        TypeError: ``make`` is a store instead of a function that opens one.
        LawBroken: The store breaks a law; the message has the law and what was found.

    Example:
        >>> check_store(lf.MemoryStore)
    """
    line = "Each law needs an empty store: check_store(lf.MemoryStore)."
    check_kind("a function that opens a store", make, Callable, line)  # type: ignore[arg-type]
    opened: list[Store] = []

    def fresh() -> Store:
        for store in opened:
            store.close()
        opened[:] = [make()]
        return opened[0]

    try:
        check_laws(STORE_LAWS, fresh)
    finally:
        for store in opened:
            store.close()


def _a_run_reads_back_equal(store: Store) -> None:
    """A run reads back as the value that it was, with its root."""
    run = run_of("run", trace_of("t", answered()), trace_of("u", choices=Record({"first[0]": 1})))
    keep(store, *events_of(run))
    same(run, store.run("run"), "store.run")
    same(run.root, store.run("run").root, "the root of store.run")
    same(run.traces[0], store.trace("t"), "store.trace")


async def _a_live_run_reads_back_with_its_root(store: Store) -> None:
    """What an executor records has the same root when it is read."""
    step = predict("answer", "question -> answer")
    model = scripted(lambda request: request.messages[-1].content[-3:])
    async with Executor(model, store) as ex:
        run = await ex.map(step, [{"question": f"q{i}"} for i in range(_QUESTIONS)])
    same(run.root, store.run(run.id).root, "the root of the run")


async def _recorded_answers_are_found_again(store: Store) -> None:
    """``recorded`` finds the trace of an execution by program, parameters, inputs and sample."""
    step = predict("answer", "question -> answer")
    async with Executor(scripted(["yes"]), store) as ex:
        trace = await ex.run(step, question="?")
    query = ExecutionQuery(trace.program, trace.version.tree, trace.inputs, trace.sample)
    other = attrs.evolve(query, sample=1)
    found = store.recorded([query, other])
    same([trace.id, None], [each and each.id for each in found], "the ids of store.recorded")


def _events_may_come_together_or_apart(store: Store) -> None:
    """How events are grouped makes no difference."""
    run = run_of("run", trace_of("t", answered()))
    for event in events_of(run):
        keep(store, event)
    same(run, store.run("run"), "the run of events that came one by one")


def _the_order_of_items_is_by_position(store: Store) -> None:
    """Traces that were opened in another order stand by position."""
    keep(store, RunOpened(Run("run", "map", "answer")))
    for position in (2, 0, 1):
        trace = begun(trace_of(f"t{position}"))
        keep(store, TraceOpened("run", f"ex[{position}]", position, trace))
    same(["t0", "t1", "t2"], [trace.id for trace in store.run("run")], "the traces' ids")


def _attempts_are_kept_in_order(store: Store) -> None:
    """Each attempt at an address is kept; the last that ended counts."""
    failed = failure_of(ModelFailed("server", "no"))
    attempts = [asked("a[0]", failed, 0), asked("a[0]", failed, 1), answered("a[0]")]
    attempts[2] = attrs.evolve(attempts[2], attempt=2)
    keep(store, *events_of(run_of("run", trace_of("t", *attempts))))
    read = store.trace("t")
    same([0, 1, 2], [call.attempt for call in read.calls], "the numbers of the attempts")
    same(attempts[2], read.answers["a[0]"], "the attempt that counts")


def _a_call_that_never_ended_is_an_orphan(store: Store) -> None:
    """A call that was started and never ended stays without an outcome: it may be billed."""
    keep(store, *events_of(run_of("run", trace_of("t", asked("a[0]"), answered("b[0]")))))
    same(["a[0]"], [call.address for call in store.trace("t").orphans], "the orphans")


def _the_answer_of_a_key_is_the_newest_reply(store: Store) -> None:
    """``answer`` gives the reply that ended last, with its trace; failures and orphans are none."""
    failed, key = failure_of(ModelFailed("server", "no")), answered("a[0]").key
    late = attrs.evolve(answered("a[0]", "late"), ended=20)
    early = (answered("a[0]", "early"), asked("b[0]", failed), asked("c[0]"))
    same(None, store.answer(key), "the answer before there is one")
    keep(store, *events_of(run_of("run", trace_of("t0", late), trace_of("t1", *early))))
    same(("t0", ChatReply("late")), store.answer(key), "the answer")
    same(None, store.answer(asked("a[0]", text="how?").key), "the answer of a key without one")


def _a_vector_is_an_answer_too(store: Store) -> None:
    """A reply of any kind comes back as it was."""
    request, reply = EmbedRequest(("x",), "m", "e"), EmbedReply(((0.5, 1.0),), "m", Usage(1, 0))
    call = CallAttempt("a[0]", request, request.key, 0, reply, 5, 9)
    keep(store, *events_of(run_of("run", trace_of("t", call))))
    same(("t", reply), store.answer(request.key), "the answer")


def _an_open_run_can_be_read(store: Store) -> None:
    """A run that goes on can be read, as far as it has come."""
    keep(store, *events_of(run_of("run", trace_of("t")))[:2])
    same("open", store.run("run").status, "the status")
    holds(not store.trace("t").done, "a trace that was never closed is done")


def _runs_are_listed_newest_first(store: Store) -> None:
    """``runs`` lists the latest, without their traces; ``before`` goes on from a run."""
    for name in ("r1", "r2", "r3"):
        keep(store, *events_of(run_of(name)))
    same(["r3", "r2"], [run.id for run in store.runs(2)], "the latest two")
    same(["r1"], [run.id for run in store.runs(2, "r2")], "the runs before r2")


def _an_unknown_id_is_not_found(store: Store) -> None:
    """A run or trace that isn't there is ``NotFound``, a version ``UnknownVersion``."""
    keep(store, *events_of(run_of("run", trace_of("t"))))
    with raising(NotFound, "store.run('nothing')"):
        store.run("nothing")
    with raising(NotFound, "store.trace('nothing')"):
        store.trace("nothing")
    with raising(UnknownVersion, "store.version('nothing')"):
        store.version("nothing")


def _a_version_reads_back(store: Store) -> None:
    """A version keeps its parameters, parents, note and origin; saved twice it is one."""
    origin = Record({"a.b": {"by": "hand"}})
    child = attrs.evolve(VERSION, parents=(VERSION.id,), note="\u00e9", origin=origin)
    keep(store, *SAVED, *(attrs.evolve(SAVED[0], version=child) for _ in range(2)))
    same(child, store.version(child.id), "the version")
    same(VERSION, store.first(child.id), "the oldest ancestor")


def _a_run_keeps_its_version(store: Store) -> None:
    """The version of a trace, and one that a run brings with it, can be named."""
    keep(store, *events_of(run_of("run", trace_of("t"))))
    keep(store, RunOpened(Run("r1", "map", "answer", started=7), (OTHER,)))
    same([VERSION, OTHER], [store.version(each.id) for each in (VERSION, OTHER)], "the versions")


def _refs_move(store: Store) -> None:
    """A ref names the version that it was last moved to; ``REF~N`` counts parents back."""
    keep(store, *SAVED, RefMoved("best", VERSION.id, "first", 3))
    keep(store, RefMoved("best", THIRD.id, "better", 4))
    same({"best": THIRD.id}, dict(store.refs()), "store.refs")
    names = ["best", "best~0", "best~1", "best~2"]
    expected = [THIRD, THIRD, OTHER, VERSION]
    same(expected, [store.version(name) for name in names], f"the versions {names}")
    same(VERSION, store.first("best"), "the first of the line")


def _a_ref_to_nowhere_is_refused(store: Store) -> None:
    """A ref points at a version that is in the store."""
    error = failure_to_keep(store, RefMoved("best", VERSION.id, "first", 3))
    same(UnknownVersion, type(error), "the error")
    same({}, dict(store.refs()), "store.refs")


def _a_ref_moves_only_from_where_it_is_expected(store: Store) -> None:
    """A move that names another version than the ref has is ``RefChanged``, and changes nothing."""
    keep(store, *SAVED, RefMoved("best", VERSION.id, "made", 3, before=""))
    for before in (OTHER.id, ""):
        error = failure_to_keep(store, RefMoved("best", THIRD.id, "better", 4, before=before))
        holds(
            isinstance(error, RefChanged), f"from {before!r}: expected RefChanged, found {error!r}"
        )
    same({"best": VERSION.id}, dict(store.refs()), "store.refs")
    keep(store, RefMoved("best", THIRD.id, "better", 4, before=VERSION.id))
    same({"best": THIRD.id}, dict(store.refs()), "store.refs")


def _a_ref_may_go(store: Store) -> None:
    """A move to no version is the end of a ref, whose log stays."""
    keep(store, *SAVED, RefMoved("best", VERSION.id, "made", 3), RefMoved("best", "", "done", 4))
    same({}, dict(store.refs()), "store.refs")
    log = [moved.why for moved in store.versions.reflog("best")]
    same(["done", "made"], log, "the reasons of the log, newest first")
    error = failure_to_keep(store, RefMoved("best", "", "again", 5))
    holds(isinstance(error, UnknownVersion), f"a ref that isn't there went: {error!r}")


def _the_reflog_says_everything(store: Store) -> None:
    """The log has each move with where it came from, why, when and who; of one ref or of all."""
    keep(store, *SAVED, RefMoved("best", VERSION.id, "made", 3, "ann"))
    keep(store, RefMoved("best", OTHER.id, "better", 4, "bob"), RefMoved("prod", THIRD.id, "x", 5))
    first = RefMoved("best", VERSION.id, "made", 3, "ann", "")
    latest = RefMoved("best", OTHER.id, "better", 4, "bob", VERSION.id)
    same([latest, first], list(store.versions.reflog("best")), "the log of the ref")
    names = [moved.name for moved in store.versions.reflog(limit=2)]
    same(["prod", "best"], names, "the latest two moves of all refs")


def _events_that_belong_together_are_kept_together(store: Store) -> None:
    """If one event of an append is refused, none of the append is kept."""
    keep(store, SAVED[0], RefMoved("best", VERSION.id, "made", 3))
    refused = RefMoved("best", OTHER.id, "x", 4, before="")
    holds(failure_to_keep(store, SAVED[1], refused), "an append with a refused event was kept")
    with raising(UnknownVersion, "the version beside the refused event"):
        store.version(OTHER.id)


def _a_bad_event_fails_alone(store: Store) -> None:
    """An event that makes no sense fails its own append; those around it are kept."""
    futures = [
        store.append(*events_of(run_of("r1"))),
        store.append(CallStarted("nowhere", asked("a[0]"))),
        store.append(*events_of(run_of("r2"))),
    ]
    failures = [future.exception(SECONDS) is not None for future in futures]
    same([False, True, False], failures, "which of three appends failed")
    same(["r2", "r1"], [run.id for run in store.runs()], "the runs")


def _an_empty_append_waits(store: Store) -> None:
    """An append of nothing is done once what was appended before it is."""
    store.append(*events_of(run_of("run")))
    store.append().result(SECONDS)
    same(1, len(store.runs()), "the number of runs")


def _many_threads_may_append(store: Store) -> None:
    """What eight threads append is all there, whole."""
    futures: list[Future[None]] = []

    def work(name: str) -> None:
        for number in range(_RUNS_EACH):
            call = asked("a[0]", ChatReply(name), text=name)
            run = run_of(f"{name}-{number}", trace_of(f"{name}.{number}", call))
            futures.append(store.append(*events_of(run)))

    threads = [threading.Thread(target=work, args=(f"w{k}",)) for k in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems = [problem for future in futures if (problem := future.exception(SECONDS))]
    same([], problems, "the errors of the appends")
    pairs = itertools.product(range(_THREADS), range(_RUNS_EACH))
    sizes = {len(store.run(f"w{k}-{n}").traces[0].calls) for k, n in pairs}
    same({1}, sizes, "the number of calls of each trace")


def _a_run_keeps_its_config_and_result(store: Store) -> None:
    """Config and result come back as they were; those of other runs are empty."""
    config = Record({"command": {"options": ["k=1"], "split": [0.5], "ref": "gr\u00f6\u00dfer"}})
    run = Run("asked", "optimize", "x", target="app:x", started=1, config=config)
    closed = RunClosed("asked", "done", "", 2, "v1:b2:00")
    keep(store, RunOpened(run), closed, RunOpened(Run("plain", "map", "x")))
    read: list[Any] = [(each.config, each.result) for each in map(store.run, ("asked", "plain"))]
    same([(config, "v1:b2:00"), (Record(), "")], read, "config and result of two runs")


def _closing_twice_is_fine(store: Store) -> None:
    """A store may be closed again, and it has a name."""
    store.close()
    store.close()
    holds(store.name, "the store has no name")


STORE_LAWS = laws(
    _a_run_reads_back_equal,
    _a_live_run_reads_back_with_its_root,
    _recorded_answers_are_found_again,
    _events_may_come_together_or_apart,
    _the_order_of_items_is_by_position,
    _attempts_are_kept_in_order,
    _a_call_that_never_ended_is_an_orphan,
    _the_answer_of_a_key_is_the_newest_reply,
    _a_vector_is_an_answer_too,
    _an_open_run_can_be_read,
    _runs_are_listed_newest_first,
    _an_unknown_id_is_not_found,
    _a_version_reads_back,
    _a_run_keeps_its_version,
    _refs_move,
    _a_ref_to_nowhere_is_refused,
    _a_ref_moves_only_from_where_it_is_expected,
    _a_ref_may_go,
    _the_reflog_says_everything,
    _events_that_belong_together_are_kept_together,
    _a_bad_event_fails_alone,
    _an_empty_append_waits,
    _many_threads_may_append,
    _a_run_keeps_its_config_and_result,
    _closing_twice_is_fine,
)
"""The laws of a store; each is checked of a new, empty one."""

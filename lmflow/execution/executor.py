"""The executor, the only door to the outside: it drives programs and records every call before it
is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import Data, Dataset, dataset_of, records
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.execution.budget import NOTHING, Budget, Spent, spent_on
from lmflow.execution.call import OnText
from lmflow.execution.evaluate import evaluate_on
from lmflow.execution.open_run import OpenRun
from lmflow.execution.optimize import Optimization, Tell, ignore, optimization_config, run_plan
from lmflow.execution.progress import Progress, silent
from lmflow.execution.rerun import remaining, reruns
from lmflow.execution.rollout import Rollout, versioned
from lmflow.execution.run_config import keep_data, run_config
from lmflow.execution.runner import Runner
from lmflow.execution.stream import Streaming
from lmflow.metrics import Metric
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces, check_optimizers, traces_of_examples
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program, check_programs, init, take
from lmflow.traces.events import RefMoved, ScoreRecorded
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version, check_ref


class Executor(Runner):
    """Runs programs on a model and records every call in a store.

    ``model`` is a model or its name (``provider/model``); ``concurrency`` bounds the calls that are
    open at once. Without a store, recordings live in memory as long as the executor. Use it as
    ``async with``; models that it made by name end with it. ``budget`` bounds what all its runs
    spend, ``timeout`` the seconds that each execution may take; ``limited`` bounds some of its
    runs. ``redact`` cleans each text that is stored; ``secret`` is the key of the hashes that then
    stand for what was asked (without one a random key, so that nobody can compare them later).
    ``answers`` is a recording that answers executions, and stands for models, instead of the
    outside. ``adapters`` says by patterns of models' names which adapter they are asked in,
    ``{"anthropic/*": "json"}``, the first that fits, where neither a parameter nor the step says
    so; it is recorded. ``UnknownAdapter``.
    """

    async def run(
        self, program: Program | Pending, version: Version | str | None = None, /, **inputs: Any
    ) -> Trace:
        """Run a program on its inputs and return the trace; ``trace.outputs`` holds the outputs.

        ``version`` is a version, or the name of a ref or version in the store; without one the
        defaults run. Where it holds defaults that the code has changed since, ``trace.world.stale``
        names them. A program that has its inputs already, ``step(x=1)``, runs as it is, with its
        overlay and sample. It always runs anew. Raises what the program raises, after the failure
        is recorded.
        """
        return await self._once(self._rollout(program, version, inputs))

    def stream(
        self, program: Program | Pending, version: Version | str | None = None, /, **inputs: Any
    ) -> Streaming:
        """Run a program and iterate over the texts of its outputs as they come; then
        ``stream.trace`` is the trace.

        Raises what ``run`` raises, where the iteration ends. Closing the iterator stops the run.
        """
        rollout = self._rollout(program, version, inputs)
        stream = Streaming(lambda hear: self._once(rollout, hear))
        self._streams.add(stream.task)
        stream.task.add_done_callback(self._streams.discard)
        return stream

    async def map(  # noqa: PLR0913 - each is a choice of its own
        self,
        program: Program,
        examples: Iterable[Mapping[str, Any]],
        version: Version | str | None = None,
        *,
        samples: int = 1,
        budget: Budget | None = None,
        progress: Progress = silent,
    ) -> Run:
        """Run a program on each example, side by side; a run with one trace an example, in their
        order.

        Of an example only the program's inputs are read; its ``id`` labels it, else its position.
        With ``samples`` each is run that often, labelled ``ex[id]/n[k]``, and asks with
        ``sample=k``. A failure is the trace's ``failure``, not an exception; bad inputs are refused
        before anything is sent. ``BudgetExceeded`` says what is left.
        """
        rows = records(examples)
        pendings = [take(program, row) for row in rows]
        found, line = self._version(version), self._first(version)
        many = [
            Rollout(sample, versioned(sample, found), label, first=line)
            for pending, name in zip(pendings, _labels(rows), strict=True)
            for sample, label in _sampled(pending, name, samples)
        ]
        bounded = self if budget is None else self.limited(budget)
        return await bounded.rollouts("map", str(program), many, progress=progress)

    async def replay(  # noqa: PLR0913 - each is a choice of its own
        self,
        recorded: Trace | Run,
        program: Program,
        version: Version | str | None = None,
        *,
        at: str = "",
        budget: Budget | None = None,
        progress: Progress = silent,
    ) -> Run:
        """Drive a recording again under a version, by default the recorded one, and ask only what
        it doesn't answer.

        A call is answered by the recorded one where its request is the same (``lf.what_if`` says
        beforehand how many are); what is reused is recorded at no cost, with the trace it is from.
        With ``at`` it forks: exact before the first call at or below that address, asked anew from
        it on. ``ReplayDiverged``, ``NotRecorded``.
        """
        many = reruns(
            recorded,
            program,
            self._version(version),
            self._places(program),
            at=at,
            choices=self._outside.choices,
        )
        bounded = self if budget is None else self.limited(budget)
        kind = "fork" if at else "what_if"
        return await bounded.rollouts(kind, str(program), many, of=recorded.id, progress=progress)

    async def resume(
        self,
        run: Run,
        program: Program,
        *,
        retry_failures: bool = False,
        budget: Budget | None = None,
        progress: Progress = silent,
    ) -> Run:
        """Finish a run that was stopped: what was recorded stays, what was open is asked again, the
        rest is begun.

        ``run`` is as read from the executor's own store. It keeps its id and ends with the root
        that it would have had. A failure is settled unless ``retry_failures``. ``budget`` is for
        the whole run: what was recorded counts, open calls as maybe billed. ``ReplayDiverged``
        where program, version or model aren't those that it was begun with.
        """
        stands, choices = self._places(program), self._outside.choices
        todo = remaining(
            run, program, self.store.version, stands, retry_failures=retry_failures, choices=choices
        )
        calls = [call for trace in run for call in trace.calls]
        spent = (
            NOTHING
            if budget is None
            else spent_on(calls, self._outside.prices, measured=budget.measured)
        )
        bounded = self if budget is None else self.limited(budget, spent=spent)
        return await bounded._completed(run, todo, progress)  # noqa: SLF001 - its own class

    async def score(
        self,
        trace: Trace | str,
        value: float | None,
        *,
        name: str = "score",
        feedback: str = "",
        who: str = "",
    ) -> None:
        """Keep a judgement of a trace that is recorded: a number, words, or both. None is
        overwritten.
        """
        uid = trace if isinstance(trace, str) else trace.id
        await self._outside.apart(
            ScoreRecorded(uid, name, value, feedback, "", who, time.time_ns())
        ).durable()

    async def evaluate(  # noqa: PLR0913 - what an evaluation is of
        self,
        program: Program,
        version: Version | str | None,
        examples: Iterable[Mapping[str, Any]],
        metric: Metric | Judge,
        *,
        samples: int = 1,
        cluster: str = "",
        reuse: bool = True,
        budget: Budget | None = None,
        spent: Spent = NOTHING,
        config: Mapping[str, Any] = Record(),
        of: str = "",
        progress: Progress = silent,
    ) -> Evaluation:
        """Run a program under a version on examples and score each: the mean with its interval,
        rows, cost, latency.

        ``cluster`` is a field of the examples whose equal values count as one in the interval.
        Calls that are recorded already are reused where their requests are the same (stored outputs
        never are); without ``reuse`` all are asked anew. Scores are kept beside the traces.
        ``MetricFailed`` where the metric fails on all outputs. ``config`` says on the run how it
        was asked for, beside its data, metric and version; ``of`` names the run that it begins
        again, ``spent`` what that one has spent of the budget.
        """
        data, bounded = dataset_of(str(program), examples), self._bounded(budget, spent)
        under = self._version(version) or init(program)
        said = Record(
            {
                "data": data.digest,
                "metric": scorer_key(metric),
                "version": under.id,
                "samples": samples,
            }
        )
        said |= config or await self._begun(program, (data,), metric, budget)
        async with bounded._growing("evaluate", str(program), said, of, reuse=reuse) as grown:  # noqa: SLF001
            found = await evaluate_on(
                grown,
                program,
                under,
                data,
                metric,
                samples=samples,
                cluster=cluster,
                progress=progress,
            )
            await grown.close(result=found.root)
        return found

    async def optimize(  # noqa: PLR0913 - what an optimization is of
        self,
        optimizer: PlanOptimizer,
        program: Program,
        version: Version | str | None,
        data: Data,
        metric: Metric | Judge,
        *,
        ref: str = "",
        reuse: bool = True,
        prior: Iterable[Trace] = (),
        budget: Budget | None = None,
        spent: Spent = NOTHING,
        config: Mapping[str, Any] = Record(),
        of: str = "",
        tell: Tell = ignore,
    ) -> Optimization:
        """Run what an optimizer needs until it comes to a version, or the budget ends it: then it
        is the best so far.

        The version is kept, and ``ref`` points at it where that is given and it is another than the
        start. On the held-back data both are scored in the end, at the expense of the executor's
        own budget alone. ``tell(need, fresh)`` is told of each need and how many of its rollouts
        weren't run before. Begun again it pays nothing twice, with ``reuse``, and comes to the same
        version id. Cancelled, it leaves the best so far in the store, as the ``result`` of its run.
        Of ``prior`` traces, such as ``store.run(ID)``, an optimizer sees those of the program on
        examples in ``data.train``; ``harvest`` makes demonstrations of them. ``config`` says on the
        run how it was asked for, beside its optimizer, data, metric and start; ``of`` names the run
        that it begins again, ``spent`` what that one has spent of the budget.
        """
        check_optimizers(optimizer)
        traces = Traces(self._version(version) or init(program), data)
        traces = attrs.evolve(
            traces,
            prior=tuple(trace for _, trace in traces_of_examples(program, data.train, prior)),
        )
        optimizer.check(traces)
        bounded = self._bounded(budget, spent)
        parts = data.train, data.select, data.held
        said = optimization_config(optimizer, traces, metric) | (
            config or await self._begun(program, parts, metric, budget, ref)
        )
        async with bounded._growing(
            "optimize", f"{optimizer.name} {program}", said, of, reuse=reuse
        ) as grown:  # noqa: SLF001
            await grown.save(traces.version)
            found, stages, stopped = await run_plan(grown, optimizer, program, traces, metric, tell)
            await grown.save(found)
            paid = grown.spent
            scores = await self._compared(grown, program, (traces.version, found), data, metric)
            run = await grown.close("stopped" if stopped else "done", found.id)
        if ref and found.id != traces.version.id:
            await self._outside.apart(
                RefMoved(check_ref(ref), found.id, found.note, time.time_ns())
            ).durable()
        return Optimization(found, traces.version, optimizer, run, stages, stopped, paid, *scores)

    async def _begun(
        self,
        program: Program,
        data: tuple[Dataset, ...],
        metric: Metric | Judge,
        budget: Budget | None,
        ref: str = "",
    ) -> Record:
        """What is left on a run that Python begins, its examples kept where nothing is redacted."""
        if self._outside.redactor is None:
            await asyncio.to_thread(keep_data, self.store, data)
        return run_config(program, data, metric, budget, ref)

    async def _compared(
        self,
        grown: OpenRun,
        program: Program,
        versions: tuple[Version, Version],
        data: Data,
        metric: Metric | Judge,
    ) -> tuple[Evaluation | None, Evaluation | None]:
        """Both versions on the held-back data, where there is some; one of them where they are the
        same.
        """
        if not len(data.held):
            return None, None
        own = grown.bounded(self._account)
        before = await evaluate_on(
            own, program, versions[0], data.held, metric, label="held/before"
        )
        if versions[0].id == versions[1].id:
            return before, before
        return before, await evaluate_on(
            own, program, versions[1], data.held, metric, label="held/after"
        )

    async def _once(self, rollout: Rollout, hear: OnText | None = None) -> Trace:
        run, error = await self.once(rollout, hear=hear)
        if error:
            raise error
        return run.traces[0]

    def _rollout(
        self, program: Program | Pending, version: Version | str | None, inputs: Mapping[str, Any]
    ) -> Rollout:
        if isinstance(program, Pending) and inputs:
            msg = f"{program} has its inputs already, found more: {', '.join(inputs)}"
            raise TypeError(msg)
        found = self._version(version)
        if not isinstance(program, Pending):
            check_programs(program)
            program = program(**inputs)
        return Rollout(program, versioned(program, found), first=self._first(version))


def _sampled(pending: Pending, label: str, samples: int) -> list[tuple[Pending, str]]:
    if samples < 1:
        msg = f"samples must be at least 1, found {samples}"
        raise ValueError(msg)
    return (
        [(pending, label)]
        if samples == 1
        else [(pending.sampled(k), f"{label}/n[{k}]") for k in range(samples)]
    )


def _labels(rows: Sequence[Record]) -> list[str]:
    names = [str(row.get("id", position)) for position, row in enumerate(rows)]
    if not toolz.isdistinct(names):
        twice = next(name for name, count in toolz.frequencies(names).items() if count > 1)
        msg = f"the example id {twice!r} appears twice: ids label examples in the run, so they must differ"
        raise ValueError(msg)
    return [f"ex[{name}]" for name in names]

"""Specifications of evaluations and optimizations, stored with their runs, and the jobs that they
load to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import click

from lmflow.cli.loading.metrics import load_metrics
from lmflow.cli.loading.own import load_optimizer
from lmflow.cli.loading.programs import load_program
from lmflow.data.dataset import Data, Dataset
from lmflow.data.file_rows import ENDINGS
from lmflow.data.readers import dataset, read_rows
from lmflow.data.splits import split
from lmflow.errors import BadData, NotFound, short
from lmflow.evaluation.judges import Judge
from lmflow.execution.budget import Budget
from lmflow.execution.jobs.fitting import fit_to_budget
from lmflow.metrics import Metric, name_of
from lmflow.optimizers.combinators import guard
from lmflow.optimizers.folds import cross_fit
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.programs.parameters import init
from lmflow.programs.program import Program
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

PARTS = ("train", "select", "held")


@attrs.frozen
class Source:
    """A data file, or a data set of the store, and the digest of its examples."""

    path: str
    digest: str = ""


@attrs.frozen
class JobSpec:
    """Everything needed to start an evaluation or optimization again, except the store.

    ``files`` are the sources by part: ``train``, ``select`` and ``held``, or ``data``. ``version``
    is the id of the start version. ``other_metrics`` are those of an evaluation beside ``metric``.
    """

    target: str
    metric: str
    files: tuple[tuple[str, Source], ...]
    optimizer: str = ""
    options: tuple[str, ...] = ()
    split: tuple[float, ...] = ()
    guarded: bool = False
    folds: int = 0
    version: str = ""
    model: str = ""
    ref: str = ""
    samples: int = 1
    calls: int | None = None
    usd: float | None = None
    adapters: Mapping[str, str] = Record()
    judge_rows: int | None = None
    other_metrics: tuple[str, ...] = ()
    allow_files: tuple[str, ...] = ()
    shard: str = ""

    @property
    def config(self) -> Record:
        """The specification as its run stores it."""
        files = {part: attrs.asdict(source) for part, source in self.files}
        stored = {**attrs.asdict(self, recurse=False), "files": files}
        # A run by one metric keeps the settings that it had before there could be several.
        if not self.other_metrics:
            del stored["other_metrics"]
        if not self.shard:
            del stored["shard"]
        return Record({"command": stored})

    @property
    def budget(self) -> Budget | None:
        """The budget, ``None`` if the specification sets no limit."""
        if self.calls is None and self.usd is None:
            return None
        return Budget(calls=self.calls, usd=self.usd)


@attrs.frozen(eq=False)
class Job:
    """A loaded evaluation or optimization.

    ``fixed_optimizer`` is the optimizer that a run stores, and ``limits`` the budget that a run of
    Python stores; both are empty for a job that no run has begun.
    """

    spec: JobSpec
    program: Program
    metric: Metric | Judge
    start: Version
    datasets: Mapping[str, Dataset]
    prior: tuple[Trace, ...] = ()
    fixed_optimizer: PlanOptimizer | None = None
    limits: Budget | None = None
    adapters: Mapping[str, str] = Record()
    named_metrics: Mapping[str, Metric | Judge] = Record()

    @property
    def metrics(self) -> Mapping[str, Metric | Judge]:
        """The metrics and judges of an evaluation by name, the primary one first."""
        return self.named_metrics or {name_of(self.metric): self.metric}

    @property
    def budget(self) -> Budget | None:
        """The most that the job may spend, ``None`` if nothing limits it."""
        return self.spec.budget or self.limits

    @property
    def config(self) -> Record:
        """The specification as the job's run stores it; empty for a job that Python started."""
        return self.spec.config if self.spec.files else Record()

    @property
    def data(self) -> Data:
        """The data of an optimization, split as the specification says."""
        parts, fractions = dict(self.datasets), self.spec.split
        if fractions:
            parts |= split(parts["train"], dict(zip(PARTS, fractions, strict=False)))
        return Data(**parts)

    @property
    def optimizer(self) -> PlanOptimizer:
        """The optimizer with its options, its schedule fitted to the budget; a recorded one as it
        was.
        """
        if self.fixed_optimizer:
            return self.fixed_optimizer
        return fit_to_budget(
            self.unfitted, self.program, self.data, self.metric, self.budget, self.spec.judge_rows
        )

    @property
    def unfitted(self) -> PlanOptimizer:
        """The optimizer that the specification names, with its options alone."""
        optimizer = load_optimizer(self.spec.optimizer, self.spec.options)
        if self.spec.folds:
            optimizer = cross_fit(optimizer, folds=self.spec.folds)
        return guard(optimizer) if self.spec.guarded else optimizer


class JobStore(Protocol):
    """A store of versions and data sets, as jobs need it."""

    def version(self, name: str) -> Version:
        """Return the version of that name or id. ``UnknownVersion``."""
        ...

    def dataset(self, name: str, split: str = "") -> Dataset:
        """Return the data set of that name, or one of its splits. ``NotFound``."""
        ...


def spec_of(run: Run) -> JobSpec:
    """Return the specification that a command stored with a run; an error if Python started it."""
    stored: Any = run.config.get("command")
    if stored is None:
        raise click.ClickException(
            f"run {run.id} was started in Python; do it there again: {python_call(run)}."
        )
    files = tuple((part, Source(**source)) for part, source in stored["files"].items())
    return JobSpec(**{**stored, "files": files})


def python_call(run: Run) -> str:
    """Return the Python calls that run an evaluation or optimization again."""
    if run.kind == "evaluate":
        return "ex.evaluate"
    return "ex.optimize, or lmflow.execution.jobs.replay_optimization offline"


def load_job(spec: JobSpec, store: JobStore | None) -> Job:
    """Load program, metric, data and start version of a specification.

    Raises ``BadData`` if a source's examples changed since the specification was stored.
    """
    program = load_program(spec.target)
    allowed = spec.allow_files
    datasets = {part: load_examples(source, program, store, allowed) for part, source in spec.files}
    for part, source in spec.files:
        _check_unchanged(source, datasets[part])
    metrics = load_metrics([spec.metric, *spec.other_metrics])
    start = store.version(spec.version) if store and spec.version else init(program)
    files = tuple(
        (part, attrs.evolve(source, digest=datasets[part].digest)) for part, source in spec.files
    )
    return Job(
        attrs.evolve(spec, files=files, version=start.id),
        program,
        next(iter(metrics.values())),
        start,
        datasets,
        adapters=spec.adapters,
        named_metrics=metrics,
    )


def _check_unchanged(source: Source, examples: Dataset) -> None:
    if source.digest and examples.digest != source.digest:
        problem = f"its examples are {short(examples.digest)}, the run had {short(source.digest)}"
        raise BadData(source.path, problem, "Restore the examples, or start a new run.")


def load_examples(
    source: Source, program: Program, store: JobStore | None, allow_files: Sequence[str] = ()
) -> Dataset:
    """Read the examples of a file, or of the data set that the store has as ``NAME[:SPLIT]``.

    Their files must be in the folder of the data, or in one of ``allow_files``.

    Raises ``BadData`` if neither exists.
    """
    rows = _file_or_rows(source, store)
    name = rows.name if isinstance(rows, Dataset) else ""
    return dataset(rows, name, signature=program, allow_files=allow_files)


def load_inputs(
    source: Source, program: Program, store: JobStore | None, allow_files: Sequence[str] = ()
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a source as a program's inputs; rows may repeat, labels stay as they are.

    Raises ``BadData`` as ``load_examples`` does.
    """
    rows = read_rows(_file_or_rows(source, store), program, allow_files, only_inputs=True)
    return (row for _, row in rows)


def _file_or_rows(source: Source, store: JobStore | None) -> Path | Dataset:
    path = Path(source.path)
    if store is None or path.suffix.lower() in ENDINGS or path.exists():
        return path
    name, _, split_name = source.path.partition(":")
    try:
        return store.dataset(name, split_name)
    except NotFound as error:
        problem = f"it is not a file, and as a data set: {error.problem}"
        raise BadData(source.path, problem, error.fix) from None


def source_state(
    source: Source, target: str, store: JobStore, allow_files: Sequence[str] = ()
) -> str:
    """Say whether a source's examples are unchanged, changed, or why they can't be read."""
    try:
        digest = load_examples(source, load_program(target), store, allow_files).digest
    except BadData as problem:
        return str(problem)
    return "as it was" if digest == source.digest else "changed since"

"""How a tuning or an evaluation was asked for, in words that its run keeps, and what the words
stand for.
"""

from __future__ import annotations

import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs
import click

from lmflow import metrics
from lmflow.cli.loading.programs import load, named
from lmflow.data.dataset import Data, Dataset
from lmflow.data.readers import ENDINGS, dataset
from lmflow.data.splits import split
from lmflow.errors import BadData, NotFound, near, short
from lmflow.evaluation.judges import Judge
from lmflow.execution.budget import Budget
from lmflow.metrics import Metric
from lmflow.optimizers.combinators import guard
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.optimizers.registry import OPTIMIZERS
from lmflow.programs.program import Program, init
from lmflow.signatures.parsing import read, type_text
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

PARTS = ("train", "select", "held")
_SHIPPED = (
    metrics.exact_match, metrics.f1, metrics.squad_em, metrics.squad_f1, metrics.hotpot_em, metrics.hotpot_f1,
    metrics.contains, metrics.passage_match, metrics.numeric, metrics.set_f1, metrics.slot_f1,
    metrics.citation_precision, metrics.citation_recall, metrics.recall_at_k, metrics.mrr,
)  # fmt: skip
METRICS: Mapping[str, Callable[..., Metric]] = types.MappingProxyType(
    {it.__name__: it for it in _SHIPPED}
)
_PLAIN = (int, float, bool, str, types.NoneType)


@attrs.frozen
class Source:
    """A data file, or a data set of the store, and the digest of the examples in it."""

    path: str
    digest: str = ""


@attrs.frozen
class JobSpec:
    """How it was asked for: all that beginning it again takes but the store.

    ``files`` are the data by their part, or as ``data``; ``version`` is the id of the version to
    start from; a budget without limits has none.
    """

    target: str
    metric: str
    files: tuple[tuple[str, Source], ...]
    optimizer: str = ""
    options: tuple[str, ...] = ()
    split: tuple[float, ...] = ()
    guarded: bool = False
    version: str = ""
    model: str = ""
    ref: str = ""
    samples: int = 1
    calls: int | None = None
    usd: float | None = None
    adapters: Mapping[str, str] = Record()

    @property
    def config(self) -> Record:
        """As its run keeps it."""
        files = {part: attrs.asdict(source) for part, source in self.files}
        return Record({"command": {**attrs.asdict(self, recurse=False), "files": files}})

    @property
    def budget(self) -> Budget | None:
        """The budget, ``None`` where it has no limits."""
        return (
            None
            if self.calls is None and self.usd is None
            else Budget(calls=self.calls, usd=self.usd)
        )


@attrs.frozen(eq=False)
class Job:
    """What the words stand for, loaded. ``made``, ``limits`` and ``adapters`` are of a run that
    Python began, which keeps them and no words of files.
    """

    asked: JobSpec
    program: Program
    metric: Metric | Judge
    start: Version
    sets: Mapping[str, Dataset]
    prior: tuple[Trace, ...] = ()
    made: PlanOptimizer | None = None
    limits: Budget | None = None
    adapters: Mapping[str, str] = Record()

    @property
    def budget(self) -> Budget | None:
        """What it may spend."""
        return self.asked.budget or self.limits

    @property
    def config(self) -> Record:
        """How it was asked for, as its run keeps it beside what every run does."""
        return self.asked.config if self.asked.files else Record()

    @property
    def data(self) -> Data:
        """The data of a tuning, parted."""
        rows, sizes = dict(self.sets), self.asked.split
        parted = split(rows["train"], dict(zip(PARTS, sizes, strict=False))) if sizes else {}
        return Data(**{**rows, **parted})

    @property
    def optimizer(self) -> PlanOptimizer:
        """The optimizer with its options."""
        if self.made:
            return self.made
        asked = self.asked
        factory = found("optimizer", asked.optimizer, OPTIMIZERS)
        made: PlanOptimizer = built(f"--option of {asked.optimizer}", factory, asked.options)
        return guard(made) if asked.guarded else made


def spec_of(run: Run) -> JobSpec:
    """How a run was asked for. An error where that was in Python."""
    held: Any = run.config.get("command")
    if held is None:
        again = (
            f"ex.{run.kind}"
            if run.kind == "evaluate"
            else "ex.optimize, or lmflow.optimizing.replayed offline"
        )
        raise click.ClickException(f"run {run.id} was begun in Python; do it there again: {again}.")
    files = tuple((part, Source(**source)) for part, source in held["files"].items())
    return JobSpec(**{**held, "files": files})


class Kept(Protocol):
    """What is asked of a store beside its recordings."""

    def version(self, name: str) -> Version:
        """The version of that name. ``UnknownVersion``."""
        ...

    def dataset(self, name: str, split: str = "") -> Dataset:
        """The data set of that name, or one of its splits. ``NotFound``."""
        ...


def load_job(asked: JobSpec, store: Kept | None) -> Job:
    """Load program, metric, data and start version. ``BadData`` where a source holds other examples
    than it did.
    """
    program = load(asked.target)
    sets = {part: examples(source, program, store) for part, source in asked.files}
    for part, source in asked.files:
        if source.digest and sets[part].digest != source.digest:
            problem = (
                f"its examples are {short(sets[part].digest)}, the run had {short(source.digest)}"
            )
            raise BadData(source.path, problem, "Put them back as they were, or begin anew.")
    start = store.version(asked.version) if store and asked.version else init(program)
    files = tuple(
        (part, attrs.evolve(source, digest=sets[part].digest)) for part, source in asked.files
    )
    said = attrs.evolve(asked, files=files, version=start.id)
    return Job(said, program, metric_of(asked.metric), start, sets, adapters=asked.adapters)


def examples(source: Source, program: Program, store: Kept | None) -> Dataset:
    """The examples in a file, or in a data set that the store keeps under ``NAME``, or
    ``NAME:SPLIT``. ``BadData``.
    """
    path = Path(source.path)
    if store is None or path.suffix.lower() in ENDINGS or path.exists():
        return dataset(path, signature=program)
    name, _, split = source.path.partition(":")
    try:
        kept = store.dataset(name, split)
    except NotFound as error:
        raise BadData(
            source.path, f"it is no file, and as a data set: {error.problem}", error.fix
        ) from None
    return dataset(kept, kept.name, signature=program)


def state(source: Source, target: str, store: Kept) -> str:
    """Whether a source holds the examples that it held: as it was, changed since, or why it can't
    be read.
    """
    try:
        digest = examples(source, load(target), store).digest
    except BadData as problem:
        return str(problem)
    return "as it was" if digest == source.digest else "changed since"


def metric_of(text: str) -> Metric | Judge:
    """The metric that ``NAME``, ``NAME:FIELD,OPTION=VALUE`` or ``MODULE:NAME`` names, which may be
    a judge.
    """
    name, colon, rest = text.partition(":")
    if name in METRICS:
        made: Metric = built(f"--metric {name}", METRICS[name], rest.split(",") if rest else ())
        return made
    held: Metric | Judge
    if not colon:
        held = found("metric", name, METRICS)
    else:
        held = named(text, "metric", lambda it: isinstance(it, Judge) or callable(it))
    return held


def found(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """What a name stands for, or an error with a near one."""
    if name in known:
        return known[name]
    raise click.ClickException(
        f"there is no {kind} {name!r}; there are {', '.join(known)}.{near(name, known)}"
    )


def built(where: str, factory: Callable[..., Any], words: Iterable[str]) -> Any:
    """What a factory makes of ``NAME=VALUE`` texts, and values by position, read as its signature
    says.
    """
    kinds = typing.get_type_hints(factory)
    names = list(inspect.signature(factory).parameters)
    options = {}
    for place, word in enumerate(words):
        name, equals, text = word.partition("=")
        if not equals:
            name, text = names[min(place, len(names) - 1)], word
        if name not in names:
            raise click.ClickException(
                f"{where}: there is no {name!r}; there are {', '.join(names)}.{near(name, names)}"
            )
        options[name] = _typed(f"{where}: {name}", text, kinds[name])
    return factory(**options)


def _typed(where: str, text: str, kind: Any) -> Any:
    kinds = [part for part in (typing.get_args(kind) or (kind,)) if part in _PLAIN]
    if not set(kinds) - {types.NoneType}:
        raise click.ClickException(f"{where} takes what no text says; give it in Python.")
    wanted: Any = functools.reduce(operator.or_, kinds)
    try:
        return read(text, wanted)
    except ValueError as problem:
        raise click.ClickException(
            f"{where}={text!r} is no {type_text(wanted)} ({problem})."
        ) from None

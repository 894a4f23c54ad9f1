"""Ensembles: one program under several versions, reduced to one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from lmflow.library.search.samples import Search, Tried, outputs_of
from lmflow.library.search.voting import elected, vote_of
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, check_programs, take
from lmflow.values.functions import Function, function_of
from lmflow.values.record import Record
from lmflow.versions.version import Version, check_paths

Reduce = Callable[[Sequence[Record]], Record]


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Ensemble(Search):
    """A program under several versions side by side; see ``ensemble``."""

    versions: tuple[Version, ...]
    reduce: Function

    @property
    def runs(self) -> int:
        """The most runs of its part."""
        return len(self.versions)

    async def body(self, inputs: Record) -> Record:
        """What the reduction makes of the outputs, in the order of the versions."""
        pending = take(self.part, inputs)
        if len(self.versions) == 1:
            plain: Record = await pending.under(self.versions[0].params)
            return plain
        tried = take(Tried(self.part), inputs)
        found = outputs_of(
            await Fork(tuple(tried.under(v.params) for v in self.versions), name="version")
        )
        return Record(self.reduce.call(tuple(found)))


def ensemble(
    program: Program,
    versions: Iterable[Version],
    reduce: Reduce | None = None,
    *,
    version: str | None = None,
) -> Ensemble:
    """The program under each of ``versions``, side by side, and what ``reduce`` makes of their
    outputs.

    Cost: one run of the program a version. ``reduce`` is a pure function of the outputs, a tuple in
    the order of the versions, that returns outputs; by default the majority by the last output,
    ``lf.majority``. Versions that fail are left out; where all do, the first failure is raised. The
    parameters of the versions win over those that the ensemble runs with. ``ForeignPaths`` where a
    version has paths that the program doesn't.

    Khattab et al. 2023, arXiv 2310.03714 (ensembles of optimized programs).
    """
    check_programs(program)
    kept = tuple(versions)
    if not kept:
        raise ValueError("ensemble needs at least one version")
    for each in kept:
        check_paths(str(program), each.params, program.paths)
    return Ensemble(program, kept, function_of(majority if reduce is None else reduce, version))


def majority(outputs: Sequence[Record]) -> Record:
    """The first of the outputs that say what most say in their last field; what was said first
    where they tie.
    """
    return outputs[elected([vote_of(each) for each in outputs])[0]]

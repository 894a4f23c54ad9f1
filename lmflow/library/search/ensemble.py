"""Ensembles: one program under several versions, reduced to one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from lmflow.library.search.sampling import Search, Tried, successes
from lmflow.library.search.voting import elected, vote_of
from lmflow.programs.decisions import known_paths
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, check_programs, pending_of
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

    @property
    def named_models(self) -> tuple[str, ...]:
        """The models that the versions name."""
        names: list[str] = []
        for version in self.versions:
            names += [value for path, value in version.params.items() if path.endswith(".model")]
        return tuple(names)

    async def body(self, inputs: Record) -> Record:
        """Return the reduction of the outputs, which are in the order of the versions."""
        if len(self.versions) == 1:
            outputs: Record = await pending_of(self.part, inputs).under(self.versions[0].params)
            return outputs
        tried = pending_of(Tried(self.part), inputs)
        branches = tuple(tried.under(version.params) for version in self.versions)
        candidates = successes(await Fork(branches, name="version"))
        return Record(self.reduce.call(tuple(candidates)))


def ensemble(
    program: Program,
    versions: Iterable[Version],
    reduce: Reduce | None = None,
    *,
    version: str | None = None,
) -> Ensemble:
    """Run a program under each of several versions, side by side, and reduce their outputs to one.

    Cost: one run of the program for each version. The parameters of the versions take precedence
    over those that the ensemble runs with. Versions that fail are left out; if all do, the first
    failure is raised.

    Args:
        program: The program.
        versions: The versions, at least one.
        reduce: A pure function of a tuple of outputs, in the order of the versions, that returns
            outputs; by default ``lf.majority``, the majority by the last output.
        version: Identifies a function whose source doesn't.

    Returns:
        A program with the signature of ``program``.

    Raises:
        ValueError: There is no version.
        ForeignPaths: A version has paths that the program doesn't have.

    Khattab et al. 2023, arXiv 2310.03714 (ensembles of optimized programs).
    """
    check_programs(program)
    members = tuple(versions)
    if not members:
        raise ValueError("ensemble needs at least one version")
    for member in members:
        check_paths(str(program), member.params, known_paths(program))
    return Ensemble(program, members, function_of(majority if reduce is None else reduce, version))


# The source of this function is a part of the keys of ensembles: another body would be another
# program to every recording.
def majority(outputs: Sequence[Record]) -> Record:
    """Return the first outputs whose last field says what most say; the earliest vote wins a tie.

    Args:
        outputs: The outputs to vote, at least one.
    """
    return outputs[elected([vote_of(each) for each in outputs])[0]]

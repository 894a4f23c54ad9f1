"""Errors of versions, refs and their files."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError, clipped, listed, near, short


class VersionError(LmflowError):
    """A version that can't be found or doesn't fit."""


@attrs.frozen(eq=False)
class UnknownVersion(VersionError):
    """No ref, version id or unambiguous short id of that name. ``matches`` are the ids that a short
    one fits.
    """

    name: str
    known: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        if self.matches:
            return (
                f"version {self.name!r} is ambiguous: {', '.join(self.matches)}. Give more digits."
            )
        hint = self.hint or near(self.name, self.known).strip()
        return f"no ref or version {self.name!r}; refs: {listed(self.known)}. {hint}".rstrip()


@attrs.frozen(eq=False)
class ForeignPaths(VersionError):
    """Paths that the program or version doesn't have: mistyped, or their step was renamed or
    removed.
    """

    program: str
    paths: tuple[str, ...]
    known: tuple[str, ...]
    fix: str = ""

    def __str__(self) -> str:
        hints = "".join(near(path, self.known) for path in self.paths[:1])
        found = f"there is no {listed(self.paths)} in {self.program}; it has {listed(self.known)}.{hints}"
        return f"{found} {self.fix}".rstrip()


@attrs.frozen(eq=False)
class UnfitDemos(VersionError):
    """Demonstrations that hold no output of their step: its signature has changed since they were
    made.
    """

    path: str
    fields: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        step = self.path.rpartition(".")[0]
        return (
            f"a demonstration in `{self.path}` has the fields {listed(self.fields)}, the step gives "
            f"{listed(self.outputs)}. Rename its fields, "
            f'`lf.migrate(version, rename={{"{step}.{self.fields[-1] if self.fields else "old"}": '
            f'"{step}.{self.outputs[0]}"}})`, or drop them.'
        )


@attrs.frozen(eq=False)
class MissingVector(VersionError):
    """A pool that is chosen from by vectors lacks one: that of a demonstration, or that of the
    inputs.
    """

    step: str
    problem: str

    def __str__(self) -> str:
        return (
            f"the step {self.step} chooses from its pool by vectors, and {self.problem}. Run it as "
            f"`lf.similar({self.step})`, and fill its pool by `lf.knn_few_shot()`."
        )


@attrs.frozen(eq=False)
class Conflict(VersionError):
    """A difference is applied to a version that isn't what it was made from."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return (
            f"`{self.path}` is {clipped(self.found)}, the difference was made from {clipped(self.expected)}. "
            "Merge instead, `merge(base, ours, theirs)`."
        )


@attrs.frozen
class Clash:
    """One path that two sides changed differently, as text."""

    path: str
    base: str
    ours: str
    theirs: str


@attrs.frozen(eq=False)
class MergeConflict(VersionError):
    """Two sides changed the same thing differently: every such path, with both sides."""

    clashes: tuple[Clash, ...]

    def __str__(self) -> str:
        each = "; ".join(
            f"`{clash.path}`: ours {clipped(clash.ours)}, theirs {clipped(clash.theirs)}"
            for clash in self.clashes
        )
        return f"both sides changed {each}. Make them equal on one side, `put`, and merge again."


@attrs.frozen(eq=False)
class MissingParent(VersionError):
    """A version's parent can't be found: it was never kept, or pruned."""

    child: str
    parent: str

    def __str__(self) -> str:
        return (
            f"version {short(self.child)} has the parent {short(self.parent)}, which isn't here. "
            "Import it, or keep versions with their parents, `lf.commit`."
        )


@attrs.frozen(eq=False)
class CyclicParent(VersionError):
    """A parent's id leads to another version: the lineage was changed by hand, perhaps to a cycle."""

    child: str
    parent: str
    found: str

    def __str__(self) -> str:
        return (
            f"version {short(self.child)} has the parent {short(self.parent)}, which leads to {short(self.found)}: "
            "a cycle or a changed version. `lmflow verify` names what was changed."
        )


@attrs.frozen(eq=False)
class RefChanged(VersionError):
    """A ref doesn't point where the move expected it to: somebody else moved it meanwhile. It stays
    where it is.
    """

    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        found, expected = short(self.found) or "nothing", short(self.expected) or "nothing"
        return (
            f"ref {self.name!r} points at {found}, expected {expected}: it was moved meanwhile. "
            f"Look, `lmflow reflog {self.name}`, and try again."
        )


@attrs.frozen(eq=False)
class BadRef(VersionError):
    """A name that no ref may have."""

    name: str

    def __str__(self) -> str:
        return (
            f"{self.name!r} can't be the name of a ref: letters, digits and `._-/`, a letter first, "
            'and not an id. Call it like "prod" or "team/candidate".'
        )


@attrs.frozen(eq=False)
class ForeignFile(VersionError):
    """A file of versions that isn't what it should be. Nothing of it is kept."""

    file: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}. {self.fix}"

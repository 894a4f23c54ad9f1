"""Errors of versions, refs and their files."""

from __future__ import annotations

import shlex
from typing import Any

import attrs

from lmflow.errors.words import LmflowError, clipped, listed, near, short


class VersionError(LmflowError):
    """A version can't be found or doesn't fit."""


@attrs.frozen(eq=False)
class UnknownVersion(VersionError):
    """No ref, version id or unambiguous short id has the name. ``matches`` are the ids that begin
    with it, if there is more than one.
    """

    name: str
    known: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    hint: str = ""

    template = "{problem}"

    @property
    def problem(self) -> str:
        """The refs that exist, or the ids that the name is short for."""
        if self.matches:
            ids = ", ".join(self.matches)
            return f"version {self.name!r} is ambiguous: {ids}. Give more digits."
        hint = self.hint or near(self.name, self.known).strip()
        refs = f"refs: {listed(self.known)}" if self.known else "there are no refs"
        return f"no ref or version {self.name!r}; {refs}. {hint}".rstrip()


@attrs.frozen(eq=False)
class ForeignPaths(VersionError):
    """The program or version doesn't have some paths: they are mistyped, or their step was renamed
    or removed.
    """

    program: str
    paths: tuple[str, ...]
    known: tuple[str, ...]
    fix: str = ""

    template = "there is no {paths:listed} in {program}; it has {known:listed}.{hint}{fix:spaced}"

    @property
    def hint(self) -> str:
        """The known path that is nearly the first of the paths, as a question."""
        return near(self.paths[0], self.known) if self.paths else ""


@attrs.frozen(eq=False)
class BadParameter(VersionError):
    """A parameter has a value that its step can't use."""

    path: str
    found: Any
    expected: str

    template = "`{path}` is {shown}, expected {expected}"

    @property
    def shown(self) -> str:
        """The value, shortened."""
        return clipped(repr(self.found), 80)


@attrs.frozen(eq=False)
class UnfitDemos(VersionError):
    """Demonstrations have no output of their step: its signature has changed meanwhile."""

    path: str
    fields: tuple[str, ...]
    outputs: tuple[str, ...]

    template = (
        "a demonstration in `{path}` has the fields {fields:listed}, the step gives "
        '{outputs:listed}. Rename its fields, `lf.migrate(version, rename={{"{old}": "{new}"}})`, '
        "or drop them."
    )

    @property
    def old(self) -> str:
        """The last field of the demonstration, under its step."""
        return f"{self.path.rpartition('.')[0]}.{self.fields[-1] if self.fields else 'old'}"

    @property
    def new(self) -> str:
        """The first output of the step, under its step."""
        return f"{self.path.rpartition('.')[0]}.{self.outputs[0]}"


@attrs.frozen(eq=False)
class MissingVector(VersionError):
    """A step selects demonstrations by vectors, and one of them or the inputs have none."""

    step: str
    problem: str

    template = (
        "the step {step} chooses from its pool by vectors, and {problem}. Run it as "
        "`lf.similar({step})`, and fill its pool by `lf.knn_few_shot()`."
    )


@attrs.frozen(eq=False)
class Conflict(VersionError):
    """A difference is applied to a version that lacks the values from which it was made."""

    path: str
    expected: str
    found: str

    template = (
        "`{path}` is {found:clipped}, the difference was made from {expected:clipped}. "
        "Merge instead, `merge(base, ours, theirs)`."
    )


@attrs.frozen
class Clash:
    """One path that two sides changed differently, as text."""

    path: str
    base: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"`{self.path}`: ours {clipped(self.ours)}, theirs {clipped(self.theirs)}"


@attrs.frozen(eq=False)
class MergeConflict(VersionError):
    """Two sides changed the same thing differently. ``clashes`` has each path with both sides."""

    clashes: tuple[Clash, ...]

    template = "both sides changed {each}. Make them equal on one side, `put`, and merge again."

    @property
    def each(self) -> str:
        """The clashes in words."""
        return "; ".join(map(str, self.clashes))


@attrs.frozen(eq=False)
class MissingParent(VersionError):
    """A version's parent can't be found: nobody stored it, or it was pruned."""

    child: str
    parent: str

    template = (
        "version {child:short} has the parent {parent:short}, which isn't here. "
        "Import it, or keep versions with their parents, `lf.commit`."
    )


@attrs.frozen(eq=False)
class CyclicParent(VersionError):
    """A parent's id leads to another version: somebody changed the lineage, perhaps to a cycle."""

    child: str
    parent: str
    found: str

    template = (
        "version {child:short} has the parent {parent:short}, which leads to {found:short}: "
        "a cycle or a changed version. `lmflow verify` names what was changed."
    )


@attrs.frozen(eq=False)
class RefChanged(VersionError):
    """A ref doesn't point where the move expected it to: somebody else moved it meanwhile. The ref
    stays where it is.
    """

    name: str
    expected: str
    found: str

    template = (
        "ref {name!r} points at {actual_target}, expected {expected_target}: it was moved "
        "meanwhile. Look, `lmflow reflog {name}`, and try again."
    )

    @property
    def actual_target(self) -> str:
        """The short id of the version at which the ref points, or "nothing"."""
        return short(self.found) or "nothing"

    @property
    def expected_target(self) -> str:
        """The short id of the version at which the ref should point, or "nothing"."""
        return short(self.expected) or "nothing"


@attrs.frozen(eq=False)
class RefsDisagree(VersionError):
    """Two stores have moved a ref, or the name of a data set, apart. The objects that are merged by
    then stay; no ref is moved.

    ``names`` holds each such name with what it points at here and there.
    """

    store: str
    other: str
    names: tuple[tuple[str, str, str], ...]

    template = (
        "{name!r} points at {here} in {store} and at {there} in {other}, each moved on its own"
        "{more}. Decide: --take ours {word} keeps {here}, --take theirs {word} takes {there}."
    )

    @property
    def name(self) -> str:
        """The first of the names."""
        return self.names[0][0]

    @property
    def word(self) -> str:
        """The first of the names, as a shell reads it."""
        return shlex.quote(self.name)

    @property
    def here(self) -> str:
        """The short id of what the first name points at in the store that is merged into."""
        return short(self.names[0][1]) or "nothing"

    @property
    def there(self) -> str:
        """The short id of what the first name points at in the other store."""
        return short(self.names[0][2]) or "nothing"

    @property
    def more(self) -> str:
        """The other names on which the stores disagree, in words."""
        others = [repr(name) for name, _, _ in self.names[1:]]
        if not others:
            return ""
        shown = others[:4]
        if len(others) > len(shown):
            shown.append(f"{len(others) - len(shown)} more")
        verb = "is" if len(others) == 1 else "are"
        return f"; so {verb} {', '.join(shown)}, each of which needs a --take of its own"


@attrs.frozen(eq=False)
class BadRef(VersionError):
    """A ref can't have the name."""

    name: str

    template = (
        "{name!r} can't be the name of a ref: up to 100 letters, digits and `._-/`, a letter "
        "first, no `.` or `/` at the end or before another, and not the digits of an id. "
        'Call it like "prod" or "team/candidate".'
    )


@attrs.frozen(eq=False)
class ForeignFile(VersionError):
    """A file, or JSON values, aren't what lmflow wrote. Nothing of it is read."""

    file: str
    problem: str
    fix: str

    template = "{file}: {problem}. {fix}"

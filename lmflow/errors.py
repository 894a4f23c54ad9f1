"""Every error that lmflow raises, in one tree.

LmflowError
├── ProgramError          a program is composed or called in a way that can't work
│   ├── BadValue            a value that has no canonical form
│   ├── BadSignature        a signature that can't be read
│   ├── UnknownAdapter      an adapter that there isn't
│   ├── DuplicateStep       two different steps under one name
│   ├── MissingInput        an input that nothing gives
│   ├── UnknownInput        an input that the signature doesn't have
│   ├── WrongType           a value that doesn't fit its field
│   ├── Unidentified        a function whose behaviour has no stable identity
│   ├── UndeclaredProgram   a flow awaits a program that it doesn't declare
│   ├── ImpureAwait         a flow awaits something that is no effect of lmflow
│   └── NotDriven           a program is awaited outside an executor
├── VersionError          a version that can't be found or doesn't fit
│   ├── UnknownVersion
│   ├── ForeignPaths        a version has paths that the program doesn't
│   ├── UnfitDemos          demonstrations without an output of their step
│   ├── Conflict            a difference is applied to what it wasn't made from
│   ├── MergeConflict       two sides changed the same thing
│   ├── MissingParent       a version's parent can't be found
│   ├── CyclicParent        a parent's id leads to another version
│   ├── RefChanged          somebody else moved the ref meanwhile
│   ├── BadRef              a name that no ref may have
│   └── ForeignFile         a file of versions that can't be what it should be
├── CallError             the closed set that is recorded and thrown into flows
│   ├── ModelFailed
│   ├── ParseFailure
│   ├── ToolFailed
│   ├── StepTimeout
│   └── ConstraintFailed    outputs that break a constraint, also after the retries
├── BudgetExceeded        the next call could cost more than the budget has left
├── Unbounded             a budget of tokens or money, and a step whose calls have no upper bound
├── ModelUnavailable      a model that can't be used as configured
├── StoreError            the trace store can't do what was asked
│   ├── NotAStore
│   ├── NewerSchema
│   ├── NotFound
│   └── Tampered            a stored value doesn't match its hash
├── EvaluationError       examples, scores and comparisons that can't work
│   ├── BadData             rows that can't be read as examples, or not be parted as asked
│   ├── BadScore            what a metric gave is no score
│   ├── MetricFailed        a metric failed on everything that it was given
│   └── NotComparable       two evaluations that can't be paired
├── ReplayDiverged        the program asked for something else than was recorded
│   └── Undecided           a race whose winner wasn't recorded
├── NotRecorded           an address at which a trace has no call
├── BadCondition          a condition on executions that can't be read
├── Unrecorded            an execution that a test's recording doesn't hold
├── NetworkShut           something reached for the network where a recording answers
├── NotBisectable         two versions between which no first bad one can be searched
└── Redacted              a recording without what was asked, which can't be driven on

Fields carry the data, ``str(error)`` says it in words: what was found, what was expected, what mends it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import attrs


def near(name: str, known: Iterable[str]) -> str:
    """The words " Did you mean 'x'?" when ``name`` is nearly one of ``known``, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def listed(names: Iterable[str]) -> str:
    """Names as a person lists them, quoted as code."""
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def brief(name: str) -> str:
    """The first 12 hex digits of a digest, or the text itself."""
    return name.removeprefix("v1:b2:")[:12] if name.startswith("v1:b2:") else name


def clipped(text: str, width: int = 80) -> str:
    """The text on one line of at most ``width`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


class LmflowError(Exception):
    """The root of the tree: catch it to catch everything that lmflow raises on purpose."""


class ProgramError(LmflowError):
    """A program is composed or called in a way that can't work."""


@attrs.frozen(eq=False)
class BadValue(ProgramError):
    """A value that has no canonical form (a non-string key, NaN, a live object)."""

    where: str
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where or 'the value'} is {self.found}, which has no canonical form. {self.fix}"


@attrs.frozen(eq=False)
class BadSignature(ProgramError):
    """A signature that can't be read."""

    text: str
    problem: str
    fix: str = 'Write it like "question, n: int = 3 -> answer".'

    def __str__(self) -> str:
        return f"signature {self.text!r}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class UnknownAdapter(ProgramError):
    """An adapter that there isn't."""

    name: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return f"there is no adapter {self.name!r}; there are {listed(self.known)}.{near(self.name, self.known)}"


@attrs.frozen(eq=False)
class DuplicateStep(ProgramError):
    """Two different steps under one name: parameters are shared by name, so they would mix."""

    name: str

    def __str__(self) -> str:
        return (
            f"two different steps are both named {self.name!r}. "
            f'Parameters are shared by name: rename one, `step.named("{self.name}_2")`.'
        )


@attrs.frozen(eq=False)
class MissingInput(ProgramError):
    """An input that no earlier step produces and no caller gives."""

    program: str
    missing: str
    given: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.program} needs the input {self.missing!r}; given: {listed(self.given)}."
            f"{near(self.missing, self.given)}"
        )


@attrs.frozen(eq=False)
class UnknownInput(ProgramError):
    """An input that the program's signature doesn't have."""

    program: str
    unknown: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.program} has no input {self.unknown!r}; it takes {listed(self.known)}."
            f"{near(self.unknown, self.known)}"
        )


@attrs.frozen(eq=False)
class WrongType(ProgramError):
    """A value that doesn't fit the type of its field."""

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where} expects {self.expected}, found {self.found}."


@attrs.frozen(eq=False)
class Unidentified(ProgramError):
    """A function whose behaviour has no stable identity, so no replay could be checked against it."""

    function: str
    problem: str
    fix: str = 'Its source doesn\'t say what it does: give it version="1", and change that when the behaviour changes.'

    def __str__(self) -> str:
        return f"{self.function} {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class UndeclaredProgram(ProgramError):
    """A flow awaits a program that its ``uses`` doesn't declare."""

    flow: str
    program: str

    def __str__(self) -> str:
        return f"flow {self.flow!r} awaits {self.program}, which it doesn't declare. Add it to uses=[...]."


@attrs.frozen(eq=False)
class ImpureAwait(ProgramError):
    """A flow awaits something that is no effect of lmflow (a timer, a socket, another library's future)."""

    flow: str
    found: str

    def __str__(self) -> str:
        return (
            f"{self.flow} awaits {self.found}. A flow may await programs and lf.gather only: "
            "make it a tool, `lf.tool(name, signature, function)`, and await that."
        )


@attrs.frozen(eq=False)
class NotDriven(ProgramError):
    """A program is awaited outside an executor."""

    program: str

    def __str__(self) -> str:
        return f"{self.program} is awaited outside an executor. Run it: `await ex.run({self.program}, ...)`."


class VersionError(LmflowError):
    """A version that can't be found or doesn't fit."""


@attrs.frozen(eq=False)
class UnknownVersion(VersionError):
    """No ref, version id or unambiguous short id of that name. ``matches`` are the ids that a short one fits."""

    name: str
    known: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        if self.matches:
            return f"version {self.name!r} is ambiguous: {', '.join(self.matches)}. Give more digits."
        hint = self.hint or near(self.name, self.known).strip()
        return f"no ref or version {self.name!r}; refs: {listed(self.known)}. {hint}".rstrip()


@attrs.frozen(eq=False)
class ForeignPaths(VersionError):
    """Paths that the program or version doesn't have: mistyped, or their step was renamed or removed."""

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
    """Demonstrations that hold no output of their step: its signature has changed since they were made."""

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
            f"`{clash.path}`: ours {clipped(clash.ours)}, theirs {clipped(clash.theirs)}" for clash in self.clashes
        )
        return f"both sides changed {each}. Make them equal on one side, `put`, and merge again."


@attrs.frozen(eq=False)
class MissingParent(VersionError):
    """A version's parent can't be found: it was never kept, or pruned."""

    child: str
    parent: str

    def __str__(self) -> str:
        return (
            f"version {brief(self.child)} has the parent {brief(self.parent)}, which isn't here. "
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
            f"version {brief(self.child)} has the parent {brief(self.parent)}, which leads to {brief(self.found)}: "
            "a cycle or a changed version. `lmflow verify` names what was changed."
        )


@attrs.frozen(eq=False)
class RefChanged(VersionError):
    """A ref doesn't point where the move expected it to: somebody else moved it meanwhile. It stays where it is."""

    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        found, expected = brief(self.found) or "nothing", brief(self.expected) or "nothing"
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


class CallError(LmflowError):
    """The closed set of errors that are thrown into flows: recorded, or following from what is, so that try/except
    replays.
    """


@attrs.frozen(eq=False)
class ModelFailed(CallError):
    """A model gave no usable reply. ``kind``: auth, quota, unknown_model, unreachable, timeout, rate_limit, server,
    request, bad_reply.

    ``raw`` is what the server said, cut at 10,000 characters; of a stream that stopped, the text that had come.
    """

    kind: str
    text: str
    status: int | None = None
    retry_after: float | None = None
    raw: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        return self.text


@attrs.frozen(eq=False)
class ParseFailure(CallError):
    """A reply that doesn't hold what the signature promises, also after the retry that named the mistake.

    ``replies`` are the raw texts, ``problems`` what was wrong with each, in order.
    """

    step: str
    expected: str
    problems: tuple[str, ...]
    replies: tuple[str, ...]

    def __str__(self) -> str:
        tries = "; then ".join(
            f"{problem} in {reply[:200]!r}" for problem, reply in zip(self.problems, self.replies, strict=True)
        )
        return f"{self.step}: expected {self.expected}; found: {tries}"


@attrs.frozen(eq=False)
class ToolFailed(CallError):
    """A tool raised. ``kind`` is the exception's class name, ``text`` its message."""

    tool: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"tool {self.tool!r} raised {self.kind}: {self.text}"


@attrs.frozen(eq=False)
class StepTimeout(CallError):
    """A call took longer than its step allows."""

    step: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.step} took longer than {self.seconds:g} s"


@attrs.frozen(eq=False)
class ConstraintFailed(CallError):
    """Outputs that break a constraint, also after the retries that named the problem. ``problems``: one an attempt.

    It follows from recorded calls, so a flow that catches it replays.
    """

    program: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        found = "; then ".join(self.problems)
        return f"{self.program} broke its constraints: {found}. Allow more retries, or hard=False for the best attempt."


@attrs.frozen(eq=False)
class BudgetExceeded(LmflowError):
    """The next call could cost more than the budget has left: nothing more is sent, and the run is stopped.

    ``spent``, ``left`` and ``needed`` are in calls, tokens and money; ``run`` is the run's id, of which ``done`` of
    ``total`` executions are finished. It ends the run: no flow can catch it.
    """

    budget: Any
    spent: Any
    left: Any
    needed: Any
    run: str = ""
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        head = f"{self.budget} is used up: spent {self.spent}; left {self.left}; the next call may need {self.needed}."
        kept = f" Run {self.run} is stopped with {self.done} of {self.total} done; all of it is recorded."
        return f"{head}{kept if self.run else ''} Resume it with a larger budget."


@attrs.frozen(eq=False)
class Unbounded(LmflowError):
    """A budget of tokens or money can't be kept: nothing bounds what a step's call may cost."""

    step: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"the budget can't be kept: {self.step} {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class ModelUnavailable(LmflowError):
    """A model that can't be used as configured: unknown name, missing key, missing weights, missing extra."""

    model: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"model {self.model!r}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class StoreError(LmflowError):
    """The trace store can't do what was asked."""

    store: str
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        return f"store {self.store}: {self.problem}. {self.fix}".rstrip()


@attrs.frozen(eq=False)
class NotAStore(StoreError):
    """A file that is no SQLite database, or one that lmflow didn't make. It is left as it is."""


@attrs.frozen(eq=False)
class NewerSchema(StoreError):
    """A store that a newer lmflow wrote. It is left as it is."""


@attrs.frozen(eq=False)
class NotFound(StoreError):
    """Nothing in the store has that id, or more than one thing begins with it."""


@attrs.frozen(eq=False)
class Tampered(StoreError):
    """A stored value doesn't match its hash."""


class EvaluationError(LmflowError):
    """Examples, scores or comparisons that can't work."""


@attrs.frozen(eq=False)
class BadData(EvaluationError):
    """Rows that can't be read as examples, or can't be parted as asked. ``where`` is a file and line, or a data set."""

    where: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class BadScore(EvaluationError):
    """What a metric gave, or was given, makes no score."""

    metric: str
    problem: str
    fix: str = "A metric returns a finite number, a bool or lf.Score(value, feedback)."

    def __str__(self) -> str:
        return f"metric {self.metric}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class MetricFailed(EvaluationError):
    """A metric failed on everything that it was given: that is a mistake in it, and no score of 0.

    ``kind`` and ``text`` are those of its first failure.
    """

    metric: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"metric {self.metric} failed on every example; the first time with {self.kind}: {self.text}"


@attrs.frozen(eq=False)
class NotComparable(EvaluationError):
    """Two evaluations that can't be paired."""

    a: str
    b: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.a} and {self.b} can't be compared: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class ReplayDiverged(LmflowError):
    """The program asked for something else than was recorded at ``address``.

    ``recorded`` and ``asked`` are the two sides as text; the empty side is absent.
    """

    address: str
    recorded: str
    asked: str
    hint: str = ""

    def __str__(self) -> str:
        if not self.recorded:
            head = f"replay diverged at {self.address}: nothing was recorded there"
        elif not self.asked:
            head = f"replay diverged at {self.address}: recorded, but never asked for"
        else:
            head = f"replay diverged at {self.address}: the request differs"
        return "\n".join(part for part in (head, _sides(self.recorded, self.asked), self.hint) if part)


@attrs.frozen(eq=False)
class Undecided(ReplayDiverged):
    """A ``first`` was reached whose winner wasn't recorded: nobody knows who would win."""


@attrs.frozen(eq=False)
class NotRecorded(LmflowError):
    """An address at which nothing was recorded. ``known`` are the addresses of the calls that were."""

    where: str
    address: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        frames = dict.fromkeys(part for address in self.known for part in (address, address.rpartition("/")[0]))
        fix = "`lmflow runs show RUN` lists the addresses."
        return f"{self.where} has no call at {self.address!r}.{near(self.address, frames)} {fix}"


@attrs.frozen(eq=False)
class BadCondition(LmflowError):
    """A condition on executions that can't be read."""

    text: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        fix = 'Write FIELD OPERATOR LITERAL: "score>0.8", "input.lang = en", "output.answer ~ Paris".'
        return f"condition {self.text!r}: {self.problem}.{self.hint} {fix}"


@attrs.frozen(eq=False)
class Unrecorded(LmflowError):
    """An execution that a test's recording doesn't hold. ``parted`` says how it differs from the nearest that it holds,
    as a tree.
    """

    path: str
    program: str
    problem: str
    parted: str = ""

    def __str__(self) -> str:
        fix = "Record it: pytest --lmflow-record=new adds what is new, --lmflow-record=all records anew."
        head = f"{self.path} doesn't answer {self.program}: {self.problem}. {fix}"
        return "\n".join(part for part in (head, self.parted) if part)


@attrs.frozen(eq=False)
class NetworkShut(LmflowError):
    """Something reached for the network where it is shut."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"the network is shut, found an attempt to reach {self.where}. {self.why}"


@attrs.frozen(eq=False)
class NotBisectable(LmflowError):
    """Two versions between which no first bad one can be searched."""

    problem: str

    def __str__(self) -> str:
        return f"{self.problem}: give a good version and a bad one that descends from it, and a metric that tells them."


@attrs.frozen(eq=False)
class Redacted(LmflowError):
    """A trace whose texts were cleaned when they were stored: what was asked isn't there to be asked again."""

    trace: str

    def __str__(self) -> str:
        return f"trace {self.trace} was redacted: the store doesn't hold what was asked. Run it anew, `ex.run`."


ENDING = (StoreError, BudgetExceeded, Unbounded, ReplayDiverged)
"""What ends a run as it is: its executions stay open, to be resumed, and no flow can catch it."""


def _sides(recorded: str, asked: str) -> str:
    diff: Any = difflib.unified_diff(recorded.splitlines(), asked.splitlines(), "recorded", "asked", lineterm="", n=2)
    return "\n".join(diff)

"""Every error that lmflow raises, in one tree.

LmflowError
├── ProgramError          a program is composed or called in a way that can't work
│   ├── BadValue            a value that has no canonical form
│   ├── BadMedia            a picture, sound or file that can't be made of what was given
│   ├── NoContent           a picture, sound or file whose content isn't here
│   ├── NoLogprobs          a confidence is asked for, and the reply has no logprobs
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
│   ├── MissingVector       a pool that is chosen from by vectors lacks one
│   ├── Conflict            a difference is applied to what it wasn't made from
│   ├── MergeConflict       two sides changed the same thing
│   ├── MissingParent       a version's parent can't be found
│   ├── CyclicParent        a parent's id leads to another version
│   ├── RefChanged          somebody else moved the ref meanwhile
│   ├── BadRef              a name that no ref may have
│   └── ForeignFile         a file of versions that can't be what it should be
├── CallError             the closed set that is recorded and thrown into flows
│   ├── ModelFailed
│   │   └── TooLong             a prompt that is longer than the model takes
│   ├── ParseFailure
│   ├── ToolFailed
│   ├── StepTimeout
│   ├── ConstraintFailed    outputs that break a constraint, also after the retries
│   ├── CodeFailed          programs of a model, none of which gave a result
│   └── Unanswered          an agent that came to nothing
├── BudgetExceeded        the next call could cost more than the budget has left
├── Unbounded             a budget of tokens or money, and a step whose calls have no upper bound
├── ModelUnavailable      a model that can't be used as configured
├── ToolsUnavailable      a server whose tools can't be had
├── SandboxUnavailable    a sandbox whose interpreter is missing, or another one
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
├── Refused               a request that a server doesn't take
├── Unservable            a server that can't begin
├── BadCondition          a condition on executions that can't be read
├── Unrecorded            an execution that a test's recording doesn't hold
├── NetworkShut           something reached for the network where a recording answers
├── NotBisectable         two versions between which no first bad one can be searched
└── Redacted              a recording without what was asked, which can't be driven on

Fields carry the data, ``str(error)`` says it in words: what was found, what was expected, what mends it.
"""

from __future__ import annotations

from lmflow.errors.calling import (
    NO_TOOLS,
    BudgetExceeded,
    CallError,
    CodeFailed,
    ConstraintFailed,
    ModelFailed,
    ModelUnavailable,
    ParseFailure,
    SandboxUnavailable,
    StepTimeout,
    ToolFailed,
    TooLong,
    ToolsUnavailable,
    Unanswered,
    Unbounded,
)
from lmflow.errors.composing import (
    BadMedia,
    BadSignature,
    BadValue,
    DuplicateStep,
    ImpureAwait,
    MissingInput,
    NoContent,
    NoLogprobs,
    NotDriven,
    ProgramError,
    UndeclaredProgram,
    Unidentified,
    UnknownAdapter,
    UnknownInput,
    WrongType,
)
from lmflow.errors.evaluating import (
    BadCondition,
    BadData,
    BadScore,
    EvaluationError,
    MetricFailed,
    NotComparable,
)
from lmflow.errors.replaying import (
    NetworkShut,
    NotBisectable,
    NotRecorded,
    Redacted,
    ReplayDiverged,
    Undecided,
    Unrecorded,
)
from lmflow.errors.serving import Refused, Unservable
from lmflow.errors.storing import NewerSchema, NotAStore, NotFound, StoreError, Tampered
from lmflow.errors.versioning import (
    BadRef,
    Clash,
    Conflict,
    CyclicParent,
    ForeignFile,
    ForeignPaths,
    MergeConflict,
    MissingParent,
    MissingVector,
    RefChanged,
    UnfitDemos,
    UnknownVersion,
    VersionError,
)
from lmflow.errors.words import LmflowError, check_kind, clipped, listed, near, short

ENDING = (StoreError, BudgetExceeded, Unbounded, ReplayDiverged)
"""What ends a run as it is: its executions stay open, to be resumed, and no flow can catch it."""

__all__ = [
    "ENDING",
    "NO_TOOLS",
    "BadCondition",
    "BadData",
    "BadMedia",
    "BadRef",
    "BadScore",
    "BadSignature",
    "BadValue",
    "BudgetExceeded",
    "CallError",
    "Clash",
    "CodeFailed",
    "Conflict",
    "ConstraintFailed",
    "CyclicParent",
    "DuplicateStep",
    "EvaluationError",
    "ForeignFile",
    "ForeignPaths",
    "ImpureAwait",
    "LmflowError",
    "MergeConflict",
    "MetricFailed",
    "MissingInput",
    "MissingParent",
    "MissingVector",
    "ModelFailed",
    "ModelUnavailable",
    "NetworkShut",
    "NewerSchema",
    "NoContent",
    "NoLogprobs",
    "NotAStore",
    "NotBisectable",
    "NotComparable",
    "NotDriven",
    "NotFound",
    "NotRecorded",
    "ParseFailure",
    "ProgramError",
    "Redacted",
    "RefChanged",
    "Refused",
    "ReplayDiverged",
    "SandboxUnavailable",
    "StepTimeout",
    "StoreError",
    "Tampered",
    "TooLong",
    "ToolFailed",
    "ToolsUnavailable",
    "Unanswered",
    "Unbounded",
    "Undecided",
    "UndeclaredProgram",
    "UnfitDemos",
    "Unidentified",
    "UnknownAdapter",
    "UnknownInput",
    "UnknownVersion",
    "Unrecorded",
    "Unservable",
    "VersionError",
    "WrongType",
    "check_kind",
    "clipped",
    "listed",
    "near",
    "short",
]

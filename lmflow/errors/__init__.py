"""Every error that lmflow raises, in one tree.

LmflowError
├── ProgramError          a program is composed or called in a way that can't work
│   ├── BadValue            a value has no canonical form
│   ├── BadMedia            a source can't be made a picture, sound or file
│   ├── NoContent           the content of a picture, sound or file isn't here
│   ├── NoLogprobs          a confidence can't be computed, as the reply has no logprobs
│   ├── BadSignature        a signature can't be read
│   ├── UnknownAdapter      no adapter has the name
│   ├── DuplicateStep       two different steps have one name
│   ├── MissingInput        neither a step nor the caller provides an input
│   ├── UnknownInput        the signature has no such input
│   ├── WrongType           a value doesn't fit its field
│   ├── Unidentified        the behaviour of a function has no stable identity
│   ├── UndeclaredProgram   a flow awaits a program that it doesn't declare
│   ├── ImpureAwait         a flow awaits something that isn't an effect of lmflow
│   └── NotDriven           a program is awaited outside an executor
├── VersionError          a version can't be found or doesn't fit
│   ├── UnknownVersion      no ref or version has the name
│   ├── ForeignPaths        a version has paths that the program doesn't
│   ├── BadParameter        a parameter has a value that its step can't use
│   ├── UnfitDemos          demonstrations have no output of their step
│   ├── MissingVector       a step selects by vectors, and one is missing
│   ├── Conflict            a difference is applied to another version than its first
│   ├── MergeConflict       two sides changed the same thing
│   ├── MissingParent       a version's parent can't be found
│   ├── CyclicParent        a parent's id leads to another version
│   ├── RefChanged          somebody else moved the ref meanwhile
│   ├── RefsDisagree        two stores have moved a ref apart
│   ├── BadRef              a ref can't have the name
│   └── ForeignFile         a file, or JSON values, aren't what lmflow wrote
├── CallError             the closed set that is recorded and thrown into flows
│   ├── ModelFailed         a model gave no usable reply
│   │   └── TooLong             a prompt is longer than the model takes
│   ├── ParseFailure        a reply lacks outputs, also after the retry
│   ├── ToolFailed          a tool raised
│   ├── StepTimeout         a call took longer than its step allows
│   ├── ConstraintFailed    outputs break a constraint, also after the retries
│   ├── CodeFailed          no program that a model wrote gave a result
│   └── Unanswered          an agent has no answer
├── BudgetExceeded        the next call could cost more than the budget has left
├── WaveStopped           a wave of batched requests can't go out or be waited for
├── BudgetTooSmall        the budget does not cover what must be reserved before the work begins
├── OtherEventLoop        an executor is used in two event loops
├── Unbounded             a budget can't be kept: a step's calls have no upper bound
├── ModelUnavailable      a model can't be used as configured
├── ToolsUnavailable      the tools of a server can't be used
├── SandboxUnavailable    the interpreter of a sandbox is missing, or of another series
├── StoreError            the trace store can't do what a caller requested
│   ├── NotAStore           a file isn't a store
│   ├── NewerSchema         a newer lmflow wrote the store
│   ├── NotFound            nothing has the id, or more than one thing
│   ├── RunsDisagree        two copies of a run were gone on with apart
│   └── Tampered            a stored value doesn't match its hash
├── EvaluationError       examples, scores or comparisons can't work
│   ├── BadData             rows can't be read as examples, or can't be split
│   ├── BadScore            a metric returned something that makes no score
│   ├── MetricFailed        a metric raised on every example
│   ├── TrainingFailed      a training job failed
│   ├── NotShards           runs aren't all the shards of one run
│   └── NotComparable       two evaluations can't be paired
├── ReplayDiverged        the program sent another request than was recorded
│   └── Undecided           a race whose winner wasn't recorded
├── NotRecorded           a trace has no call at an address
├── Refused               a server doesn't take a request
├── Unservable            a server can't start
├── BadCondition          a condition on executions can't be read
├── NotSteerable          a search has ended, or can't be steered so
├── TelemetryError        traces can't be sent or read
│   ├── ExportRefused       a server took no spans
│   └── NotReplayable       a trace was imported and has no program
├── Unrecorded            the recording of a test doesn't hold an execution
├── NetworkShut           a program tried to reach a host while the network is shut
├── NotBisectable         no first bad version can be searched between two versions
└── Redacted              a recording without its requests, which can't be replayed

An error's fields carry the data; ``str(error)`` fills the ``template`` of its class with them: what
was found, what was expected, and the fix.
"""

from __future__ import annotations

from lmflow.errors.calling import (
    NO_TOOLS,
    BudgetExceeded,
    BudgetTooSmall,
    CallError,
    CodeFailed,
    ConstraintFailed,
    FailureKind,
    ModelFailed,
    ModelUnavailable,
    OtherEventLoop,
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
    NotShards,
    NotSteerable,
    TrainingFailed,
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
from lmflow.errors.serving import RefusalKind, Refused, Unservable
from lmflow.errors.storing import (
    NewerSchema,
    NotAStore,
    NotFound,
    RunsDisagree,
    StoreError,
    Tampered,
)
from lmflow.errors.telemetry import ExportRefused, NotReplayable, TelemetryError
from lmflow.errors.versioning import (
    BadParameter,
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
    RefsDisagree,
    UnfitDemos,
    UnknownVersion,
    VersionError,
)
from lmflow.errors.waves import WaveStopped
from lmflow.errors.words import (
    LmflowError,
    check_kind,
    clipped,
    listed,
    near,
    safe_repr,
    short,
)

ENDING = (StoreError, BudgetExceeded, Unbounded, ReplayDiverged, WaveStopped)
"""Errors that end a run at once and that no flow can catch: open executions can be resumed."""

__all__ = [
    "ENDING",
    "NO_TOOLS",
    "BadCondition",
    "BadData",
    "BadMedia",
    "BadParameter",
    "BadRef",
    "BadScore",
    "BadSignature",
    "BadValue",
    "BudgetExceeded",
    "BudgetTooSmall",
    "CallError",
    "Clash",
    "CodeFailed",
    "Conflict",
    "ConstraintFailed",
    "CyclicParent",
    "DuplicateStep",
    "EvaluationError",
    "ExportRefused",
    "FailureKind",
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
    "NotReplayable",
    "NotShards",
    "NotSteerable",
    "OtherEventLoop",
    "ParseFailure",
    "ProgramError",
    "Redacted",
    "RefChanged",
    "RefsDisagree",
    "RefusalKind",
    "Refused",
    "ReplayDiverged",
    "RunsDisagree",
    "SandboxUnavailable",
    "StepTimeout",
    "StoreError",
    "Tampered",
    "TelemetryError",
    "TooLong",
    "ToolFailed",
    "ToolsUnavailable",
    "TrainingFailed",
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
    "WaveStopped",
    "WrongType",
    "check_kind",
    "clipped",
    "listed",
    "near",
    "safe_repr",
    "short",
]

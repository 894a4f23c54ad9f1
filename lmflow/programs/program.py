"""Programs: immutable compositions of named steps, which run nothing themselves.

A program is called with its inputs and gives a ``Pending``; awaiting that in a flow, or giving it
to a driver, runs it. Named programs (predictors, tools, flows, ``named``) open a frame in
addresses; the other combinators don't.
"""

from __future__ import annotations

import functools
from collections.abc import Coroutine, Mapping
from typing import Any, Never

import attrs
import toolz

from lmflow.adapters.adapter import Adapter
from lmflow.errors import DuplicateStep, MissingInput, check_kind
from lmflow.programs.composed_signatures import piped
from lmflow.programs.drawn import Drawn
from lmflow.programs.effects import Pending
from lmflow.programs.predictor_signatures import check_predictor
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature, first_missing
from lmflow.values.attributes import uncached
from lmflow.values.record import EMPTY, Record, digest, plain
from lmflow.versions.version import Version

Body = Coroutine[Any, Any, Any]


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Program(Drawn):
    """Base of all programs, which ``predict``, ``tool``, ``flow`` and the combinators make."""

    signature: Signature = attrs.field(init=False)

    def __call__(self, /, *extra: Never, **inputs: Any) -> Pending:
        """Give the program its inputs; it runs once the result is awaited or driven.

        Args:
            *extra: Nothing; inputs are given by name.
            **inputs: The inputs of the signature, by name.

        Returns:
            The program with converted inputs.

        Raises:
            MissingInput: An input without default is missing.
            UnknownInput: The signature has no input of that name.
            WrongType: A value doesn't fit its input's type.
        """
        self._check_by_name(extra, self.signature.input_names)
        return Pending(self, self.signature.bind(str(self), inputs))

    def __rshift__(self, after: Program) -> Pipe:
        """Compose ``self``, then ``after``: each reads inputs from a record and adds its outputs.

        Args:
            after: The program that runs second.

        Returns:
            The pipe of both, flattened.

        Raises:
            MissingInput: ``after`` reads a name that is nearly an output's: a typo.
            DuplicateStep: Two different steps share a name.
        """
        return pipe(self, after)

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    def __str__(self) -> str:
        return type(self).__name__.lower()

    @property
    def children(self) -> tuple[Program, ...]:
        """The programs that this program is composed of."""
        return ()

    @property
    def frame(self) -> str:
        """The name under which the program opens a frame; empty if it opens none."""
        return ""

    @property
    def prefix(self) -> str:
        """The prefix of the children's parameter paths."""
        return ""

    @property
    def named_models(self) -> tuple[str, ...]:
        """The models that the program itself names, beside those of its parameters."""
        return ()

    @property
    def identity(self) -> Any:
        """The JSON values that identify the program: its key is their hash."""
        children = [child.identity for child in self.children]
        return [type(self).__name__, self.signature.identity, children]

    @functools.cached_property
    def key(self) -> str:
        """The hash of structure, signatures and own functions, without default parameters."""
        return digest("program", self.identity)

    @functools.cached_property
    def steps(self) -> Mapping[str, Step]:
        """The steps by name, in program order; ``DuplicateStep`` if two differ under one name."""
        steps: dict[str, Step] = {}
        for child in self.children:
            for name, step in child.steps.items():
                if steps.setdefault(self.prefix + name, step) != step:
                    raise DuplicateStep(self.prefix + name)
        return steps

    @functools.cached_property
    def predictors(self) -> Mapping[str, Predict]:
        """The steps that ask a model, by the names that their parameter paths begin with."""
        return {name: step for name, step in self.steps.items() if isinstance(step, Predict)}

    @functools.cached_property
    def defaults(self) -> Record:
        """The default parameters, path -> value, in program order."""
        values: dict[str, Any] = {}
        for name, step in self.steps.items():
            values |= {f"{name}.{slot}": value for slot, value in step.slots.items()}
        return Record(values)

    @functools.cached_property
    def initial(self) -> Version:
        """The first version of the parameters: the defaults."""
        return Version(params=self.defaults, note=f"defaults of {self}")

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the parameters."""
        return tuple(self.defaults)

    def named(self, name: str) -> Program:
        """Put the program under a name, so that it has parameters ``name.step.slot`` of its own.

        Args:
            name: The name of the frame.

        Returns:
            A program with the same signature.

        Raises:
            BadSignature: The name is invalid.
        """
        return Named(name, self)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class NamedProgram(Program):
    """Base of the programs that open a frame under their name in addresses."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def frame(self) -> str:
        """The name of the program."""
        return self.name


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class NamedComposition(NamedProgram):
    """Base of named programs whose steps have parameters ``name.step.slot``."""

    @property
    def prefix(self) -> str:
        """The name of the program and a dot."""
        return f"{self.name}."


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Step(NamedProgram):
    """Base of the named leaves: predictors, embedders and tools."""

    name: str
    signature: Signature

    def __attrs_post_init__(self) -> None:
        check_named(self)

    @functools.cached_property
    def steps(self) -> Mapping[str, Step]:
        """The step itself."""
        return {self.name: self}

    @property
    def slots(self) -> Mapping[str, Any]:
        """The parameters that can be tuned: slot -> default."""
        return {}

    def named(self, name: str) -> Program:
        """Rename the step, so that it has parameters ``name.slot`` of its own.

        Args:
            name: The new name.

        Returns:
            The renamed step.

        Raises:
            BadSignature: The name is invalid.
        """
        return attrs.evolve(self, name=name)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Predict(Step):
    """A step that asks a model.

    ``instruction``, ``demos``, ``options``, ``model`` and ``adapter`` are the defaults of its
    parameters. With ``nearest`` more than 0 the ``pool`` is a parameter too: the step shows as many
    of its demonstrations as ``nearest`` says, those nearest to the inputs by words or, if
    ``similar``, by the parameters ``vectors`` (of the pool) and ``near`` (of the inputs). ``cuts``
    say which inputs are shortened, and how. ``own_adapters`` are those of the user's that the
    parameter ``adapter`` may name.
    """

    instruction: str = ""
    demos: tuple[Record, ...] = ()
    options: Record = attrs.field(factory=Record, converter=Record)
    model: str = ""
    adapter: str = ""
    timeout: float | None = None
    nearest: int = 0
    pool: tuple[Record, ...] = ()
    similar: bool = False
    cuts: Record = EMPTY
    own_adapters: tuple[Adapter, ...] = attrs.field(default=(), eq=False)
    _kind = "model"

    @property
    def identity(self) -> Any:
        """Name, signature, how demonstrations are chosen and inputs cut, without parameters."""
        identity: list[Any] = ["Predict", self.name, self.signature.identity]
        if self.nearest:
            identity.append(self.nearest)
        if self.similar:
            identity.append("vectors")
        if self.cuts:
            identity.append(plain(self.cuts))
        return identity

    @property
    def slots(self) -> Mapping[str, Any]:
        """Instruction, demos, decoding options, model and adapter; a pool and vectors if used."""
        names = ["instruction", "demos", "options", "model", "adapter"]
        if self.nearest:
            names.append("pool")
        slots: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.similar:
            slots |= {"vectors": Record(), "near": ()}
        return slots


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Pipe(Program):
    """Programs one after the other on one record; the outputs are all that they add."""

    parts: tuple[Program, ...]

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "signature", piped(self.parts))
        _ = self.steps

    def __str__(self) -> str:
        return " >> ".join(map(str, self.parts))

    @property
    def children(self) -> tuple[Program, ...]:
        """The parts, in order."""
        return self.parts

    async def body(self, inputs: Record) -> Record:
        """Run each part on the record so far."""
        record = inputs
        for part in self.parts:
            record = record | await pending_of(part, record)
        return record.only(*(field.name for field in self.signature.outputs))


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Named(NamedComposition):
    """A composed program under a name: a frame, and parameters of its own under that prefix."""

    part: Program

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "signature", self.part.signature)
        check_named(self)

    @property
    def children(self) -> tuple[Program, ...]:
        """The program that is named."""
        return (self.part,)

    @property
    def identity(self) -> Any:
        """The name and the program."""
        return ["Named", self.name, self.part.identity]

    async def body(self, inputs: Record) -> Record:
        """Run the program."""
        result: Record = await pending_of(self.part, inputs)
        return result


def pending_of(program: Program, record: Mapping[str, Any]) -> Pending:
    """Give a program those fields of a record that are its inputs."""
    if missing := first_missing(program.signature.inputs, record):
        raise MissingInput(str(program), missing, tuple(record))
    names = program.signature.input_names
    return program(**{name: record[name] for name in names if name in record})


def pipe(*programs: Program) -> Pipe:
    """Compose ``a >> b >> c``, flattened."""
    return Pipe(tuple(toolz.mapcat(_parts, programs)))


def check_programs(*values: object) -> None:
    """Raise ``TypeError`` if a value isn't a program, with the lines that make one."""
    fix = (
        'lf.predict("answer", "question -> answer") asks a model, '
        'lf.tool("count", "text -> n: int", len) a function.'
    )
    for value in values:
        check_kind("a program", value, Program, fix)


def check_named(program: NamedProgram) -> None:
    """Raise ``BadSignature`` or ``DuplicateStep`` if a named program can't be made."""
    Signature((), (Field(name=program.frame),))
    if isinstance(program, Predict):
        check_predictor(program.signature)
    _ = program.steps


def _parts(program: Program) -> tuple[Program, ...]:
    check_programs(program)
    return program.parts if isinstance(program, Pipe) else (program,)

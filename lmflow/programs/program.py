"""Programs: immutable compositions of named steps, which run nothing themselves.

A program is called with its inputs and gives a ``Pending``; awaiting that in a flow, or giving it
to a driver, runs it. Named programs (predictors, tools, flows, ``named``) open a frame in
addresses; the other combinators don't.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

import attrs
import toolz

from lmflow.errors import BadSignature, DuplicateStep, MissingInput, UndeclaredProgram, check_kind
from lmflow.messages.requests import CACHED, ToolMode
from lmflow.programs.effects import Pending
from lmflow.signatures.fields import holds_media, places_media, type_text
from lmflow.signatures.signature import Field, Signature, first_missing
from lmflow.values.functions import Function
from lmflow.values.attributes import uncached
from lmflow.values.record import EMPTY, Record, digest, plain
from lmflow.versions.version import Version, check_paths

Body = Coroutine[Any, Any, Any]


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Program:
    """What all programs share. Abstract: make one by ``predict``, ``tool``, ``flow``, ``>>`` and
    the combinators.
    """

    signature: Signature = attrs.field(init=False)

    def __call__(self, **inputs: Any) -> Pending:
        """The program with its inputs, to be awaited. Raises ``MissingInput``, ``UnknownInput``,
        ``WrongType``.
        """
        return Pending(self, self.signature.bind(str(self), inputs))

    def __rshift__(self, after: Program) -> Pipe:
        """``self``, then ``after``: a record flows through, each reads its inputs and adds its
        outputs.
        """
        return pipe(self, after)

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    def __str__(self) -> str:
        return type(self).__name__.lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}: {self.signature}>"

    @property
    def children(self) -> tuple[Program, ...]:
        """The programs that it is made of."""
        return ()

    @property
    def frame(self) -> str:
        """The name that it opens a frame under, empty where it opens none."""
        return ""

    @property
    def prefix(self) -> str:
        """What its children's parameter paths begin with."""
        return ""

    @property
    def identity(self) -> Any:
        """What it adds to its key, as JSON values."""
        return [
            type(self).__name__,
            self.signature.identity,
            [child.identity for child in self.children],
        ]

    @functools.cached_property
    def key(self) -> str:
        """The hash of structure, signatures and own functions; default parameters are not in it."""
        return digest("program", self.identity)

    @functools.cached_property
    def steps(self) -> Mapping[str, Step]:
        """Its steps in program order, by name. ``DuplicateStep`` where two different ones share a
        name.
        """
        found: dict[str, Step] = {}
        for child in self.children:
            for name, step in child.steps.items():
                if found.setdefault(self.prefix + name, step) != step:
                    raise DuplicateStep(self.prefix + name)
        return found

    @functools.cached_property
    def predictors(self) -> Mapping[str, Predict]:
        """Those of its steps that ask a model, by the names that their parameter paths begin with."""
        return {name: step for name, step in self.steps.items() if isinstance(step, Predict)}

    @functools.cached_property
    def defaults(self) -> Record:
        """Its default parameters: path -> value, in program order."""
        return Record(
            {
                f"{name}.{slot}": value
                for name, step in self.steps.items()
                for slot, value in step.slots.items()
            }
        )

    @functools.cached_property
    def initial(self) -> Version:
        """The first version of its parameters: its defaults."""
        return Version(params=self.defaults, note=f"defaults of {self}")

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of its parameters."""
        return tuple(self.defaults)

    def named(self, name: str) -> Program:
        """The same under another name, with parameters of its own, ``name.step.slot``."""
        return Named(name, self)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Step(Program):
    """A named leaf: a predictor or a tool."""

    name: str
    signature: Signature

    def __attrs_post_init__(self) -> None:
        _check_step(self)

    def __str__(self) -> str:
        return self.name

    @property
    def frame(self) -> str:
        """Its name."""
        return self.name

    @functools.cached_property
    def steps(self) -> Mapping[str, Step]:
        """Itself."""
        return {self.name: self}

    @property
    def slots(self) -> Mapping[str, Any]:
        """What can be tuned: slot -> default."""
        return {}

    def named(self, name: str) -> Program:
        """The same step under another name, so with parameters of its own, ``name.slot``."""
        return attrs.evolve(self, name=name)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Predict(Step):
    """A step that asks a model. Instruction, demos, options, model and adapter are defaults of its
    parameters; with ``nearest`` more than 0 also its pool, of which it is shown so many
    demonstrations, those nearest to its inputs: by words, or where it is ``similar`` by the
    pool's ``vectors`` and ``near``, the one of its inputs. ``cuts`` say which inputs are
    shortened, and how.
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

    @property
    def identity(self) -> Any:
        """Name, signature, which of the nearest it is shown and how it is cut: what can be tuned is
        not in it.
        """
        near = [*([self.nearest] if self.nearest else []), *(["vectors"] if self.similar else [])]
        return [
            "Predict",
            self.name,
            self.signature.identity,
            *near,
            *([plain(self.cuts)] if self.cuts else []),
        ]

    @property
    def slots(self) -> Mapping[str, Any]:
        """Instruction, demos, decoding options, model and adapter; the pool where there is one."""
        pool = ("pool",) if self.nearest else ()
        own = {
            name: getattr(self, name)
            for name in ("instruction", "demos", "options", "model", "adapter", *pool)
        }
        return own | ({"vectors": Record(), "near": ()} if self.similar else {})


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Tool(Step):
    """A step that runs a function outside: search, clock, randomness, files, HTTP.

    ``mode`` (cached, pure, live) says how its recorded answers may be used. ``description`` is what
    a model that may call it is told of it, ``parameters`` the JSON schema of its inputs where that
    isn't the signature's.
    """

    function: Function
    timeout: float | None = None
    mode: ToolMode = CACHED
    description: str = ""
    parameters: Record | None = None

    @property
    def identity(self) -> Any:
        """Name, signature and what the function does; not what is told of it, nor how its answers
        may be used.
        """
        return ["Tool", self.name, self.signature.identity, self.function.identity]


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Flow(Program):
    """An async function that awaits the programs in ``uses``, and nothing else."""

    name: str
    signature: Signature
    function: Function
    uses: tuple[Program, ...] = ()

    def __attrs_post_init__(self) -> None:
        _check_step(self)

    def __str__(self) -> str:
        return self.name

    @property
    def frame(self) -> str:
        """Its name."""
        return self.name

    @property
    def children(self) -> tuple[Program, ...]:
        """What it uses."""
        return self.uses

    @property
    def identity(self) -> Any:
        """Name, signature, source and what it uses."""
        used = [child.identity for child in self.uses]
        return ["Flow", self.name, self.signature.identity, self.function.identity, used]

    @functools.cached_property
    def members(self) -> frozenset[Program]:
        """What it may await: what it uses, and the parts of that."""
        return frozenset(part for used in self.uses for part in walk(used))

    def body(self, inputs: Record) -> Body:
        """Its function, started."""
        coroutine: Body = self.function.call(**inputs)
        return coroutine

    def check(self, program: Program) -> None:
        """``UndeclaredProgram`` where the program is neither declared nor composed of what is."""
        if program in self.members:
            return
        if program.frame or not program.children:
            raise UndeclaredProgram(self.name, str(program))
        for child in program.children:
            self.check(child)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Pipe(Program):
    """Programs one after the other on one record; its outputs are all that they add."""

    parts: tuple[Program, ...]

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "signature", _piped(self.parts))
        _ = self.steps

    def __str__(self) -> str:
        return " >> ".join(map(str, self.parts))

    @property
    def children(self) -> tuple[Program, ...]:
        """Its parts."""
        return self.parts

    async def body(self, inputs: Record) -> Record:
        """Each part on the record so far."""
        record = inputs
        for part in self.parts:
            record = record | await take(part, record)
        return record.only(*(field.name for field in self.signature.outputs))


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Named(Program):
    """A composed program under a name: a frame, and parameters of its own under that prefix."""

    name: str
    part: Program

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "signature", self.part.signature)
        _check_step(self)

    def __str__(self) -> str:
        return self.name

    @property
    def frame(self) -> str:
        """Its name."""
        return self.name

    @property
    def prefix(self) -> str:
        """Its name and a dot."""
        return f"{self.name}."

    @property
    def children(self) -> tuple[Program, ...]:
        """The program that is named."""
        return (self.part,)

    @property
    def identity(self) -> Any:
        """The name and the program."""
        return ["Named", self.name, self.part.identity]

    async def body(self, inputs: Record) -> Record:
        """The program itself."""
        result: Record = await take(self.part, inputs)
        return result


def take(program: Program, record: Mapping[str, Any]) -> Pending:
    """The program on those fields of the record that are its inputs."""
    if missing := first_missing(program.signature.inputs, record):
        raise MissingInput(str(program), missing, tuple(record))
    names = (field.name for field in program.signature.inputs)
    return program(**{name: record[name] for name in names if name in record})


def pipe(*programs: Program) -> Pipe:
    """``a >> b >> c``, flattened."""
    return Pipe(tuple(toolz.mapcat(_flat, programs)))


def walk(program: Program) -> Iterator[Program]:
    """The program and all its parts, depth first, in program order."""
    yield program
    for child in program.children:
        yield from walk(child)


def check_programs(*values: object) -> None:
    """``TypeError`` where one is no program, with the lines that make one of a signature or a
    function.
    """
    fix = 'lf.predict("answer", "question -> answer") asks a model, lf.tool("count", "text -> n: int", len) a function.'
    for value in values:
        check_kind("a program", value, Program, fix)


def check_step(value: object) -> None:
    """``TypeError`` where it is no step that asks a model."""
    check_kind("a step", value, Predict, 'It is lf.predict("answer", "question -> answer").')


def init(program: Program) -> Version:
    """The first version of a program's parameters: its defaults."""
    check_programs(program)
    return program.initial


def completed(program: Program, version: Version | None) -> Record:
    """The parameters that the program runs with: the version's, and its defaults for the paths that
    the version lacks.

    Raises ``ForeignPaths`` where the version has paths that the program doesn't.
    """
    if version is None:
        return program.defaults
    fix = 'Was a step renamed? `lf.migrate(version, rename={"old": "new"})`.'
    check_paths(str(program), version.params, program.paths, fix)
    return program.defaults | version.params


def _flat(program: Program) -> tuple[Program, ...]:
    check_programs(program)
    return program.parts if isinstance(program, Pipe) else (program,)


def _piped(parts: tuple[Program, ...]) -> Signature:
    needed: dict[str, Field] = {}
    made: dict[str, Field] = {}
    for part in parts:
        for field in part.signature.inputs:
            if field.name in made:
                continue
            others = [name for name in made if _stem(name) != _stem(field.name)]
            if field.required and difflib.get_close_matches(field.name, others, n=1, cutoff=0.85):
                raise MissingInput(str(part), field.name, (*needed, *made))
            need(needed, field)
        made |= {field.name: field for field in part.signature.outputs}
    return Signature(tuple(needed.values()), tuple(made.values()))


def _stem(name: str) -> str:
    """The name without its numbers and plural s: names that differ only in them are both meant."""
    return re.sub(r"_?\d+", "", name).removesuffix("s")


def need(needed: dict[str, Field], field: Field) -> None:
    """Note that a field is needed; who needs it without default wins."""
    if field.name not in needed or (field.required and not needed[field.name].required):
        needed[field.name] = field


def _check_media(signature: Signature) -> None:
    """``BadSignature`` where a model couldn't be given a picture, sound or file, or would have to
    write one.
    """
    _ = signature.asked
    for field in signature.outputs:
        if holds_media(field.type):
            fix = "A reply is text: let a tool make it, or name it by a text."
            raise BadSignature(
                str(signature), f"no model can write {field.name!r}, {type_text(field.type)}", fix
            )
    for field in signature.inputs:
        if not places_media(field.type):
            fix = "Give it a field of its own, or a list of them."
            raise BadSignature(
                str(signature),
                f"{field.name!r} holds a picture, sound or file within an object",
                fix,
            )


def _check_step(program: Program) -> None:
    Signature((), (Field(name=program.frame),))
    if isinstance(program, Predict):
        both = {f.name for f in program.signature.inputs} & {
            f.name for f in program.signature.outputs
        }
        if both:
            text = f"a step can't both read and write {min(both)!r}"
            raise BadSignature(str(program.signature), text, "Give the output a name of its own.")
        _check_media(program.signature)
    _ = program.steps

"""Signatures: the typed inputs and outputs of a program, from a string or an annotated function."""

from __future__ import annotations

import ast
import inspect
import keyword
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadSignature, BadValue, MissingInput, UnknownInput, WrongType, near
from lmflow.types import convert, default_of, type_of_node, type_text
from lmflow.values import Record, freeze, pretty

_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
_TAKEN = frozenset({"items", "keys", "values", "get", "only", "digest"})


class _Required:
    """The default of a field that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"

    def __reduce__(self) -> str:
        return "REQUIRED"


REQUIRED: Any = _Required()


def _default(value: Any) -> Any:
    return value if value is REQUIRED else freeze(value)


@attrs.frozen(kw_only=True)
class Field:
    """One input or output: its name, type, description and default.

    In ``Annotated[str, lf.Field(description="one search query")]`` the name and the type come from where it stands.
    """

    name: str = ""
    type: Any = str
    description: str = ""
    default: Any = attrs.field(default=REQUIRED, converter=_default)

    @property
    def required(self) -> bool:
        """Whether a caller must give it."""
        return self.default is REQUIRED

    def __str__(self) -> str:
        kind = "" if self.type is str else f": {type_text(self.type)}"
        default = "" if self.required else f" = {pretty(self.default)}"
        return f"{self.name}{kind}{default}"


@attrs.frozen(cache_hash=True)
class Signature:
    """Typed inputs and outputs, ``str(signature)`` is its string form."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]

    def __attrs_post_init__(self) -> None:
        for side in (self.inputs, self.outputs):
            names = [field.name for field in side]
            for name in names:
                _check_name(name, str(self))
            if twice := [name for name in names if names.count(name) > 1]:
                raise BadSignature(
                    str(self), f"{twice[0]!r} appears twice on one side", "Give each field its own name."
                )
        if not self.outputs:
            raise BadSignature(str(self), "it has no outputs")

    def __str__(self) -> str:
        return " -> ".join(", ".join(str(field) for field in side) for side in (self.inputs, self.outputs))

    @property
    def identity(self) -> list[list[Any]]:
        """What the signature adds to a program's key: names, types and defaults, no descriptions."""
        return [
            [[f.name, type_text(f.type), None if f.required else pretty(f.default)] for f in side]
            for side in (self.inputs, self.outputs)
        ]

    def prepending(self, field: Field) -> Signature:
        """The signature with one more output, before the others."""
        return attrs.evolve(self, outputs=(field, *self.outputs))

    def bind(self, program: str, given: Mapping[str, Any]) -> Record:
        """The inputs as a record of converted values, defaults filled in.

        Raises ``MissingInput``, ``UnknownInput`` or ``WrongType``.
        """
        known = tuple(field.name for field in self.inputs)
        for name in given:
            if name not in known:
                raise UnknownInput(program, name, known)
        return Record({field.name: _bound(program, field, given) for field in self.inputs})

    def outcome(self, program: str, result: Any) -> Record:
        """What a function returned as a record of the outputs: a mapping, or the one output's bare value."""
        if len(self.outputs) == 1 and not _holds(result, self.outputs[0].name):
            result = {self.outputs[0].name: result}
        if not isinstance(result, Mapping):
            names = ", ".join(field.name for field in self.outputs)
            raise WrongType(f"the result of {program}", type(result).__qualname__, f"a mapping with {names}")
        return Record({field.name: _bound(f"the result of {program}", field, result) for field in self.outputs})


def signature_of(source: str | Signature | Callable[..., Any], types: Mapping[str, Any] | None = None) -> Signature:
    """The signature that a string, an annotated function or a signature stands for. ``BadSignature`` otherwise."""
    if isinstance(source, Signature):
        return source
    return parse(source, types) if isinstance(source, str) else from_function(source)


def parse(text: str, types: Mapping[str, Any] | None = None) -> Signature:
    """Read ``"question, n: int = 3 -> label: Literal['a', 'b'], why"``.

    Types are builtins, ``Literal``, ``Optional``, ``Annotated`` with a description, and what ``types`` names: they
    are looked up, never evaluated.
    """
    cuts = [match.start() for match in re.finditer("->", text)]
    if not cuts:
        raise BadSignature(text, "there is no '->' between inputs and outputs")
    problem: SyntaxError | None = None
    for cut in cuts:
        try:
            sides = [_arguments(side) for side in (text[:cut], text[cut + 2 :])]
        except SyntaxError as error:
            problem = error
            continue
        return Signature(*(tuple(_field(text, node, value, types or {}) for node, value in side) for side in sides))
    raise BadSignature(text, f"it can't be read ({problem.msg if problem else ''})")


def from_function(function: Callable[..., Any]) -> Signature:
    """The signature of an annotated function: parameters are inputs; the result is one output, named as the function,
    or, where it is a ``TypedDict``, one output a key.
    """
    name = getattr(function, "__name__", repr(function))
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    if "return" not in hints:
        raise BadSignature(f"def {name}", "it has no return annotation", "Write `def f(question: str) -> str`.")
    for parameter in parameters:
        if parameter.name not in hints or parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
            raise BadSignature(f"def {name}", f"parameter {parameter.name!r} has no type", "Annotate each parameter.")
    result = hints["return"]
    outputs = typing.get_type_hints(result, include_extras=True) if typing.is_typeddict(result) else {name: result}
    inputs = [_annotated(p.name, hints[p.name], REQUIRED if p.default is p.empty else p.default) for p in parameters]
    return Signature(tuple(inputs), tuple(_annotated(key, kind, REQUIRED) for key, kind in outputs.items()))


def first_missing(needed: Iterable[Field], given: Iterable[str]) -> str | None:
    """The first field without default that isn't given."""
    have = set(given)
    return next((field.name for field in needed if field.required and field.name not in have), None)


def _bound(program: str, field: Field, given: Mapping[str, Any]) -> Any:
    if field.name not in given:
        if field.required:
            raise MissingInput(program, field.name, tuple(given))
        return default_of(field.default, field.type)
    where = f"{program}.{field.name}"
    try:
        return convert(given[field.name], field.type)
    except (ValueError, BadValue) as problem:
        raise WrongType(where, f"{given[field.name]!r:.200} ({problem})", type_text(field.type)) from None


def _holds(result: Any, name: str) -> bool:
    return isinstance(result, Mapping) and name in result


def _check_name(name: str, text: str) -> None:
    if not _NAME.match(name) or keyword.iskeyword(name) or name in _TAKEN:
        fix = "Use lower case letters, digits and _; not a Python keyword, nor items, keys, values, get, only, digest."
        raise BadSignature(text, f"{name!r} can't be a field name", fix)


def _arguments(side: str) -> list[tuple[ast.arg, ast.expr | None]]:
    side = side.strip().strip(",")
    tree = ast.parse(f"def _(*, {side}): ..." if side else "def _(): ...").body[0]
    if not isinstance(tree, ast.FunctionDef) or tree.args.args or tree.args.kwarg or tree.args.vararg:
        msg = "only names, types and defaults are read"
        raise SyntaxError(msg)
    return list(zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True))


def _field(text: str, node: ast.arg, default: ast.expr | None, types: Mapping[str, Any]) -> Field:
    try:
        value = REQUIRED if default is None else ast.literal_eval(default)
    except ValueError:
        raise BadSignature(text, f"the default of {node.arg!r} is no literal") from None
    if node.annotation is None:
        return Field(name=node.arg, default=value)
    try:
        kind = type_of_node(node.annotation, types)
    except LookupError as error:
        raise BadSignature(
            text, f"{node.arg!r} has the type {error.args[0]!r}, which isn't known", _hint(error, types)
        ) from None
    return _annotated(node.arg, kind, value)


def _hint(error: LookupError, types: Mapping[str, Any]) -> str:
    name = str(error.args[0])
    guess = near(name, ["str", "int", "float", "bool", "list", "dict", "Literal", "Optional", *types]).strip()
    return guess or f"Give it by name: types={{{name!r}: ...}}."


def _annotated(name: str, kind: Any, default: Any) -> Field:
    if typing.get_origin(kind) is not typing.Annotated:
        return Field(name=name, type=kind, default=default)
    inner, *extras = typing.get_args(kind)
    for extra in extras:
        if isinstance(extra, Field):
            return attrs.evolve(extra, name=name, type=inner, default=default)
        if isinstance(extra, str):
            return Field(name=name, type=inner, description=extra, default=default)
    return Field(name=name, type=kind, default=default)

"""Functions as values: identified by a hash of their source that is the same on every Python."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import Unidentified
from lmflow.values.bytecode import code_digest
from lmflow.values.record import digest

_IGNORED = {
    "lineno",
    "col_offset",
    "end_lineno",
    "end_col_offset",
    "ctx",
    "type_comment",
    "decorator_list",
    "kind",
}
_LOAD_FIX = "Load it with the code that it was pickled with, or make the program anew."


@attrs.frozen
class Function:
    """A function with an identity. Two are equal when their names and identities are."""

    name: str
    identity: str
    call: Callable[..., Any] = attrs.field(eq=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        if inspect.ismethod(self.call):
            return _method_of, (self.call.__self__, self.call.__name__, self.name, self.identity)
        place = getattr(self.call, "__module__", None) or "", getattr(self.call, "__qualname__", "")
        if _named_function(*place) is not self.call:
            fix = "Use a named function of a module."
            raise Unidentified(self.name, "can't be pickled: no module has it by name", fix)
        return _function_at, (*place, self.name, self.identity)


def function_of(
    call: Callable[..., Any], version: str | None = None, *, closures: bool = False
) -> Function:
    """The function with its identity: ``version``, its owner's ``digest``, or the hash of its
    source (of its bytecode, for a function without source).

    Args:
        call: The function, or a bound method of an owner that has a ``digest``.
        version: Stands for a function whose source doesn't say what it does.
        closures: Whether to accept a closure. The values that it closes over are never hashed; a
            flow may be one, since its programs are declared.

    Raises:
        Unidentified: A lambda, partial, callable object, bound method or closure has neither a
            version nor a digest.
    """
    name = getattr(call, "__qualname__", type(call).__qualname__)
    if version is not None:
        return Function(name, f"version:{version}", call)
    owner = getattr(call, "__self__", None)
    if isinstance(getattr(owner, "digest", None), str):
        identity = f"owner:{owner.digest}.{call.__name__}"  # type: ignore[union-attr]
        return Function(name, identity, call)
    if problem := _unidentified(call, closures=closures):
        raise Unidentified(name, problem)
    text = _source_of(call)
    # A function that was typed at a prompt, or run by exec, has no source to read. Its bytecode
    # identifies it, on this version of Python alone: another one asks for the calls again.
    identity = f"source:{tree_digest(text)}" if text else f"code:{code_digest(call)}"
    return Function(name, identity, call)


def check_takes(function: Function, *names: str, options: Iterable[str] = ()) -> None:
    """Raise ``TypeError`` if a function can't be called with arguments of those names, in order,
    and options by name.
    """
    try:
        inspect.signature(function.call).bind(*names, **dict.fromkeys(options))
    except ValueError:  # a builtin that doesn't say what it takes
        return
    except TypeError as problem:
        arguments = ", ".join([*names, *options])
        short = function.name.rpartition(".")[2]
        fix = f"Write `def {short}({arguments})`."
        msg = f"{short} is called with ({arguments}) and can't be: {problem}. {fix}"
        raise TypeError(msg) from None


def place_of(value: Any) -> str:
    """``module:name`` of a value that a module holds under a public name; empty if no module does.

    The script that runs is searched last, and is called by its file's name, as an import calls it.
    """
    for module in sorted(sys.modules.values(), key=_is_script):
        for name, member in list(getattr(module, "__dict__", {}).items()):
            if member is value and not name.startswith("_"):
                return f"{_importable(module)}:{name}"
    return ""


def running_script() -> str:
    """Return the module name of the script that runs, empty if it can be imported without running
    it again: there is no script, or it is imported under that name already.
    """
    name = _importable(sys.modules["__main__"])
    return "" if name == "__main__" or name in sys.modules else name


def source_digest(call: Callable[..., Any]) -> str:
    """The hash of a function's syntax tree without docstrings, positions, decorators and empty
    fields: the same on every Python.

    Raises:
        Unidentified: The function has no source to read.
    """
    text = _source_of(call)
    if not text:
        name = getattr(call, "__qualname__", repr(call))
        raise Unidentified(name, "has no source to read")
    return tree_digest(text)


def _source_of(call: Callable[..., Any]) -> str:
    """The source of a function; empty if there is none, or if what is there is another one's."""
    try:
        text = inspect.getsource(call)
    except (OSError, TypeError, IndexError):
        return ""
    # Code that `exec` ran has the file name of the text around it, or "<string>", under which
    # Python may know other lines: they count only if they define a function of that name.
    name = getattr(getattr(inspect.unwrap(call), "__code__", None), "co_name", "")
    defines = re.compile(rf"^\s*(async\s+)?def\s+{re.escape(name)}\b", re.MULTILINE)
    return text if not name.isidentifier() or defines.search(text) else ""


@functools.lru_cache(maxsize=1024)
def tree_digest(text: str) -> str:
    """The hash of a source text's syntax tree. The text may be indented as a whole."""
    # The tree is hashed, not the text: comments, layout and docstrings change no behaviour, and an
    # edit of them must not make recordings stale. What differs between Pythons (positions, fields
    # that one of them lacks, how f-strings are cut) is left out, so digests agree across them.
    text = re.sub(r"\A(\s*\n)+", "", text)
    if text[:1].isspace():
        block: Any = ast.parse(f"if 1:\n{text}").body[0]
        return digest("source", _walk(block.body))
    return digest("source", _walk(ast.parse(text).body))


def _is_script(module: Any) -> bool:
    return getattr(module, "__name__", "") == "__main__"


def _importable(module: Any) -> str:
    name: str = module.__name__
    if name != "__main__":
        return name
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    return spec.name if spec else Path(file).stem if file else name


def _unidentified(call: Callable[..., Any], *, closures: bool) -> str:
    """Why the source of a function doesn't say what it does; empty if it does."""
    if inspect.ismethod(call):
        return "is a bound method whose owner has no digest"
    if not inspect.isfunction(call):
        return f"is a {type(call).__qualname__}"
    if call.__name__ == "<lambda>":
        return "is a lambda"
    if call.__closure__ and not closures:
        return f"closes over {', '.join(call.__code__.co_freevars)}"
    return ""


def _walk(node: Any) -> Any:
    """A syntax tree as JSON values."""
    if isinstance(node, list):
        return [_walk(item) for item in _undocumented(node)]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, repr(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["JoinedStr", {"values": [_walk(part) for part in _joined(node.values)]}]
    if isinstance(node, ast.AST):
        fields = {
            name: _walk(value) for name, value in ast.iter_fields(node) if name not in _IGNORED
        }
        return [
            type(node).__name__,
            {name: value for name, value in fields.items() if value not in (None, [])},
        ]
    return node


def _undocumented(nodes: list[Any]) -> list[Any]:
    match nodes:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return nodes


def _joined(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts joined and empty texts left out: Pythons cut
    the texts differently.
    """
    joined: list[ast.expr] = []
    for is_text, run in itertools.groupby(parts, lambda part: isinstance(part, ast.Constant)):
        if not is_text:
            joined += run
            continue
        text = "".join(part.value for part in run)  # type: ignore[attr-defined]
        if text:
            joined.append(ast.Constant(text))
    return joined


def _named_function(module: str, qualname: str) -> Any:
    """The function of that name, or of the tool or flow that a decorator put there; ``None`` if
    nothing has the name.
    """
    member: Any = importlib.import_module(module) if module else None
    for part in qualname.split("."):
        member = getattr(member, part, None)
    inner = getattr(member, "function", None)
    return inner.call if isinstance(inner, Function) else member


def _function_at(module: str, qualname: str, name: str, identity: str) -> Function:
    return _checked(Function(name, identity, _named_function(module, qualname)))


def _method_of(owner: Any, method: str, name: str, identity: str) -> Function:
    return _checked(Function(name, identity, getattr(owner, method)))


def _checked(function: Function) -> Function:
    """The unpickled function. ``Unidentified`` if its code has changed since it was pickled."""
    if not callable(function.call):
        raise Unidentified(function.name, "was pickled, and is no longer there", _LOAD_FIX)
    if function.identity.startswith("version:"):
        return function
    now = function_of(function.call, closures=True).identity
    if now != function.identity:
        raise Unidentified(
            function.name, f"was pickled as {function.identity}, and is now {now}", _LOAD_FIX
        )
    return function

"""The laws of functions as values: identities, pickles."""

from __future__ import annotations

import functools
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmflow.errors import Unidentified
from lmflow.values.functions import Function, function_of, place_of, source_digest, tree_digest

VECTOR = "v1:b2:65b16a610d3ba2b8bbd6c5f9fd649ede30bfaa240c9e2d4f15d2d575d869dd2d"
TEXT = '''
@decorated
async def f(a: list[str], *rest, b: int = 3, **more) -> "str | None":
    """Say what it does."""
    global total
    total: float = -1.5e3 + 0x10 * 2j
    with open(a[0]) as file, other(file):
        async for line in file:
            yield {**more, "k": [x async for x in line if x > 1 and not b], (1, 2): ...}
    match a:
        case [1, *_] | {"x": None}:
            return f"{a!r:>9} {line=} {{}}" "joined" u"old" or b"bytes"
        case Point(x=0):
            raise ValueError from None
    try:
        a[1:2, ::-1] = lambda x, /, y=True: (await x) if y else not y
    except* (KeyError, OSError) as error:
        del a, b
    else:
        assert a is not b, "why"
    class Inner(Base, metaclass=Meta):
        """Nothing."""
    return (n := 10**20)
'''


def plain_function(x: str) -> str:
    """Say it."""
    return x.upper()


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Leave it as it is."""
    return function


@decorated
def decorated_function(x: str) -> str:
    """Say it."""
    return x.upper()


class Owner:
    """An object with a digest and one without."""

    def __init__(self, digest: str | None) -> None:
        self.digest = digest

    def search(self, query: str) -> str:
        """Search."""
        return f"{self.digest} {query}"


class Callable_:  # noqa: N801 - it isn't the one of typing
    """An object that is called."""

    def __call__(self, x: str) -> str:
        """Say it."""
        return x


OWNER = Owner("v1:b2:00")


def closing(text: str) -> Callable[[str], str]:
    """A closure over a text."""

    def closure(x: str) -> str:
        return x + text

    return closure


def test_a_source_digest_is_the_same_on_every_python() -> None:
    """The digest of a fixed source never changes, whichever Python reads it."""
    assert VECTOR == tree_digest(TEXT)


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    return x + 1",
        "def f(x):\n    'Doc.'\n    return x + 1",
        "def f(x):\n    # why\n    return (x\n        + 1)  # so",
        "\n\n    def f( x ):\n        return x+1",
        "@cached\n@other(1)\ndef f(x):\n    return x + 1",
    ],
)
def test_words_about_code_are_no_part_of_it(text: str) -> None:
    """Docstrings, comments, positions, indentation and decorators don't change a digest."""
    assert tree_digest("def f(x): return x + 1") == tree_digest(text)


@pytest.mark.parametrize(
    "text",
    [
        "def g(x): return x + 1",
        "def f(y): return y + 1",
        "def f(x): return x + 2",
        "def f(x): return x + 1.0",
        "def f(x): return x + True",
        "def f(x): return x - 1",
        "def f(x, y=None): return x + 1",
        "def f(x: int): return x + 1",
        "async def f(x): return x + 1",
        "def f(x): return x + '1'",
        "def f(x): return x + b'1'",
        "def f(x):\n    return x + 1\n    'said'",
    ],
)
def test_code_is_in_the_digest(text: str) -> None:
    """Whatever can change what a function does changes its digest."""
    assert tree_digest("def f(x): return x + 1") != tree_digest(text)


def test_a_function_is_known_by_its_source() -> None:
    """A plain function's identity is the hash of its source."""
    assert f"source:{source_digest(plain_function)}" == function_of(plain_function).identity


def test_a_decorator_is_no_part_of_a_function() -> None:
    """A decorated function has the digest that it has without."""
    assert tree_digest("def decorated_function(x: str) -> str: return x.upper()") == source_digest(
        decorated_function
    )


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda x: x, "is a lambda"),
        (functools.partial(plain_function, "x"), "is a partial"),
        (closing("x"), "closes over text"),
        (Callable_(), "is a Callable_"),
        (Owner(None).search, "is a bound method whose owner has no digest"),
        (len, "is a builtin_function_or_method"),
    ],
)
def test_what_its_source_does_not_say_needs_a_version(
    function: Callable[..., Any], problem: str
) -> None:
    """A function whose behaviour isn't all in its source is refused, with the line that mends it."""
    with pytest.raises(Unidentified) as caught:
        function_of(function)
    assert problem in str(caught.value)
    assert 'version="1"' in str(caught.value)


@pytest.mark.parametrize(
    "function", [lambda x: x, closing("x"), Callable_(), functools.partial(len), len]
)
def test_a_version_is_an_identity(function: Callable[..., Any]) -> None:
    """A version identifies any function."""
    assert "version:2" == function_of(function, "2").identity


def test_an_owner_with_a_digest_identifies_its_methods() -> None:
    """A method of an object with a digest is known by digest and name."""
    assert "owner:v1:b2:00.search" == function_of(OWNER.search).identity


def test_closures_are_accepted_where_they_are_declared() -> None:
    """A flow may close over the programs that it declares."""
    assert function_of(closing("x"), closures=True).identity.startswith("source:")


def _executed(text: str) -> Callable[..., Any]:
    """The function ``made`` of a text: it has no source to read, as one typed at a prompt."""
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102 - the way to a function without source
    made: Callable[..., Any] = scope["made"]
    return made


MADE = "def made(x):\n    return [y for y in x if y in {1, 'a', (2,)}]"


def test_a_function_without_source_is_known_by_its_code() -> None:
    """The same lines typed again, elsewhere in a text, have the same identity."""
    identity = function_of(_executed(MADE)).identity
    assert identity.startswith("code:")
    assert identity == function_of(_executed(f"import sys\n\n{MADE}")).identity


@pytest.mark.parametrize(
    "change", [("y in x", "y in reversed(x)"), ("1, ", "3, "), ("(x)", "(x=1)")]
)
def test_other_code_is_another_function(change: tuple[str, str]) -> None:
    """Another name, constant or parameter in a function without source changes its identity."""
    other = _executed(MADE.replace(*change))
    assert function_of(_executed(MADE)).identity != function_of(other).identity


def test_the_source_of_another_function_is_no_source() -> None:
    """A function run by ``exec`` under the name of a file isn't identified by that file's lines."""
    scope: dict[str, Any] = {"__name__": __name__}
    exec(compile("def unheard_of(): return 1", __file__, "exec"), scope)  # noqa: S102
    assert function_of(scope["unheard_of"]).identity.startswith("code:")


def test_a_source_digest_needs_source() -> None:
    """A function without source has no digest of its source."""
    with pytest.raises(Unidentified, match="has no source to read"):
        source_digest(_executed(MADE))


def test_functions_are_equal_by_name_and_identity() -> None:
    """Two functions with one name and identity are equal, whatever object they hold."""
    assert Function("f", "version:1", len) == Function("f", "version:1", max)
    assert Function("f", "version:1", len) != Function("f", "version:2", len)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f'{a}b' 'c'", "f'{a}bc'"),
        ("'' f'{a}'", "f'{a}'"),
        ("f'' f'{a}' 'b' f'{c}'", "f'{a}b{c}'"),
    ],
)
def test_how_a_text_is_cut_is_no_part_of_it(one: str, other: str) -> None:
    """A formatted text is one text, however its source cuts it: Pythons join its pieces
    differently.
    """
    assert tree_digest(one) == tree_digest(other)


def test_indentation_inside_a_text_is_part_of_it() -> None:
    """Taking an indented source out of its class leaves the texts in it as they are."""
    text = "def f():\n    return '''\n{}x'''"
    assert tree_digest(text.format("    ")) != tree_digest(text.format(""))
    assert tree_digest("if 1:\n " + text.format("  ")) != tree_digest(text.format("  "))
    assert tree_digest("    def f():\n        return '''\n    x'''") == tree_digest(
        text.format("    ")
    )


def test_what_no_module_has_by_name_does_not_pickle() -> None:
    """A function inside another can't be pickled by reference: it is refused when it is written,
    not when read.
    """
    with pytest.raises(Unidentified, match="can't be pickled: no module has it by name"):
        pickle.dumps(function_of(closing("x"), "1"))


def test_a_function_that_changed_since_is_refused() -> None:
    """A pickled function whose code has changed meanwhile isn't read back as something else."""
    stale = pickle.dumps(Function("plain_function", "source:v1:b2:00", plain_function))
    with pytest.raises(Unidentified, match=r"was pickled as source:v1:b2:00, and is now source:"):
        pickle.loads(stale)  # noqa: S301 - its own


def test_a_function_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled function that its module has no longer is refused with what to do."""
    stale = pickle.dumps(function_of(plain_function))
    monkeypatch.delitem(globals(), "plain_function")
    with pytest.raises(Unidentified, match="is no longer there"):
        pickle.loads(stale)  # noqa: S301 - its own


@pytest.mark.parametrize("call", [plain_function, OWNER.search])
def test_functions_pickle_by_reference(call: Callable[..., Any]) -> None:
    """A pickled function holds its name; read back it is equal and calls the same."""
    function = function_of(call)
    again = pickle.loads(pickle.dumps(function))  # noqa: S301
    assert (function, call("x")) == (again, again.call("x"))


def test_a_value_is_found_where_a_module_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module names it before the script that runs does; private names and values that nobody
    holds have no place.
    """
    module = types.ModuleType("held_here")
    module.thing, module._hidden = object(), object()  # type: ignore[attr-defined]
    script = types.ModuleType("__main__")
    script.__file__ = str(tmp_path / "tune.py")
    script.thing, script.own = module.thing, object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setitem(sys.modules, "held_here", module)
    found = [place_of(it) for it in (module.thing, script.own, module._hidden, object())]
    assert ["held_here:thing", "tune:own", "", ""] == found

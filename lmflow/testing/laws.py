"""Laws as values: what must hold of a part, and the error that says what holds instead."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

_SHOWN = 400


class LawBroken(AssertionError):
    """A part breaks a law: the message has the law, and what was found instead."""


@attrs.frozen
class Law:
    """One law: its name, its sentence, and the function that checks it of a part.

    Calling it checks the law: it returns nothing (or an awaitable of nothing), or raises
    ``LawBroken``. ``str(law)`` is its name, for the ids of parametrized tests.
    """

    name: str
    text: str
    check: Callable[[Any], Awaitable[None] | None] = attrs.field(repr=False)

    def __str__(self) -> str:
        return self.name

    def __call__(self, part: Any) -> Any:
        """Check the law of a part.

        Args:
            part: The part, as the suite takes it.

        Returns:
            Nothing, or an awaitable of nothing.

        Raises:
            LawBroken: The law doesn't hold.
        """
        if inspect.iscoroutinefunction(self.check):
            return self._awaited(part)
        with self._named():
            self.check(part)
        return None

    async def _awaited(self, part: Any) -> None:
        with self._named():
            await self.check(part)  # type: ignore[misc]

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Raise ``LawBroken`` for whatever the check raises, with the law before it."""
        try:
            yield
        except LawBroken as problem:
            msg = f"{self.text}\n{problem}"
            raise LawBroken(msg) from problem.__cause__
        except Exception as problem:
            msg = f"{self.text}\nfound {type(problem).__name__}: {problem}"[: 5 * _SHOWN]
            raise LawBroken(msg) from problem


def laws(*checks: Callable[[Any], Awaitable[None] | None]) -> tuple[Law, ...]:
    """Make laws of functions: the name is the function's, the sentence its docstring."""
    return tuple(
        Law(check.__name__.removeprefix("_"), " ".join(inspect.getdoc(check).split()), check)  # type: ignore[union-attr]
        for check in checks
    )


def check_laws(suite: Iterable[Law], part_of: Callable[[], Any]) -> None:
    """Check each law of a suite of a part that is made for it. ``LawBroken`` for the first broken.

    It blocks, also inside a running loop.
    """
    for law in suite:
        result = law(part_of())
        if result is not None:
            _wait(result)


def holds(condition: object, problem: str) -> None:
    """Raise ``LawBroken`` with the problem unless the condition holds."""
    if not condition:
        raise LawBroken(problem)


def same(expected: object, found: object, what: str) -> None:
    """Raise ``LawBroken`` unless two values are equal; ``what`` names them."""
    if not expected == found:  # noqa: SIM201 - a value may define one of them alone
        msg = f"{what}: expected {_shown(expected)}, found {_shown(found)}"
        raise LawBroken(msg)


@contextmanager
def raising(kind: type[BaseException], what: str) -> Iterator[None]:
    """Raise ``LawBroken`` unless the block raises that kind of error; ``what`` names the block."""
    try:
        yield
    except kind:
        return
    except Exception as problem:
        msg = f"{what}: expected {kind.__name__}, found {type(problem).__name__}: {problem}"
        raise LawBroken(msg) from problem
    msg = f"{what}: expected {kind.__name__}, and nothing was raised"
    raise LawBroken(msg)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _wait(awaitable: Awaitable[None]) -> None:
    """Run an awaitable to its end on a loop of its own, in a thread of its own."""
    errors: list[BaseException] = []

    async def run() -> None:
        await awaitable

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, name="lmflow-laws")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]

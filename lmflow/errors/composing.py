"""Errors of programs that are composed or called in a way that can't work."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError, listed, near


class ProgramError(LmflowError):
    """A program is composed or called in a way that can't work."""


@attrs.frozen(eq=False)
class BadValue(ProgramError):
    """A value that has no canonical form (a non-string key, NaN, a live object)."""

    where: str
    found: str
    fix: str

    def __str__(self) -> str:
        return (
            f"{self.where or 'the value'} is {self.found}, which has no canonical form. {self.fix}"
        )


@attrs.frozen(eq=False)
class BadMedia(ProgramError):
    """A picture, sound or file that can't be made of what was given."""

    kind: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"no {self.kind} can be made of it: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class NoContent(ProgramError):
    """A picture, sound or file whose content isn't here: named by a URL, redacted, or swept from
    its store.
    """

    media: str

    def __str__(self) -> str:
        return (
            f"the content of {self.media} isn't here. Give it anew from its file, lf.Image(path)."
        )


@attrs.frozen(eq=False)
class NoLogprobs(ProgramError):
    """A ``Confidence`` was asked for, and the reply has no logprobs that it could be made of."""

    step: str
    field: str
    model: str

    def __str__(self) -> str:
        fix = 'Ask for them, options={"logprobs": True}, of an endpoint that has them.'
        return f"{self.step}.{self.field} is made of logprobs, and the reply of {self.model} has none. {fix}"


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
    """A flow awaits something that is no effect of lmflow (a timer, a socket, another library's
    future).
    """

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

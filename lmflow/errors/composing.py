"""Errors of programs that are composed or called in a way that can't work."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError, near


class ProgramError(LmflowError):
    """A program is composed or called in a way that can't work."""


@attrs.frozen(eq=False)
class BadValue(ProgramError):
    """A value has no canonical form (a non-string key, NaN, a live object)."""

    where: str
    found: str
    fix: str

    template = "{place} is {found}, which has no canonical form. {fix}"

    @property
    def place(self) -> str:
        """``where``, or "the value" if that is empty."""
        return self.where or "the value"


@attrs.frozen(eq=False)
class BadMedia(ProgramError):
    """A source can't be made a picture, sound or file."""

    kind: str
    problem: str
    fix: str

    template = "no {kind} can be made of it: {problem}. {fix}"


@attrs.frozen(eq=False)
class NoContent(ProgramError):
    """The content of a picture, sound or file isn't here: it is named by a URL, redacted, or swept
    from its store.
    """

    media: str

    template = "the content of {media} isn't here. Give it anew from its file, lf.Image(path)."


@attrs.frozen(eq=False)
class NoLogprobs(ProgramError):
    """A step has a ``Confidence`` output, and the model's reply has no logprobs to compute it."""

    step: str
    field: str
    model: str

    template = (
        "{step}.{field} is made of logprobs, and the reply of {model} has none. "
        'Ask for them, options={{"logprobs": True}}, of an endpoint that has them.'
    )


@attrs.frozen(eq=False)
class BadSignature(ProgramError):
    """A signature can't be read."""

    text: str
    problem: str
    fix: str = 'Write it like "question, n: int = 3 -> answer".'

    template = "signature {text!r}: {problem}. {fix}"


@attrs.frozen(eq=False)
class UnknownAdapter(ProgramError):
    """No adapter has the name."""

    name: str
    known: tuple[str, ...]

    template = "there is no adapter {name!r}; there are {known:listed}.{hint}"

    @property
    def hint(self) -> str:
        """What mends it: the name that is nearly this one, or where an adapter is given."""
        own, at, _ = self.name.partition("@")
        if not at:
            return near(self.name, self.known)
        now = next((name for name in self.known if name.startswith(f"{own}@")), "")
        if now:
            return f" Its functions have changed since: here it is {now!r}."
        return (
            f" {own!r} is your own: give it as a value, to the step (`adapter={own}`) or here"
            f" (`adapters=[{own}]`)."
        )


@attrs.frozen(eq=False)
class DuplicateStep(ProgramError):
    """Two different steps have one name: parameters are shared by name, so they would mix."""

    name: str

    template = (
        "two different steps are both named {name!r}. "
        'Parameters are shared by name: rename one, `step.named("{name}_2")`.'
    )


@attrs.frozen(eq=False)
class MissingInput(ProgramError):
    """Neither an earlier step nor the caller provides an input."""

    program: str
    missing: str
    given: tuple[str, ...]

    template = "{program} needs the input {missing!r}; given: {given:listed}.{hint}"

    @property
    def hint(self) -> str:
        """The provided input whose name is nearly this one, as a question."""
        return near(self.missing, self.given)


@attrs.frozen(eq=False)
class UnknownInput(ProgramError):
    """The program's signature doesn't have an input of the name."""

    program: str
    unknown: str
    known: tuple[str, ...]

    template = "{program} has no input {unknown!r}; it takes {known:listed}.{hint}"

    @property
    def hint(self) -> str:
        """The input whose name is nearly this one, as a question."""
        return near(self.unknown, self.known)


@attrs.frozen(eq=False)
class WrongType(ProgramError):
    """A value doesn't fit the type of its field."""

    where: str
    found: str
    expected: str

    template = "{where} expects {expected}, found {found}."


@attrs.frozen(eq=False)
class Unidentified(ProgramError):
    """A function has no stable identity, so no replay could be checked against its behaviour."""

    function: str
    problem: str
    fix: str = (
        'Its source doesn\'t say what it does: give it version="1", and change that when the '
        "behaviour changes."
    )

    template = "{function} {problem}. {fix}"


@attrs.frozen(eq=False)
class UndeclaredProgram(ProgramError):
    """A flow awaits a program that its ``uses`` doesn't declare."""

    flow: str
    program: str

    template = "flow {flow!r} awaits {program}, which it doesn't declare. Add it to uses=[...]."


@attrs.frozen(eq=False)
class ImpureAwait(ProgramError):
    """A flow awaits something that isn't an effect of lmflow (a timer, a socket, another library's
    future).
    """

    flow: str
    found: str

    template = (
        "{flow} awaits {found}. A flow may await programs and lf.gather only: "
        "make it a tool, `lf.tool(name, signature, function)`, and await that."
    )


@attrs.frozen(eq=False)
class NotDriven(ProgramError):
    """A program is awaited outside an executor."""

    program: str

    template = "{program} is awaited outside an executor. Run it: `await ex.run({program}, ...)`."

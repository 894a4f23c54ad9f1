"""A model that answers by chance, the same for the same request, and takes its time; and judges of
what it says.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send

Say = Callable[[ChatRequest, random.Random], str | ChatReply]


def digits(request: ChatRequest, dice: random.Random) -> str:
    """A number from 1 to 4 for each output; where a truth value is asked for, mostly false."""
    system = request.messages[0].content
    if "true or false" in system:
        return "true" if dice.random() < 0.3 else "false"
    names = re.findall(r"^\[\[(\w+)\]\]$", system, re.MULTILINE)
    return "\n".join(f"[[{name}]]\n{dice.randint(1, 4)}" for name in names) or str(
        dice.randint(1, 4)
    )


@attrs.define(eq=False)
class Chances:
    """Says what ``say`` makes of dice that are seeded by the request; waits by dice of its own,
    fails at ``fails``.
    """

    say: Say = digits
    delay: float = 0.002
    fails: float = 0.0
    seed: int = 0
    name: str = "chance/model"
    endpoint: str = "chance"
    asked: list[ChatRequest] = attrs.field(factory=list)

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """A reply after a while."""
        assert isinstance(request, ChatRequest)

        async def exchange(_: Http) -> ChatReply:
            self.asked.append(request)
            pace = random.Random(f"{self.seed} {len(self.asked)}")  # noqa: S311 - no secret
            await asyncio.sleep(pace.random() * self.delay)
            dice = random.Random(request.key)  # noqa: S311 - no secret
            if dice.random() < self.fails:
                raise ModelFailed("server", "by chance")
            said = self.say(request, dice)
            return said if isinstance(said, ChatReply) else ChatReply(said, model=self.name)

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


def as_number(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
    """The answer as a number."""
    return float(outputs["answer"])


def is_four(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> bool:
    """Whether the answer is 4."""
    return bool(outputs["answer"] == "4")


def advise(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> lf.Feedback:
    """A value, advice, and the step that is to blame."""
    return lf.Feedback(float(outputs["answer"]) / 4, f"more than {outputs['answer']}", "answer")


async def ran(
    program: lf.Program, model: Any = None, *, concurrency: int = 16, rows: int = 6
) -> lf.Run:
    """A run of the program over questions."""
    async with lf.Executor(Chances() if model is None else model, concurrency=concurrency) as ex:
        return await ex.map(program, [{"question": f"q{n}"} for n in range(rows)])

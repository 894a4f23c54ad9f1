"""The laws of the scripted model, the one double."""

from collections.abc import Iterable, Mapping

import pytest

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, Usage
from lmflow.models.scripted import Script, ScriptedAnswer

ANSWER = lf.predict("answer", "question -> answer", "ScriptedAnswer.")


async def _outputs(
    script: Script | Mapping[str, ScriptedAnswer] | Iterable[ScriptedAnswer], *questions: str
) -> list[str]:
    async with lf.Executor(lf.scripted(script), concurrency=1) as ex:
        run = await ex.map(ANSWER, [{"question": question} for question in questions])
    return [
        str(t.outputs.answer) if t.outputs else str(t.failure and t.failure.text)
        for t in run.traces
    ]


async def test_answers_come_in_order() -> None:
    """A list is used up from the front."""
    assert ["one", "two"] == await _outputs(["one", "two"], "a", "b")


async def test_a_function_sees_the_request() -> None:
    """A function answers by what was asked."""
    assert ["A!", "B!"] == await _outputs(
        lambda request: request.messages[-1].content[-1].upper() + "!", "a", "b"
    )


async def test_a_mapping_answers_by_text() -> None:
    """The first key that occurs in the last message gives the answer."""
    assert ["sea", "hill"] == await _outputs(
        {"Water": "sea", "Land": "hill", "and": "never"}, "Water?", "Land?"
    )


@pytest.mark.parametrize("script", [[], {"x": "y"}])
async def test_what_is_not_covered_fails(
    script: list[ScriptedAnswer] | dict[str, ScriptedAnswer],
) -> None:
    """A request that the script doesn't cover is a failure that shows it."""
    (text,) = await _outputs(script, "why?")
    assert (True, True) == ("the script has no answer for" in text, "why?" in text)


async def test_a_failure_in_the_script_is_raised() -> None:
    """A ``ModelFailed`` is what the model fails with."""
    with pytest.raises(ModelFailed, match="too many"):
        async with lf.Executor(lf.scripted([ModelFailed("rate_limit", "too many")])) as ex:
            await ex.run(ANSWER, question="why?")


async def test_a_whole_reply_is_taken_as_it_is() -> None:
    """Tokens and finish of a scripted reply are recorded."""
    reply = ChatReply("fine", "length", "m", Usage(1, 2, 0))
    async with lf.Executor(lf.scripted([reply])) as ex:
        assert reply == (await ex.run(ANSWER, question="why?")).calls[0].outcome


async def test_its_name_is_in_the_request() -> None:
    """The name that was given is the model of the recorded request."""
    async with lf.Executor(lf.scripted(["x"], name="scripted/other")) as ex:
        request = (await ex.run(ANSWER, question="why?")).calls[0].request
    assert ("scripted/other", "scripted") == (request.model, request.endpoint)  # type: ignore[union-attr]

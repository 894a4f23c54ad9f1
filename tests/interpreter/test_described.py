"""The laws of descriptions of outputs: a version without them asks as ever, one with them shows them
in every form, and a recorded run under them replays.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadParameter, ForeignPaths
from lmflow.interpreter.predict import predict_messages
from lmflow.programs.parameters import complete_params

STEP = lf.predict("answer", "question -> answer, why: Annotated[str, 'a reason']", "Answer.")
YEAR = "the year alone, four digits"


def prompt(version: lf.Version, adapter: str = "") -> str:
    """All messages of the step."""
    params = complete_params(STEP, version.put({"answer.adapter": adapter}))
    messages = predict_messages(STEP, params, {"question": "When?"})
    return "\n".join(message.content for message in messages)


def described(texts: Any) -> lf.Version:
    """A version with descriptions of outputs."""
    return lf.init(STEP).put({"answer.outputs": texts})


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_descriptions_stand_in_every_form(adapter: str) -> None:
    """The text of the version replaces that of the signature, of the outputs that it names alone."""
    text = prompt(described({"answer": YEAR}), adapter)
    assert YEAR in text
    assert "a reason" in text
    assert "a reason" not in prompt(described({"why": "one sentence"}), adapter)


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
@pytest.mark.parametrize("texts", [{}, None, {"why": "a reason"}])
def test_without_descriptions_a_step_asks_as_ever(adapter: str, texts: Any) -> None:
    """No descriptions, none, and those of the signature are the same prompt."""
    assert prompt(lf.init(STEP), adapter) == prompt(described(texts), adapter)


@given(st.one_of(st.integers(), st.text(), st.dictionaries(st.text(max_size=3), st.integers())))
def test_what_describes_no_output_is_refused(texts: Any) -> None:
    """Descriptions are texts by names of outputs."""
    if texts == {}:
        return
    with pytest.raises(BadParameter, match=r"texts by some of the outputs answer, why"):
        complete_params(STEP, described(texts))


def test_only_steps_with_outputs_of_their_own_are_described() -> None:
    """A step that calls tools has the descriptions of the tools instead, and others have no path."""
    agent = lf.react(
        "question -> answer", [lf.tool("look", "word -> text", str.upper, version="1")]
    )
    tools = [path for path in agent.paths if path.endswith(".tools")]
    assert tools
    foreign = tools[0].replace(".tools", ".outputs")
    with pytest.raises(ForeignPaths):
        complete_params(agent, lf.init(agent).put({foreign: {"thought": "long"}}))


async def test_a_run_under_descriptions_replays() -> None:
    """The model sees the description, and the recorded run replays to the same root."""
    version = described({"answer": YEAR})

    def reply(request: Any) -> str:
        shown = YEAR in request.messages[0].content
        return f"[[answer]]\n{1969 if shown else 'long ago'}\n[[why]]\nit is known"

    async with lf.Executor(lf.scripted(reply)) as ex:
        trace = await ex.run(STEP(question="When?"), version=version)
    assert trace.outputs is not None
    assert "1969" == trace.outputs.answer
    assert trace.root == lf.replay(trace).root

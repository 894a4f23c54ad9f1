"""The laws of rendering without sending."""

from __future__ import annotations

import pytest
from driving import drive

import lmflow as lf
from lmflow.errors import MissingInput, UnknownInput
from lmflow.programs.effects import Call

draft = lf.predict("draft", "text -> draft", "Draft.")
polish = lf.predict("polish", "draft -> final", "Polish.")
chain = draft >> polish


def test_what_is_rendered_is_what_is_sent() -> None:
    """The messages are those that a drive sends."""
    seen: list[tuple[str, Call]] = []
    drive(draft(text="a"), seen=seen)
    assert seen[0][1].request.messages == lf.render(draft, {"text": "a"})  # type: ignore[union-attr]


def test_a_step_of_a_program_is_named() -> None:
    """With several predictors, the step is said, and a near name is suggested."""
    assert "Polish." == lf.render(chain, {"draft": "a"}, step="polish")[0].content
    with pytest.raises(KeyError, match=r"has draft, polish.*Did you mean 'polish'"):
        lf.render(chain, {"draft": "a"}, step="polsh")


def test_a_version_is_rendered() -> None:
    """The parameters are the version's."""
    version = lf.init(chain).put({"polish.instruction": "Shine."})
    assert "Shine." == lf.render(chain, {"draft": "a"}, version, step="polish")[0].content


def test_a_renamed_step_is_rendered_by_its_path() -> None:
    """A step in a named program has its path's parameters."""
    named = chain.named("second")
    version = lf.init(named).put({"second.polish.instruction": "Shine."})
    assert "Shine." == lf.render(named, {"draft": "a"}, version, step="second.polish")[0].content


def test_inputs_are_those_of_the_step() -> None:
    """Inputs are checked as in a call."""
    with pytest.raises(MissingInput):
        lf.render(draft, {})
    with pytest.raises(UnknownInput):
        lf.render(draft, {"text": "a", "other": "b"})

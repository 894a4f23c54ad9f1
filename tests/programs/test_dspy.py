"""DSPy's saved state: its shape, and that it returns here with the same version."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ForeignFile
from lmflow.programs.compatibility import checked_params
from lmflow.programs.dspy import from_dspy, to_dspy
from lmflow.versions.files import json_text

rewrite = lf.predict("rewrite", "question -> query", "Write a query.")
look = lf.tool("look", "query -> context: list[str]", lambda query: [query], version="1")
answer = lf.chain_of_thought(
    lf.predict("answer", "context: list[str], question -> answer", "Answer.")
)
RAG = rewrite >> look >> answer
DEMOS: list[dict[str, Any]] = [
    {"context": ["p1"], "question": "q", "reasoning": "r", "answer": "a"},
    {"question": "q2", "answer": "a2", "extra": 1},
]
TUNED = lf.init(RAG).put(
    {"answer.demos": DEMOS, "answer.instruction": "Think."},
    note="tuned",
    origin={"answer.demos": {}},
)
STATE = json.loads(json_text(to_dspy(RAG, TUNED, (lf.init(RAG).id,))))


def test_the_state_is_what_dspy_saves() -> None:
    """One entry a predictor, positional fields, flat demonstrations, and the versions that made it."""
    expected = {
        "traces": [],
        "train": [],
        "demos": [{**DEMOS[0], "augmented": True}, {**DEMOS[1], "augmented": True}],
        "signature": {
            "instructions": "Think.",
            "fields": [
                {"prefix": "Context:", "description": "${context}", "name": "context"},
                {"prefix": "Question:", "description": "${question}", "name": "question"},
                {
                    "prefix": "Reasoning:",
                    "description": "think step by step, briefly",
                    "name": "reasoning",
                },
                {"prefix": "Answer:", "description": "${answer}", "name": "answer"},
            ],
        },
        "lm": None,
    }
    assert ["rewrite", "answer.predict", "metadata"] == list(STATE)
    assert expected == STATE["answer.predict"]
    assert {"python"} == set(STATE["metadata"]["dependency_versions"])
    assert (TUNED.id, [lf.init(RAG).id]) == tuple(
        STATE["metadata"]["lmflow"][name] for name in ("id", "lineage")
    )


def test_a_model_is_written_as_dspy_keeps_one() -> None:
    """A model with its options is DSPy's LM state, without a key."""
    version = TUNED.put(
        {"answer.model": "openai/gpt-5-mini", "answer.options": {"temperature": 0.7}}
    )
    lm = to_dspy(RAG, version)["answer.predict"]["lm"]
    expected = {
        "_dspy_lm_class": "dspy.clients.lm.LM", "model": "openai/gpt-5-mini", "model_type": "chat", "cache": True,
        "num_retries": 3, "temperature": 0.7, "max_tokens": None, "finetuning_model": None, "launch_kwargs": {},
        "train_kwargs": {},
    }  # fmt: skip
    assert expected == lm


@given(
    st.text(),
    st.lists(st.fixed_dictionaries({"question": st.text(), "query": st.text()}), max_size=3),
    st.booleans(),
)
def test_there_and_back_keeps_the_id(
    instruction: str,
    demos: list[dict[str, str]],
    model: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """An exported version that nobody changed is the same version when it is imported."""
    changes = {
        "rewrite.instruction": instruction,
        "rewrite.demos": demos,
        "rewrite.model": "x/y" if model else "",
    }
    version = TUNED.put(changes)
    assert version.id == from_dspy(RAG, json.loads(json_text(to_dspy(RAG, version))), "x.json").id


def test_a_change_there_is_a_child() -> None:
    """What was changed in DSPy is a child of what was exported, with those changes."""
    state = copy.deepcopy(STATE)
    state["rewrite"]["signature"]["instructions"] = "Search."
    state["metadata"]["dependency_versions"]["dspy"] = "3.4.1"
    version = from_dspy(RAG, state, "x.json")
    assert ((TUNED.id,), "imported from DSPy 3.4.1") == (version.parents, version.note)
    assert ["rewrite.instruction"] == [change.path for change in lf.diff(TUNED, version)]


def test_a_file_that_dspy_made_is_read() -> None:
    """Without our metadata the values are read, marks of bootstrapping left out, and there is no
    parent.
    """
    state = copy.deepcopy(STATE)
    del state["metadata"]["lmflow"]
    lm = {
        "model": "openai/gpt-5-mini",
        "temperature": 0.5,
        "max_tokens": None,
        "cache": True,
        "api_base": "http://x",
    }
    state["rewrite"]["lm"] = lm
    version = from_dspy(RAG, state, "x.json")
    assert () == version.parents
    assert lf.Record(d=DEMOS) == lf.Record(d=version["answer.demos"])
    assert ("openai/gpt-5-mini", lf.Record(temperature=0.5)) == (
        version["rewrite.model"],
        version["rewrite.options"],
    )


def test_steps_may_be_called_otherwise_there() -> None:
    """``names`` says what DSPy calls a step, both ways."""
    names = {"answer": "generate.predict"}
    state = to_dspy(RAG, TUNED, names=names)
    assert "generate.predict" in state
    assert TUNED.id == from_dspy(RAG, state, "x.json", names).id


def test_a_bare_predictor_is_flat() -> None:
    """A program of one predictor that DSPy saved without a path is read."""
    state = {**STATE["rewrite"], "metadata": {"dependency_versions": {}}}
    assert "Write a query." == from_dspy(rewrite, state, "x.json")["rewrite.instruction"]


def _dspy_entry(*fields: str, **rest: Any) -> dict[str, Any]:
    """A predictor as DSPy 3 saves one."""
    names = [{"prefix": f"{field}:", "description": f"${{{field}}}"} for field in fields]
    signature = {"instructions": "Say.", "fields": names}
    return {"traces": [], "train": [], "demos": [], "signature": signature, "lm": None, **rest}


DSPY = {"dependency_versions": {"python": "3.12", "dspy": "3.1.3"}}
SAY = lf.predict("say", "q -> answer, why: str | None = None")


def test_the_only_predictor_of_a_file_is_that_of_the_only_step() -> None:
    """A program of one step reads a file of one predictor, whatever its path, if the fields fit."""
    step = lf.chain_of_thought(lf.predict("say", "q -> answer"))
    state = {"predict": _dspy_entry("q", "reasoning", "answer"), "metadata": DSPY}
    assert "Say." == from_dspy(step, state, "x.json")["say.instruction"]
    with pytest.raises(ForeignFile, match="fields"):
        from_dspy(step, {"predict": _dspy_entry("q", "answer"), "metadata": DSPY}, "x.json")
    with pytest.raises(ForeignFile, match="no predictor"):
        from_dspy(step, {**state, "other": _dspy_entry("q", "answer")}, "x.json")


def _imported(demos: Any) -> lf.Version:
    entry = _dspy_entry("q", "answer", "why", demos=demos)
    return from_dspy(SAY, {"say": entry, "metadata": DSPY}, "x.json")


@pytest.mark.parametrize(
    ("demo", "expected"),
    [
        ({"q": "1", "answer": "a", "why": None}, {"q": "1", "answer": "a", "why": None}),
        ({"q": None, "answer": "a"}, {"answer": "a"}),
        ({"q": "1", "answer": "a", "other": None}, {"q": "1", "answer": "a"}),
    ],
)
def test_null_is_left_out_where_a_field_has_none(
    demo: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A null in a demonstration stays where the field may be null, and is no value elsewhere."""
    assert lf.Record(d=[expected]) == lf.Record(d=_imported([demo])["say.demos"])


@pytest.mark.parametrize("demo", [{"q": "two"}, {"q": "two", "answer": None}, {}])
def test_demonstrations_without_outputs_are_left_out(demo: dict[str, Any]) -> None:
    """They show nothing, and would fail each run; the note says how many there were."""
    version = _imported([{"q": "1", "answer": "a"}, demo])
    assert 1 == len(version["say.demos"])
    note = "imported from DSPy 3.1.3; left out: 1 demonstration of `say` without outputs"
    assert note == version.note
    assert version["say.demos"] == checked_params(SAY, version)["say.demos"]


def test_all_options_are_kept_and_no_address() -> None:
    """Options of any name are read; where requests go isn't up to a file, and the note says so."""
    lm = {"model": "openai/m", "reasoning_effort": "low", "top_k": 3, "api_base": "http://x"}
    state = {"say": _dspy_entry("q", "answer", "why", lm=lm), "metadata": DSPY}
    version = from_dspy(SAY, state, "x.json")
    assert lf.Record(reasoning_effort="low", top_k=3) == version["say.options"]
    assert version.note.endswith("left out: api_base of `say`")


def test_a_file_of_dspy_2_4_is_read() -> None:
    """It has neither fields nor metadata, and a rationale where there is reasoning now."""
    program = lf.chain_of_thought(lf.predict("say", "q -> answer"))
    entry = {
        "lm": None, "traces": [], "train": [], "signature_instructions": "Say.", "signature_prefix": "Answer:",
        "extended_signature_instructions": "Think, then say.",
        "demos": [{"augmented": True, "q": "1", "rationale": "r", "answer": "a"}],
    }  # fmt: skip
    version = from_dspy(program, {"say": entry}, "x.json")
    assert "Think, then say." == version["say.instruction"]
    assert lf.Record(d=[{"q": "1", "reasoning": "r", "answer": "a"}]) == lf.Record(
        d=version["say.demos"]
    )


INTRO = "Answer briefly.\n\nYou are an Agent. In each episode, you will be given `question`."


@pytest.mark.parametrize("prefix", ["", "react.", "agent."])
def test_a_saved_react_is_an_agent(prefix: str) -> None:
    """Its task, its thoughts and calls are read; what DSPy says of its own form is not."""
    agent = lf.react("question -> answer", [look.named("look")], "Help.", name=prefix[:-1] or "r")
    demo = {
        "augmented": True, "question": "q", "trajectory": "...", "next_thought": "I look.",
        "next_tool_name": "look", "next_tool_args": {"query": "x"},
    }  # fmt: skip
    end = {**demo, "next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": {}}
    names = ("question", "trajectory", "next_thought", "next_tool_name", "next_tool_args")
    act = _dspy_entry(*names, demos=[demo, end])
    act["signature"]["instructions"] = INTRO
    extract = _dspy_entry("question", "trajectory", "reasoning", "answer")
    state = {f"{prefix}react": act, f"{prefix}extract.predict": extract, "metadata": DSPY}
    version, name = from_dspy(agent, state, "x.json"), agent.name
    assert version[f"{name}.act.instruction"].startswith("Answer briefly.\n\nWork towards it")
    assert version[f"{name}.answer.instruction"].startswith("Say.\n\nAnswer from")
    call = {"name": "look", "arguments": {"query": "x"}}
    expected = [
        {"question": "q", "thought": "I look.", "calls": [call]},
        {"question": "q", "thought": "Done.", "calls": []},
    ]
    assert lf.Record(d=expected) == lf.Record(d=version[f"{name}.act.demos"])
    assert "I look." in lf.render(agent, {"question": "?"}, version, step=f"{name}.act")[0].content


def _without(*path: str) -> dict[str, Any]:
    state: dict[str, Any] = copy.deepcopy(STATE)
    inner: Any = state
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return state


def _with(value: Any, *path: str) -> dict[str, Any]:
    state: dict[str, Any] = copy.deepcopy(STATE)
    inner: Any = state
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return state


FIELDS = STATE["answer.predict"]["signature"]["fields"]
BAD = [
    (_without("metadata"), "DSPy didn't save it"),
    (_without("rewrite"), "no predictor for the step `rewrite`"),
    (_without("rewrite", "signature"), "lacks 'signature'"),
    (_without("rewrite", "lm"), "lacks 'lm'"),
    (_with(FIELDS[1:], "answer.predict", "signature", "fields"), "has 3 fields, the step has 4"),
    (
        _with([*FIELDS, FIELDS[0]], "answer.predict", "signature", "fields"),
        "has 5 fields, the step has 4",
    ),
    (
        _with([*FIELDS[1:], FIELDS[0]], "answer.predict", "signature", "fields"),
        "the step has 4: `context`",
    ),
    (
        _with([{"question": "q", "query": float("nan")}], "rewrite", "demos"),
        "holds what no version can",
    ),
    (_with(3, "rewrite", "lm"), "is no object"),
    (_with(None, "rewrite", "signature", "instructions"), "lacks instructions that are a text"),
    (_with(3, "metadata"), "DSPy didn't save it"),
    (_with(["x"], "rewrite", "demos"), "lacks"),
    (_with("forged", "metadata", "lmflow", "note"), "it was changed"),
    (_with({}, "metadata", "lmflow"), "is no version"),
]


@pytest.mark.parametrize(("state", "words"), BAD, ids=[words for _, words in BAD])
def test_a_file_that_does_not_fit_is_refused(state: dict[str, Any], words: str) -> None:
    """DSPy would mix fields up without a word; here it is one line that says what doesn't fit."""
    with pytest.raises(ForeignFile, match=words) as caught:
        from_dspy(RAG, state, "x.json")
    assert "\n" not in str(caught.value)

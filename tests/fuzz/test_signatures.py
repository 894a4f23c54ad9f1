"""Whatever stands in a signature, a foreign schema or a saved state, nothing but an ``LmflowError``
comes out.
"""

from __future__ import annotations

import contextlib
from typing import Any

from fuzz_inputs import hostile_texts, json_values, mutations
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadSignature, ForeignFile
from lmflow.programs.dspy import from_dspy, to_dspy
from lmflow.signatures.declaration import parse_signature
from lmflow.signatures.fields import Field
from lmflow.signatures.from_json_schema import import_schema
from lmflow.signatures.signature import Signature

SCRAPS = st.sampled_from([
    *("->", ",", ":", "=", "|", "[", "]", "(", ")", "'", "q", "answer", "str", "int", "list", "None"),
    *("Literal", "Optional", "Annotated", "Field(ge=0)", "dict[str, int]", "Any", "lambda", "*", "..."),
])  # fmt: skip


@given(st.lists(SCRAPS | hostile_texts, max_size=12).map(" ".join) | hostile_texts)
def test_signature_strings(text: str) -> None:
    """A text is a signature that is read back from its string form, or is a ``BadSignature``."""
    with contextlib.suppress(BadSignature):
        signature = parse_signature(text)
        assert signature.identity == parse_signature(str(signature)).identity


SCHEMA = {
    "type": "object",
    "$defs": {"Q": {"type": "object", "properties": {"limit": {"type": "integer"}}}},
    "properties": {
        "queryModel": {"$ref": "#/$defs/Q"},
        "n": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "kind": {"enum": ["a", 1, None]},
        "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        "any": True,
    },
    "required": ["queryModel"],
    "allOf": [{"properties": {"x": {"const": 1}}, "required": ["x"]}],
    "anyOf": [{"$ref": "#/$defs/Q"}, {"type": "null"}],
}


@given(mutations(SCHEMA) | json_values)
def test_foreign_schemas(schema: Any) -> None:
    """A schema gives a signature whose inputs have its owner's names, or is a ``BadSignature``."""
    with contextlib.suppress(BadSignature):
        imported = import_schema(schema)
        names = {field.name for field in Signature(imported.fields, (Field(name="r"),)).inputs}
        assert names == set(imported.names)
        assert isinstance(imported.owned(dict.fromkeys(names)), dict)


AGENT = lf.react("question -> answer", [lf.tool("look", "q -> x", str, version="1")], "Help.")
PROGRAM = lf.chain_of_thought(lf.predict("say", "q -> answer")) >> AGENT.named("agent")
STATE = to_dspy(PROGRAM, lf.init(PROGRAM).put({"say.demos": [{"q": "1", "answer": "2"}]}))
OLD = {"say": {"signature_instructions": "Say.", "demos": [{"q": "1", "rationale": "r"}]}}
SAY = lf.predict("say", "q -> answer")


@given(mutations(STATE))
def test_states_of_dspy(state: Any) -> None:
    """A state is a version that the program runs with, or is a ``ForeignFile``."""
    with contextlib.suppress(ForeignFile):
        version = from_dspy(PROGRAM, state, "x.json")
        assert set(PROGRAM.paths) == set(version.params)


@given(mutations(OLD))
def test_old_states_of_dspy(state: Any) -> None:
    """So is one that an old DSPy saved."""
    with contextlib.suppress(ForeignFile):
        assert set(SAY.paths) == set(from_dspy(SAY, state, "x.json").params)

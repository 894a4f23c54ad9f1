"""The laws of provenance: from an answer to its calls, versions and demonstrations."""

from __future__ import annotations

import json
from typing import Any

import attrs

import lmflow as lf
from lmflow.errors import UnknownVersion
from lmflow.messages.requests import ChatRequest
from lmflow.programs.program import Program
from lmflow.replays.provenance import Why, why
from lmflow.values.record import canonical
from lmflow.versions.version import Version

draft = lf.predict("draft", "text -> draft", "Draft.")
sign = lf.predict("sign", "draft -> signed", "Sign.")
count = lf.tool("count", "signed -> size: int", lambda signed: len(signed) * 111, version="1")
chain = draft >> sign


def echo(request: ChatRequest) -> str:
    """The last line of the request, marked."""
    return f"<{request.messages[-1].content.rpartition(chr(10))[2]}>"


async def explained(program: Program, *versions: Version, **inputs: Any) -> Why:
    """Why a run under the last of the versions gave what it gave."""
    async with lf.Executor(lf.scripted(echo)) as ex:
        trace = await ex.run(program, version=versions[-1] if versions else None, **inputs)
    return why(trace, _among(versions), program)


def _among(versions: tuple[Version, ...]) -> Any:
    known = {version.id: version for version in versions}

    def get(name: str) -> Version:
        if name not in known:
            raise UnknownVersion(name)
        return known[name]

    return get


async def test_an_output_comes_from_the_call_that_holds_it() -> None:
    """The last call whose reply holds an output gave it, through a tool as well."""
    found = await explained(chain >> count, text="a")
    assert ("sign[0]/call[0]",) == found.outputs.signed
    assert ("count[0]/call[0]",) == found.outputs["size"]


async def test_what_was_computed_comes_from_no_call() -> None:
    """An output that no reply holds was computed by the program."""

    @lf.flow("text -> size: int", uses=[draft])
    async def sized(text: str) -> Any:
        return 1000 + len((await draft(text=text)).draft)

    found = await explained(sized, text="a")
    assert () == found.outputs["size"]
    assert "it was computed" in str(found)


async def test_a_call_reads_the_replies_in_its_request() -> None:
    """A reply that stands in a later request was read by it."""
    found = await explained(chain, text="a")
    assert [(), ("draft[0]/call[0]",)] == [reason.reads for reason in found.reasons]


async def test_a_parameter_is_since_the_version_that_introduced_it() -> None:
    """Each parameter names the oldest version from which on it is what it is, also where it was
    that before.
    """
    first = lf.init(chain)
    second = first.put({"draft.instruction": "Other."}, note="second")
    third = second.put(
        {"sign.instruction": "Sign here."},
        note="third",
        origin={"sign.instruction": {"proposal": "r7"}},
    )
    fourth = third.put({"draft.instruction": "Draft."}, note="fourth")
    found = await explained(chain, first, second, third, fourth, text="a")
    since = {
        source.path: (source.note, source.origin)
        for reason in found.reasons
        for source in reason.params
    }
    assert ("fourth", None) == since["draft.instruction"]
    assert "third" == since["sign.instruction"][0]
    assert {"proposal": "r7"} == dict(since["sign.instruction"][1])
    assert (first.note, None) == since["sign.model"]


async def test_a_demonstration_names_what_made_it() -> None:
    """Each demonstration has its own version and its own share of the origin, though the list
    changed later.
    """
    one, two = {"text": "x", "draft": "y"}, {"text": "z", "draft": "w"}
    first = lf.init(chain)
    second = first.put(
        {"draft.demos": [one]}, note="one", origin={"draft.demos": ({"example": "e1"},)}
    )
    third = second.put(
        {"draft.demos": [two, one]},
        note="two",
        origin={"draft.demos": ({"example": "e2"}, {"kept": 1})},
    )
    found = await explained(chain, first, second, third, text="a")
    demos = found.reasons[0].demos
    assert [("two", {"example": "e2"}), ("one", {"example": "e1"})] == [
        (d.note, dict(d.origin)) for d in demos
    ]


async def test_of_a_pool_only_what_was_shown_is_told() -> None:
    """A step that chooses its demonstrations names those that stood in the request, each with its
    own origin.
    """
    step = lf.nearest(lf.predict("draft", "text -> draft", "Draft."), k=1)
    pool = [{"text": "lost card", "draft": "card!"}, {"text": "late train", "draft": "train!"}]
    first = lf.init(step)
    second = first.put(
        {"draft.pool": pool},
        note="pooled",
        origin={"draft.pool": ({"example": "e1"}, {"example": "e2"})},
    )
    found = await explained(step, first, second, text="my train")
    assert [("draft.pool[1]", "pooled", {"example": "e2"})] == [
        (source.path, source.note, dict(source.origin)) for source in found.reasons[0].demos
    ]
    assert "lost card" not in str(found)


async def test_a_line_that_is_not_kept_ends_there() -> None:
    """Without its parents a version answers for itself."""
    lone = lf.init(chain).put({"draft.instruction": "x"}, note="lone")
    found = await explained(chain, lone, text="a")
    assert {"lone"} == {source.note for reason in found.reasons for source in reason.params}


async def test_steps_under_prefixes_are_told_apart() -> None:
    """With and without the program, a step under a name has its own parameters."""
    program = draft.named("draft") >> (draft >> sign).named("deep")
    async with lf.Executor(lf.scripted(echo)) as ex:
        trace = await ex.run(program, text="a")
    for given in (program, None):
        found = why(trace, _among(()), given)
        assert ["draft", "deep.draft", "deep.sign"] == [reason.step for reason in found.reasons]


async def test_a_reused_reply_says_so() -> None:
    """A reply that was taken from another trace names it."""
    async with lf.Executor(lf.scripted(echo)) as ex:
        run = await ex.map(chain, [{"text": "a"}])
        again = await ex.replay(run, chain)
    found = why(again.traces[0], _among(()))
    assert {run.traces[0].id} == {reason.reused for reason in found.reasons}
    assert f"reused from {run.traces[0].id}" in str(found)


async def test_a_failed_call_is_told() -> None:
    """A failure is what its call gave."""
    broken = lf.tool("broken", "draft -> n: int", lambda draft: 1 // 0, version="1")  # noqa: ARG005 - by its name
    async with lf.Executor(lf.scripted(echo)) as ex:
        run = await ex.map(draft >> broken, [{"text": "a"}])
    found = why(run.traces[0], _among(()))
    assert "ZeroDivisionError" in found.reasons[1].gave
    assert "failed  ToolFailed" in str(found)


async def test_it_is_json() -> None:
    """The same as JSON values."""
    found = await explained(chain, lf.init(chain), text="a")
    data = json.loads(canonical(found.to_json()))
    assert ["draft[0]/call[0]", "sign[0]/call[0]"] == [item["address"] for item in data["calls"]]
    assert {"signed": "<<a>>", "draft": "<a>"} == data["outputs"]
    assert found == attrs.evolve(found)

"""The laws of addresses: the step, the frames and the branch that a call belongs to."""

from __future__ import annotations

from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import UnknownVersion
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program
from lmflow.replays.addresses import frames_of, is_at_or_below, may_depend, step_of_address
from lmflow.replays.provenance import why

draft = lf.predict("draft", "text -> draft", "Draft it now.")
polish = lf.predict("polish", "draft -> final", "Polish.")
short = (draft >> polish).named("short")
long = (draft >> polish).named("long")
SIZES = {"short": 10, "long": 1000}


def again(times: int) -> Program:
    """A flow that awaits ``short`` once and ``long`` several times."""

    @lf.flow("text -> final", uses=[short, long], version=str(times))
    async def both(text: str) -> Any:
        first = await short(text=text)
        finals = [(await long(text=f"{first.final} {number}")).final for number in range(times)]
        return " ".join(finals)

    return both


def sized(request: ChatRequest) -> ChatReply:
    """Reply with as many tokens as the size that the instruction names."""
    size = 1000 if "long" in request.messages[0].content else 10
    return ChatReply("fine", usage=Usage(size, size))


def versions(_: str) -> lf.Version:
    """No version is stored."""
    raise UnknownVersion("it", ())


VERSION = lf.init(again(1)).put(
    {f"{name}.{step}.instruction": f"Be {name}." for name in SIZES for step in ("draft", "polish")}
)


async def recorded(program: Program) -> lf.Trace:
    """A trace of the program whose replies have the sizes of their prefixes."""
    async with lf.Executor(lf.scripted(sized)) as ex:
        return await ex.run(program, version=VERSION, text="a")


@pytest.mark.parametrize(
    ("address", "step"),
    [
        ("draft[0]/call[0]", "draft"),
        ("both[0]/long[2]/draft[0]/call[1]", "long.draft"),
        ("both[0]/gather[0]/branch[1]/short[0]/polish[3]/call[0]", "short.polish"),
        ("long[0]/draft[0]/call[0]", "long.draft"),
        ("other[0]/call[0]", "other"),
        ("call[0]", ""),
    ],
)
def test_a_call_belongs_to_the_longest_step_of_its_frames(address: str, step: str) -> None:
    """With a program and with the names alone, prefixes of named programs count."""
    program = draft >> again(1)
    assert step == step_of_address(program, address)
    assert step == step_of_address(list(program.steps), address)


async def test_a_divergence_blames_the_step_under_its_prefix() -> None:
    """An instruction that changed under one name is to blame for that name's calls alone."""
    trace = await recorded(again(1))
    version = VERSION.put({"long.draft.instruction": "Be long and wide."})
    calls = lf.diverge(trace, again(1), version).items[0].calls
    blame = {call.address: call.blame for call in calls if call.blame}
    assert {"both[0]/long[0]/draft[0]/call[0]": ("long.draft.instruction",)} == blame


async def test_a_plan_expects_a_new_call_to_be_like_others_under_its_prefix() -> None:
    """A call without a counterpart takes the tokens of a recorded call of the same full step."""
    trace = await recorded(again(1))
    plan = lf.what_if(trace, again(2), version=VERSION)
    assert (1, 2 * SIZES["long"]) == (plan.least.calls, plan.least.tokens)


async def test_an_explanation_names_the_step_under_its_prefix() -> None:
    """With and without the program, each call has the parameters of its own prefix."""
    trace = await recorded(again(1))
    expected = ["short.draft", "short.polish", "long.draft", "long.polish"]
    for program in (again(1), None):
        assert expected == [reason.step for reason in why(trace, versions, program).reasons]


def test_frames_lead_from_the_outermost_to_the_call() -> None:
    """The frames of an address end with the address, and it is at or below each of them."""
    address = "both[0]/gather[0]/branch[b%2F1]/draft[0]/call[0]"
    frames = frames_of(address)
    assert ("both[0]", address) == (frames[0], frames[-1])
    assert all(is_at_or_below(address, frame) for frame in frames)
    assert not is_at_or_below("both[0]/draft[10]", "both[0]/draft[1]")


def test_sibling_branches_do_not_depend_on_each_other() -> None:
    """Only calls in other branches of the same fork are independent."""
    left, right = "f[0]/gather[0]/branch[0]/a[0]/call[0]", "f[0]/gather[0]/branch[1]/a[0]/call[0]"
    assert (False, True) == (may_depend(left, right), may_depend("f[0]/join[0]/call[0]", left))


async def test_calls_of_a_lost_branch_are_no_difference_whatever_its_label() -> None:
    """A label with separators names its branch as any other: nothing is dropped or new."""
    fast, slow = draft.named("fast"), draft.named("slow")

    @lf.flow("text -> draft", uses=[fast, slow], version="1")
    async def racing(text: str) -> Any:
        return await Fork((fast(text=text), slow(text=text)), mode="first", keys=("a/b", "c]d"))

    async with lf.Executor(lf.scripted(sized)) as ex:
        trace = await ex.run(racing, text="a")
    assert lf.diverge(trace, racing).same

"""An agent that keeps a shop's stock: tools in three modes, a trajectory, a replay without tools,
what runs again.

Run it without a key, on a scripted model: ``python examples/agents/shop.py``. Or on a real one:
``python examples/agents/shop.py --model local/qwen2.5-coder-1.5b``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import lmflow as lf
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.values.printing import clean

STOCK = {"green tea": 7, "black tea": 0, "rooibos": 3}
ORDERS: list[str] = []


@lf.tool
def stock(item: str) -> int:
    """How many packets of an item are in stock."""
    if item.lower() not in STOCK:
        raise LookupError(f"no {item!r}; there are {', '.join(STOCK)}")
    return STOCK[item.lower()]


@lf.tool(mode="pure")
def total(prices: list[float]) -> float:
    """Add up prices."""
    return sum(prices)


@lf.tool(mode="live")
def order(item: str, count: int = 1) -> str:
    """Order packets of an item from the supplier."""
    ORDERS.append(item)
    return f"order {len(ORDERS)}: {count} of {item}"


agent = lf.react(
    "question -> answer",
    [stock, total, order],
    "You keep a tea shop's stock. Be brief.",
    max_steps=5,
)
QUESTION = "How much green and black tea is there? Order two of what is out of stock."


def main() -> None:
    """Parse the arguments and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="a model by name (default: a scripted one)")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        asyncio.run(run_demo(arguments.model or lf.scripted(scripted), Path(folder) / "shop.db"))


async def run_demo(model: object, path: Path) -> None:
    """Run the agent, print its trajectory, replay it, and run it again."""
    with lf.SqliteStore(path) as store:
        async with lf.Executor(model, store) as ex:  # type: ignore[arg-type]
            trace = await ex.run(agent, question=QUESTION)
            print_trajectory(trace)
            again = await ex.replay(trace, agent)
        orders = len(ORDERS)
    verdict = "identical" if lf.replay(trace).root == trace.root else "differs"
    print(f"\nexact replay, no model and no tool: {verdict}")
    calls = again.traces[0].calls
    reused = sum(bool(call.source) for call in calls)
    print(
        f"run again: {reused} of {len(calls)} calls reused; {orders} orders, since `order` is live"
    )


def print_trajectory(trace: lf.Trace) -> None:
    """Print a trajectory."""
    outputs = trace.outputs or lf.Record(trajectory=(), answer="")
    for number, turn in enumerate(outputs.trajectory, 1):
        print(clean(f"{number} ({turn.form})  {turn.thought}"))
        for use, observation in zip(turn.calls, turn.observations, strict=True):
            print(
                clean(
                    f"   {use.name}({', '.join(map(str, use.arguments.values()))}) -> {observation}"
                )
            )
    calls = clean(f"{outputs.answer}\n\n{len(trace.calls)} calls:")
    print(calls, *sorted(trace.answers), sep="\n   ")


def scripted(request: ChatRequest) -> ChatReply | str:
    """What a model would say."""
    said = sum(message.role == "assistant" for message in request.messages)
    if not request.tools or said == len(STEPS):
        return "Seven packets of green tea; black tea was out, two packets are ordered."
    calls = [
        ToolCall(name, json.dumps(given), f"call_{n}")
        for n, (name, given) in enumerate(STEPS[said])
    ]
    return ChatReply("", "tool_calls", calls=tuple(calls))


STEPS: list[list[tuple[str, dict[str, object]]]] = [
    [("stock", {"item": "Green tea"}), ("stock", {"item": "black"})],
    [("stock", {"item": "black tea"})],
    [("order", {"item": "black tea", "count": 2})],
]

if __name__ == "__main__":
    main()

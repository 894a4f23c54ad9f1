"""Index, ask, inspect, replay offline, tune and roll back, on a real local model without a key."""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DESKS = HERE.parent / "desks"
sys.path[:0] = [str(HERE), str(DESKS)]

from rich.console import Console  # noqa: E402 - after the path is set

import lmflow as lf  # noqa: E402
from lmflow.cli.commands.models import fetch  # noqa: E402
from lmflow.cli.text.terminal import line  # noqa: E402
from lmflow.values.printing import clean  # noqa: E402

STORE = HERE / "lmflow.db"
WHOLE = 10  # with fewer questions the tuning is small too
out = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Parse the arguments and run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", default="smollm2-135m", help="a local model (default: %(default)s)"
    )
    parser.add_argument("--questions", type=int, default=10, help="how many (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        asyncio.run(run_demo(arguments.model.removeprefix("local/"), arguments.questions))
    except lf.LmflowError as error:
        raise SystemExit(f"demo: {error}") from None


async def run_demo(model: str, questions: int) -> None:
    """Fetch the model, index the collection, ask, show, replay, tune, and say what to try next."""
    started = time.perf_counter()
    title("1  A language model on this machine")
    out.print(f"   weights   {fetch(model)}")

    title("2  A real collection: the language reference that ships with Python")
    from collection import documents  # noqa: PLC0415
    from collection import questions as rows  # noqa: PLC0415
    from pipeline import corpus, rag  # noqa: PLC0415 - building the corpus is a step of the demo

    count = sum(1 for _ in documents())
    out.print(f"   {count} documents, {len(corpus)} passages, digest {corpus.digest[6:18]}")
    out.print(str(lf.diagram(rag)).replace("\n", "\n   ").join(["   ", ""]), markup=False)

    title(f"3  {questions} questions, every call recorded")
    run = await ask(model, rag, rows("dev")[:questions])
    gold = {row["id"]: row for row in rows("dev")}
    for label, trace in run.items:
        show(gold[label[3:-1]], trace)
    right = sum(hit(gold[label[3:-1]], trace) for label, trace in run.items)
    share = f"{right} of {len(run)} answers hold the reference answer"
    out.print(f"   {share}; {len(run.failures)} failed (untuned, {model})")

    title("4  One trace: what was asked, what it cost")
    tree = str(run.traces[0]).replace("\n", "\n   ")
    out.print(f"   {tree}", markup=False)

    title("5  The same run again, with the model stopped and the network off")
    before = time.perf_counter()
    with no_network(), lf.SqliteStore(STORE) as store:
        again = lf.replay(store.run(run.id), rag)
    calls = sum(len(trace.answers) for trace in again)
    out.print(
        f"   {calls} calls answered from the store, 0 sent, {time.perf_counter() - before:.2f} s"
    )
    out.print(f"   recorded  {run.root}\n   replayed  {again.root}")
    if again.root != run.root:
        raise SystemExit("demo: the replay gave another root")
    out.print("   [bold green]identical[/]")

    from tuning import full_size, small_size, tune  # noqa: PLC0415 - after the path is set

    size = full_size() if questions >= WHOLE else small_size()
    await tune(f"local/{model}", out, title, no_network, size)
    teach(run, model, time.perf_counter() - started)


async def ask(model: str, rag: lf.Program, rows: list[dict[str, Any]]) -> lf.Run:
    """Run the pipeline on the questions, four at a time, and return the recorded run."""
    with lf.SqliteStore(STORE) as store:
        async with lf.Executor(f"local/{model}", store, concurrency=4, target="pipeline:rag") as ex:
            return await ex.map(rag, rows)


def show(row: dict[str, Any], trace: lf.Trace) -> None:
    """Print one question with its answer, its sources and its trace."""
    out.print(f"   {row['question']}", markup=False)
    if trace.outputs is None:
        out.print(f"      ✗ {clean(str(trace.failure))}", markup=False)
        return
    mark = "✓" if hit(row, trace) else "·"
    out.print(
        f"      {mark} {line(trace.outputs.answer, 80)}   (reference: {row['answer']})",
        markup=False,
    )
    out.print(
        f"      sources {', '.join(trace.outputs.sources)}   trace {trace.id[-8:]}",
        style="dim",
        markup=False,
    )


def hit(row: dict[str, Any], trace: lf.Trace) -> bool:
    """Return whether the answer holds the reference answer."""
    from pipeline import holds  # noqa: PLC0415 - building the corpus is a step of the demo

    return trace.outputs is not None and bool(holds(row, trace.outputs).value)


def teach(run: lf.Run, model: str, seconds: float) -> None:
    """Print commands to try next."""
    lmflow = os.path.relpath(Path(sys.executable).parent / "lmflow", HERE)
    ask_more = 'run pipeline:rag --set question="What does a lambda make?"'
    out.print(f"\n[bold]Done in {seconds:.0f} s.[/] Everything is in two stores. Next:\n")
    for command in (
        f"cd {os.path.relpath(HERE)}",
        f"{lmflow} runs show {run.id[-8:]} --messages     # the exact prompts and replies",
        f"{lmflow} replay {run.id[-8:]}                   # the same replay, by command",
        f"{lmflow} {ask_more} --model local/{model}",
        f"cd {os.path.relpath(DESKS, HERE)}",
        f"{lmflow} log main                          # each version, and why main moved",
        f"{lmflow} diff main^ main                   # what the search changed",
        f"{lmflow} rollback main                     # main is where it was before",
    ):
        out.print(f"   {command}", markup=False)


def title(text: str) -> None:
    """Print the title of a section."""
    out.print(f"\n[bold]{text}[/]")


@contextlib.contextmanager
def no_network() -> Iterator[None]:
    """Make every attempt to create a socket fail."""

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError("the network is switched off")

    real, socket.socket = socket.socket, refused  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        socket.socket = real  # type: ignore[misc]


if __name__ == "__main__":
    main()

"""Measures exports to OpenTelemetry, and imports; compares what real servers show with the store.

    make bench BENCH=otlp
    PHOENIX=http://127.0.0.1:6006 MLFLOW=http://127.0.0.1:5000 make bench BENCH=otlp

The servers run on the loopback, in environments of their own:

    python -m venv phoenix && phoenix/bin/pip install arize-phoenix
    PHOENIX_HOST=127.0.0.1 phoenix/bin/phoenix serve
    python -m venv mlflow && mlflow/bin/pip install mlflow
    mlflow/bin/mlflow server --host 127.0.0.1 --backend-store-uri sqlite:///mlflow.db
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lmflow as lf
from lmflow.collector.exporting import Exporter, look_spans
from lmflow.collector.sending import Endpoint, Sender
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply, Usage
from lmflow.telemetry.mapping import SpanOptions
from lmflow.traces.feed import Cursor

NAME = "openai/MODEL"
PRICES = lf.priced({NAME: lf.Price(2, 8)})
SERVICE = f"lmflow-bench-{os.getpid()}"
EXECUTIONS = int(os.environ.get("EXECUTIONS", "2000"))
FOREIGN_SPANS = int(os.environ.get("FOREIGN_SPANS", "100000"))


def search(query: str) -> list[str]:
    """Find nothing much."""
    return [f"about {query}"]


AGENT = lf.react("question -> answer", [lf.tool("search", "query -> hits: list[str]", search)])
ANSWER = lf.predict("answer", "question -> answer", "Answer.")


def script(request: Any) -> ChatReply:
    """Search once, then answer."""
    usage = Usage(1000, 50, 200, 100, 10)
    if request.tools and not any(message.role == "tool" for message in request.messages):
        calls = (ToolCall("search", '{"query": "tea"}'),)
        return ChatReply("", "tool_calls", NAME, usage, "I must search.", calls)
    return ChatReply("[[answer]]\ntwo minutes", model=NAME, usage=usage)


async def record(store: lf.SqliteStore) -> None:
    """Record an agent's run, and a map of a step."""
    async with lf.Executor(lf.scripted(script, name=NAME), store, prices=PRICES) as ex:
        await ex.run(AGENT(question="How long?"))
        await ex.map(ANSWER, [{"question": str(n)} for n in range(3)])


async def export(store: lf.SqliteStore, url: str, *, content: bool, headers: dict[str, str]) -> int:
    """Export a store, and return the number of spans."""
    endpoint = Endpoint(url, headers)
    with store.feed() as feed:
        async with Sender(
            endpoint, "", {"service.name": SERVICE, "openinference.project.name": SERVICE}
        ) as sender:
            exporter = Exporter(
                feed, sender, SpanOptions(feed.store, content=content), endpoint.name
            )
            try:
                return (await exporter.export()).sent.spans
            finally:
                exporter.close()


class Sink(BaseHTTPRequestHandler):
    """Takes what is posted."""

    def do_POST(self) -> None:
        """Read the body, and take all of it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def sink() -> str:
    """Open an endpoint that takes everything, and return its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


async def timed(store: Any, model: Any, rows: Any, url: str, took: list[float]) -> None:
    """Add the seconds of a map, exported to a URL meanwhile if there is one."""
    exporting: Any = lf.otlp(store, url) if url else lf.Executor()
    async with exporting, lf.Executor(model, store, prices=PRICES, concurrency=8) as ex:
        started = time.perf_counter()
        await ex.map(ANSWER, rows)
        took.append(time.perf_counter() - started)


async def speed(folder: Path) -> None:
    """Print spans a second, and what an exporter beside an executor costs the recorder."""
    url = sink()
    rows = [{"question": str(n)} for n in range(EXECUTIONS)]
    times: dict[str, list[float]] = {"alone": [], "exported": []}
    for number in range(3):
        for name, took in times.items():
            with lf.SqliteStore(folder / f"{name}{number}.db") as store:
                model = lf.scripted(script, name=NAME)
                await timed(store, model, rows, url if name == "exported" else "", took)
    alone, exported = (min(times[name]) for name in ("alone", "exported"))
    print(
        f"recorder, {EXECUTIONS:,} executions as fast as they go: alone {alone:.2f} s, exported {exported:.2f} s, {exported / alone - 1:+.1%}"
    )
    for content in (False, True):
        with lf.SqliteStore(folder / "alone0.db") as store:
            with store.feed() as feed:
                feed.move(Endpoint(url).name, Cursor())
            started = time.perf_counter()
            spans = await export(store, url, content=content, headers={})
            seconds = time.perf_counter() - started
        print(
            f"export, content {content}: {spans:,} spans in {seconds:.2f} s, {spans / seconds:,.0f} spans/s"
        )


async def paced(folder: Path) -> None:
    """Print what an exporter costs if calls take 20 ms, as the fastest models do."""

    def slow(request: Any) -> ChatReply:
        return script(request)

    class Slow:
        endpoint = "slow"
        name = NAME

        async def __call__(self, request: Any, send: Any) -> Any:
            async def exchange(_: Any) -> ChatReply:
                await asyncio.sleep(0.02)
                return slow(request)

            return await send(exchange)

        async def aclose(self) -> None: ...

    url, rows = sink(), [{"question": str(n)} for n in range(EXECUTIONS)]
    times: dict[str, list[float]] = {"alone": [], "exported": []}
    for number in range(3):
        for name, took in times.items():
            with lf.SqliteStore(folder / f"p{name}{number}.db") as store:
                await timed(store, Slow(), rows, url if name == "exported" else "", took)
    alone, exported = (min(times[name]) for name in ("alone", "exported"))
    print(
        f"recorder, 8 calls of 20 ms at once: alone {alone:.2f} s, exported {exported:.2f} s, {exported / alone - 1:+.1%}"
    )


def tree(spans: list[dict[str, Any]]) -> Counter[tuple[str, ...]]:
    """Return how often each path of names occurs, from the top to a span."""
    by_id = {span["id"]: span for span in spans}

    def path(span: dict[str, Any]) -> tuple[str, ...]:
        above = by_id.get(span["parent"] or "")
        return (*(path(above) if above else ()), span["name"])

    return Counter(map(path, spans))


def sent_spans(store: lf.SqliteStore) -> list[dict[str, Any]]:
    """Return the spans of the store as they are sent."""
    with store.feed() as feed:
        spans = look_spans(feed.look(Cursor(), 1000), SpanOptions(feed.store, content=True))
    return [
        {
            "trace": span.trace,
            "id": span.id,
            "parent": span.parent,
            "name": span.name,
            "attributes": dict(span.attributes),
        }
        for span in spans
    ]


def fetched(url: str, body: dict[str, Any] | None = None) -> Any:
    """Return what a server answers as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def phoenix_spans(url: str) -> list[dict[str, Any]]:
    """Return the spans that Phoenix has; none before it has made the project of the first ones."""
    try:
        found = fetched(f"{url}/v1/projects/{SERVICE}/spans?limit=1000")["data"]
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return []
    return [
        {
            "trace": span["context"]["trace_id"], "id": span["context"]["span_id"],
            "parent": span["parent_id"], "name": span["name"], "attributes": span["attributes"],
        }
        for span in found
    ]  # fmt: skip


def phoenix_sums(url: str, run_traces: set[str]) -> dict[str, Any]:
    """Return the tokens and the cost that Phoenix shows of the project."""
    query = """query($name: String!) { projects(filter: {col: name, value: $name}) { edges { node {
        tokenCountPrompt tokenCountCompletion
        costSummary { total { cost tokens } } } } } }"""
    answer = fetched(f"{url}/graphql", {"query": query, "variables": {"name": SERVICE}})
    del run_traces
    return dict(answer["data"]["projects"]["edges"][0]["node"])


def totals(store: lf.SqliteStore) -> dict[str, Any]:
    """Return tokens and dollars as ``runs show`` has them."""
    sums = [store.run(run.id).sums[0] for run in store.runs()]
    return {
        "prompt": sum(each.read for each in sums),
        "completion": sum(each.written for each in sums),
        "usd": sum(each.usd or 0 for each in sums),
    }


def mlflow_spans(url: str, experiment: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the spans that MLflow has, and the sums of tokens and cost that it shows."""
    places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}]
    found = fetched(
        f"{url}/api/3.0/mlflow/traces/search", {"locations": places, "max_results": 100}
    )
    spans: list[dict[str, Any]] = []
    sums: Counter[str] = Counter()
    for trace in found["traces"]:
        metadata = trace.get("trace_metadata", {})
        sums.update(json.loads(metadata.get("mlflow.trace.tokenUsage", "{}")))
        sums.update(json.loads(metadata.get("mlflow.trace.cost", "{}")))
        whole = fetched(f"{url}/api/3.0/mlflow/traces/get?trace_id={trace['trace_id']}")
        spans += [
            {"id": span["span_id"], "parent": span.get("parent_span_id", ""), "name": span["name"]}
            for span in whole["trace"]["spans"]
        ]
    return spans, dict(sums)


async def real_servers(folder: Path) -> None:
    """Compare the tree, tokens and cost that servers show with those of the store."""
    phoenix, mlflow = os.environ.get("PHOENIX"), os.environ.get("MLFLOW")
    with lf.SqliteStore(folder / "real.db") as store:
        await record(store)
        sent = sent_spans(store)
        print(f"the store: {len(sent)} spans, {totals(store)}")
        if phoenix:
            for _ in range(2):  # the second time nothing may be doubled
                await export(store, phoenix, content=True, headers={})
                with store.feed() as feed:
                    feed.move(Endpoint(phoenix).name, Cursor())
            shown: list[dict[str, Any]] = []
            for _ in range(60):  # Phoenix takes spans into a queue
                await asyncio.sleep(1)
                shown = phoenix_spans(phoenix)
                if len(shown) >= len(sent):
                    break
            print(
                f"Phoenix: {len(shown)} spans, the same tree: {tree(shown) == tree(sent)}, {phoenix_sums(phoenix, set())}"
            )
        if mlflow:
            name = fetched(f"{mlflow}/api/2.0/mlflow/experiments/create", {"name": SERVICE})
            experiment = name["experiment_id"]
            await export(
                store, mlflow, content=True, headers={"x-mlflow-experiment-id": experiment}
            )
            await asyncio.sleep(5)
            spans, sums = mlflow_spans(mlflow, experiment)
            print(f"MLflow: {len(spans)} spans, the same tree: {tree(spans) == tree(sent)}, {sums}")


def foreign_file(path: Path) -> None:
    """Write traces of five spans each, a line a span, in the order of their ids."""
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 300}]}])
    reply = json.dumps(
        [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": "y" * 300}],
                "finish_reason": "stop",
            }
        ]
    )
    with path.open("w", encoding="utf-8") as file:
        for number in range(FOREIGN_SPANS):
            place, trace = number // (FOREIGN_SPANS // 5), number % (FOREIGN_SPANS // 5)
            facts = {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "MODEL",
                "gen_ai.input.messages": messages.replace("x", str(trace % 10)),
                "gen_ai.output.messages": reply,
                "gen_ai.usage.input_tokens": 10,
            }
            pairs = [
                {
                    "key": key,
                    "value": {"stringValue": value}
                    if isinstance(value, str)
                    else {"intValue": str(value)},
                }
                for key, value in facts.items()
            ]
            span = {
                "traceId": f"{trace:032x}",
                "spanId": f"{number + 1:016x}",
                "name": f"step {place}",
                "startTimeUnixNano": str(10**18 + number),
                "endTimeUnixNano": str(10**18 + number + 5),
                "attributes": pairs if place else [],
            }
            if place:
                span["parentSpanId"] = f"{trace + 1:016x}"
            file.write(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) + "\n")


def importing(folder: Path) -> None:
    """Print the time and the memory of an import, and of the same import again."""
    file = folder / "spans.jsonl"
    foreign_file(file)
    before = 0.0
    for turn in ("first", "second"):
        started = time.perf_counter()

        command = [
            sys.executable,
            "-c",
            "from lmflow.cli.main import main; main()",
            "import",
            "traces",
            str(file),
            "--store",
            str(folder / "in.db"),
            "--json",
        ]
        found = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu, before = used.ru_utime + used.ru_stime - before, used.ru_utime + used.ru_stime
        peak = used.ru_maxrss / 1024
        print(
            f"{turn} import of {FOREIGN_SPANS:,} spans: {time.perf_counter() - started:.1f} s ({cpu:.1f} s of CPU), at most {peak:.0f} MB, {found['traces']:,} traces new, {found['known']:,} known"
        )


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = sys.argv[1:] or ["speed", "paced", "real", "import"]
        if "real" in wanted:
            asyncio.run(real_servers(folder))
        if "speed" in wanted:
            asyncio.run(speed(folder))
        if "paced" in wanted:
            asyncio.run(paced(folder))
        if "import" in wanted:
            importing(folder)


if __name__ == "__main__":
    main()

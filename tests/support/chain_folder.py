"""A folder with a chain of three steps and a server of a model, for tests of replay commands."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

import lmflow as lf
from lmflow.cli.main import main
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import RefMoved, VersionSaved

APP = """
import lmflow as lf

draft = lf.predict("draft", "text -> draft", "Draft.")
polish = lf.predict("polish", "draft -> final", "Polish.")
sign = lf.predict("sign", "final -> signed", "Sign.")
chain = draft >> polish >> sign
edited = draft >> lf.predict("polish", "draft -> final, why", "Polish.") >> sign


def short(example, outputs):
    return len(outputs.signed) < 8


def right(example, outputs):
    return example["signed"] == outputs.signed


def raises(example, outputs):
    return {}["nothing"]


def words(example, outputs):
    return "good"
"""


@attrs.define(eq=False)
class Model:
    """A server that answers the last line with a dot; told to be loud by its instruction, three
    times.
    """

    port: int = 0
    seen: list[str] = attrs.field(factory=list)
    delay: float = 0.0

    def answer(self, messages: list[dict[str, str]]) -> str:
        """The text of the reply."""
        text = messages[-1]["content"].rpartition("\n")[2]
        return f"{text}." * (3 if "loud" in messages[0]["content"] else 1)


@contextlib.contextmanager
def serving_model() -> Iterator[Model]:
    """The server while the block lasts."""
    served = Model()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            served.seen.append(json.dumps(messages))
            time.sleep(served.delay)
            message = {"role": "assistant", "content": served.answer(messages)}
            usage = {"prompt_tokens": 20, "completion_tokens": 5}
            body = json.dumps(
                {
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": usage,
                }
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def chain_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    """An empty folder with a program, three inputs, and the server as OpenAI's."""
    name = f"app_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP, encoding="utf-8")
    (tmp_path / "name").write_text(name, encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"id": n, "text": f"t{n}"}) + "\n" for n in range(3)), "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{model.port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.delenv("LMFLOW_STORE", raising=False)
    return tmp_path


def words(here: Path, line: str) -> list[str]:
    """A command line; ``app`` stands for the module in the folder."""
    return [word.replace("app:", f"{(here / 'name').read_text('utf-8')}:") for word in line.split()]


def call(here: Path, line: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, words(here, line))


def done(here: Path, line: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    result = call(here, f"{line} --json")
    assert code == result.exit_code, result.output
    return json.loads(result.stdout)


def recorded(here: Path) -> str:
    """A run over the three inputs."""
    return str(done(here, "run app:chain --data in.jsonl --model openai/test")["run"])


def saved(ref: str, *versions: lf.Version) -> None:
    """Versions in the store, the last one under a name."""
    with SqliteStore("lmflow.db") as store:
        store.append(*(VersionSaved(version, at) for at, version in enumerate(versions))).result()
        store.append(RefMoved(ref, versions[-1].id, "a test", 1)).result()


def base() -> lf.Version:
    """The defaults as the run has them."""
    with reading("lmflow.db") as reader:
        return reader.run(reader.runs(1, "")[0].id).traces[0].version

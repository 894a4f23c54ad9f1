"""The server of local models: it serves whoever has the key, and ends with whoever started it."""

import asyncio
import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lmflow.errors import ModelUnavailable
from lmflow.models.local import llama_server
from lmflow.models.local.llama_server import LlamaServer
from lmflow.models.local.weights import installed_weights

HERE = {found.name: found.path for found in installed_weights()}
SMOL = HERE.get("smollm2-135m", Path())
real = pytest.mark.skipif(
    not SMOL.is_file() or importlib.util.find_spec("xllamacpp") is None,
    reason='pip install "lmflow-dsl[local]" && lmflow models pull smollm2-135m',
)

# A parent that starts a server, says which process it is, and then ends in its own way.
PARENT = """
import asyncio, os, signal, sys, time
from pathlib import Path
from lmflow.models.local.llama_server import LlamaServer
server = LlamaServer(Path(sys.argv[1]), slots=1, context=512)
asyncio.run(server.start())
print(server._process.pid, flush=True)
if sys.argv[2] == "stay":
    time.sleep(60)
"""
# A child that serves, as far as its parent can see.
WELL = "print('{\"port\": 42}', flush=True); import sys; sys.stdin.read(); sys.stdin.read()"
# Children that end in ways that a healthy one doesn't: (what they run, what is said of it).
ILL = [
    ("import sys; sys.exit(3)", "ended before it served .exit code 3"),
    ("import os; os.abort()", "ended before it served .exit code -6"),
    (
        'print(\'{"problem": "import", "text": "No module named xllamacpp"}\')',
        r'pip install "lmflow-dsl\[local\]"',
    ),
    (
        'print(\'{"problem": "import", "text": "libgomp.so.1: cannot open"}\')',
        "apt-get install libgomp1",
    ),
    ("import sys; print('the last words', file=sys.stderr)", r"Its log ends:\n  the last words"),
]


@pytest.fixture
async def server() -> AsyncIterator[LlamaServer]:
    """A server of the smallest model, not yet started."""
    made = LlamaServer(SMOL, slots=2, context=512)
    yield made
    await made.stop()


def _ask(url: str, key: str, path: str = "/chat/completions") -> dict[str, Any]:
    body = {
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 4,
        "temperature": 0,
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=9) as response:  # noqa: S310 - see above
        found: dict[str, Any] = json.loads(response.read())
    return found


def _ends(pid: int) -> bool:
    """Whether a process is gone within 3 seconds. One that nobody has waited for yet is gone as
    well.
    """
    for _ in range(60):
        stat = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if stat.exists() and stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def _child(monkeypatch: pytest.MonkeyPatch, code: str) -> LlamaServer:
    monkeypatch.setattr(llama_server, "_COMMAND", (sys.executable, "-c", code))
    return LlamaServer(Path("tiny.gguf"))


@real
async def test_it_serves_whoever_has_the_key(server: LlamaServer) -> None:
    """A started server completes a chat, under the model's name and not its path."""
    url = await server.start()
    reply = await asyncio.to_thread(_ask, url, server.api_key)
    assert reply["choices"][0]["message"]["content"]
    assert SMOL.stem == reply["model"]
    assert url.startswith("http://127.0.0.1:")
    assert url.endswith("/v1")


@real
async def test_it_refuses_whoever_has_not(server: LlamaServer) -> None:
    """Another user of the machine, who has no key, is refused."""
    url = await server.start()
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        await asyncio.to_thread(_ask, url, "guess")
    refused.value.close()


@real
async def test_starts_are_one_start(server: LlamaServer) -> None:
    """Callers at once, and later ones, get the same server."""
    urls = await asyncio.gather(*(server.start() for _ in range(5)))
    assert {await server.start()} == set(urls)


@real
async def test_a_cancelled_caller_leaves_the_others(server: LlamaServer) -> None:
    """A caller that gives up while the model loads doesn't end the loading."""
    hasty = asyncio.create_task(server.start())
    await asyncio.sleep(0.05)
    pid = server._process and server._process.pid
    hasty.cancel()
    assert await server.start()
    assert pid == (server._process and server._process.pid)


@real
async def test_slots_have_their_context(server: LlamaServer) -> None:
    """The server has as many slots as were asked for, each with the whole context that was asked
    for.
    """
    url = (await server.start()).removesuffix("/v1")
    request = urllib.request.Request(  # noqa: S310 - the loopback
        f"{url}/props", headers={"Authorization": f"Bearer {server.api_key}"}
    )
    with await asyncio.to_thread(urllib.request.urlopen, request) as response:
        props = json.loads(response.read())
    assert (2, 512) == (props["total_slots"], props["default_generation_settings"]["n_ctx"])


@real
async def test_stop_ends_it_and_start_begins_anew(server: LlamaServer) -> None:
    """A stopped server's process is gone; stopping again is nothing; it can be started again."""
    await server.start()
    pid = server._process.pid if server._process else 0
    await server.stop()
    assert _ends(pid)
    await server.stop()
    assert _ask(await server.start(), server.api_key)["choices"]


@real
async def test_a_server_that_died_is_started_again(server: LlamaServer) -> None:
    """A server whose process was killed is replaced at the next start."""
    await server.start()
    dead = server._process
    assert dead is not None
    dead.kill()
    dead.wait()
    assert _ask(await server.start(), server.api_key)["choices"]


async def test_stop_now_needs_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller without an event loop ends the server as well."""
    server = _child(monkeypatch, WELL)
    await server.start()
    pid = server._process.pid if server._process else 0
    server.stop_now()
    assert _ends(pid)


async def test_a_dropped_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that nobody holds any more doesn't outlive its last holder."""
    server = _child(monkeypatch, WELL)
    await server.start()
    pid = server._process.pid if server._process else 0
    del server
    gc.collect()
    assert _ends(pid)


async def test_a_start_that_nobody_waits_for_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C while the model loads leaves no traceback of the start behind."""
    server = _child(monkeypatch, "import time; time.sleep(60)")
    hasty = asyncio.create_task(server.start())
    await asyncio.sleep(0.1)
    hasty.cancel()
    await asyncio.wait([hasty])
    await server.stop()
    del server, hasty
    gc.collect()
    assert [] == caplog.messages


async def test_stop_ends_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a server that is stopped meanwhile is told."""
    server = _child(monkeypatch, "import time; time.sleep(60)")
    waiting = asyncio.create_task(server.start())
    await asyncio.sleep(0.1)
    await server.stop()
    with pytest.raises(ModelUnavailable, match="ended before it served"):
        await waiting


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@real
@pytest.mark.parametrize("way", ["exit", "kill", "interrupt"])
def test_it_ends_with_its_parent(way: str) -> None:
    """However the parent ends (by itself, by SIGKILL, by Ctrl-C), its server is gone."""
    command = [sys.executable, "-c", PARENT, str(SMOL), "leave" if way == "exit" else "stay"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        pid = int(parent.stdout.readline() if parent.stdout else "0")
        if way != "exit":
            parent.send_signal(signal.SIGKILL if way == "kill" else signal.SIGINT)
        parent.wait(5)
    assert _ends(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@real
async def test_interrupts_are_the_parents(server: LlamaServer) -> None:
    """The server ignores Ctrl-C: it is the parent that decides when it ends."""
    url = await server.start()
    assert server._process is not None
    server._process.send_signal(signal.SIGINT)
    assert (await asyncio.to_thread(_ask, url, server.api_key))["choices"]


async def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    """A file that llama.cpp can't load is an error with the end of its log."""
    pytest.importorskip("xllamacpp")
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF but no more")
    with pytest.raises(
        ModelUnavailable,
        match=r"(?s)llama.cpp can't serve it.*Its log ends:\n.*failed to load model",
    ):
        await LlamaServer(path).start()


@pytest.mark.parametrize(("code", "said"), ILL)
async def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    """A child that can't serve is an error that says why and what mends it."""
    server = _child(monkeypatch, code)
    with pytest.raises(ModelUnavailable, match=said):
        await server.start()
    await server.stop()


async def test_a_failed_start_is_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a start that failed the next one begins from nothing."""
    server = _child(monkeypatch, "pass")
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await server.start()
    monkeypatch.setattr(llama_server, "_COMMAND", (sys.executable, "-c", "print('{\"port\": 42}')"))
    assert "http://127.0.0.1:42/v1" == await server.start()
    await server.stop()


@real
async def test_native_logs_reach_no_terminal(
    server: LlamaServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """What llama.cpp prints goes to a log of its own."""
    await server.start()
    await server.stop()
    assert ("", "") == tuple(capfd.readouterr())

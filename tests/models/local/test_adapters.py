"""The laws of adapters on one server: each request has its own, and none disturbs the others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lmflow.errors import ModelUnavailable
from lmflow.models.local import adapters
from lmflow.models.local.adapters import AdapterServer, LocalPlace
from lmflow.values.hashed_files import HashedFiles


class Process:
    """Stands in for a llama.cpp server: it refuses the adapter ``bad``, and counts its starts."""

    running = 0
    starts: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, path: Path, **choices: Any) -> None:
        del path
        self.api_key = "key"
        self.adapters = tuple(map(str, choices.get("adapters", ())))
        self._runs = False

    async def start(self) -> str:
        """Start, unless it runs."""
        if "bad" in self.adapters:
            raise ModelUnavailable("base", "llama.cpp can't serve it", "Train it again.")
        if not self._runs:
            self._runs = True
            Process.running += 1
            Process.starts.append(self.adapters)
        return "http://127.0.0.1:1/v1"

    async def stop(self) -> None:
        """End, if it runs."""
        Process.running -= self._runs
        self._runs = False


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> AdapterServer:
    """A server whose processes are counted."""
    Process.running, Process.starts = 0, []
    monkeypatch.setattr(adapters, "LlamaServer", Process)
    return AdapterServer(Path("base.gguf"), slots=2, context=512, embedding=False)


async def test_each_request_has_the_adapter_of_its_version(server: AdapterServer) -> None:
    """A request without an adapter sets all to 0; one with an adapter sets that to 1."""
    async with server.using() as plain:
        assert {} == plain.options
    async with server.using(Path("one")):
        pass
    async with server.using(Path("two")) as two:
        assert [0.0, 1.0] == [each["scale"] for each in two.options["lora"]]
    async with server.using() as plain:
        assert [0.0, 0.0] == [each["scale"] for each in plain.options["lora"]]
    assert [(), ("one",), ("one", "two")] == Process.starts
    await server.stop()
    assert 0 == Process.running


async def test_many_versions_side_by_side_share_one_process(server: AdapterServer) -> None:
    """Requests of many versions at once wait for their adapters, and one process is left."""
    most = 0

    async def request(number: int) -> float:
        nonlocal most
        async with server.using(Path(f"v{number % 4}")) as serving:
            most = max(most, Process.running)
            await asyncio.sleep(0.001)
            return float(sum(each["scale"] for each in serving.options["lora"]))

    scales = await asyncio.wait_for(asyncio.gather(*map(request, range(40))), 20)
    assert [1.0] * 40 == scales
    assert 1 == Process.running
    assert len(Process.starts) <= 5
    assert most <= 2


async def test_an_adapter_that_cannot_be_served_disturbs_no_other(server: AdapterServer) -> None:
    """The bad one's request fails; the others go on with the process that they have."""
    async with server.using(Path("one")):
        pass
    with pytest.raises(ModelUnavailable):
        async with server.using(Path("bad")):
            raise AssertionError
    async with server.using(Path("one")) as one:
        assert 1 == len(one.options["lora"])
    assert [("one",)] == Process.starts


def test_models_of_one_base_share_a_server(tmp_path: Path) -> None:
    """A place gives one server a base, and finds adapters by their hash."""
    files = HashedFiles(tmp_path / "files")
    (tmp_path / "file").write_bytes(b"adapter")
    sha256 = files.add(tmp_path / "file")
    place = LocalPlace(files)
    base = tmp_path / "base.gguf"
    one = place.server(base, slots=4, context=4096, embedding=False)
    assert one is place.server(base, slots=4, context=4096, embedding=False)
    assert files.path(sha256) == place.adapter(f"base+lora:{sha256}")
    assert place.adapter("base") is None

"""One llama.cpp server for a base model and any number of its adapters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import ModelUnavailable, StoreError
from lmflow.models.local.llama_server import LlamaServer
from lmflow.models.local.weights import locate
from lmflow.values.hashed_files import HashedFiles
from lmflow.values.weights_names import split_name


@attrs.frozen
class Serving:
    """A server that runs: its base URL, its key, and the options that choose an adapter."""

    url: str
    api_key: str
    options: dict[str, Any]


class AdapterServer:
    """Serves a base model with the adapter of each request.

    llama.cpp loads adapters when it starts, so the server starts again, once its open requests have
    ended, for an adapter that it doesn't have yet.
    """

    def __init__(self, path: Path, *, slots: int, context: int, embedding: bool) -> None:
        self.path = path
        self._choices: dict[str, Any] = {"slots": slots, "context": context, "embedding": embedding}
        self._adapters: tuple[Path, ...] = ()
        self._server = LlamaServer(path, **self._choices)
        self._open = self._waiting = 0
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def using(self, adapter: Path | None = None) -> AsyncIterator[Serving]:
        """Give the server with an adapter, or with none, as long as the block lasts."""
        if not self._open and not self._waiting:
            self._changed = asyncio.Condition()  # it belongs to one event loop
        changed = self._changed
        async with changed:
            if adapter is not None and adapter not in self._adapters:
                await self._load(adapter)
            else:
                await changed.wait_for(lambda: not self._waiting)
            self._open += 1
        try:
            url = await self._server.start()
            yield Serving(url, self._server.api_key, self._lora(adapter))
        finally:
            async with changed:
                self._open -= 1
                changed.notify_all()

    async def stop(self) -> None:
        """End the server if it runs."""
        await self._server.stop()

    def stop_now(self) -> None:
        """End the server, for callers without an event loop."""
        self._server.stop_now()

    # Requests that come meanwhile wait too, else a busy server would never have none open.
    async def _load(self, adapter: Path) -> None:
        self._waiting += 1
        try:
            await self._changed.wait_for(lambda: not self._open)
            if adapter not in self._adapters:
                await self._replace(adapter)
        finally:
            self._waiting -= 1
            self._changed.notify_all()

    async def _replace(self, adapter: Path) -> None:
        """Put a server with one more adapter in place of the old one, which goes on if the new
        one can't serve.
        """
        adapters = (*self._adapters, adapter)
        server = LlamaServer(self.path, **self._choices, adapters=adapters)
        await server.start()
        await self._server.stop()
        self._server, self._adapters = server, adapters

    def _lora(self, adapter: Path | None) -> dict[str, Any]:
        if not self._adapters:
            return {}
        scales = [
            {"id": number, "scale": float(path == adapter)}
            for number, path in enumerate(self._adapters)
        ]
        return {"lora": scales}


class LocalPlace:
    """The servers of one executor, by base model, and the folder of its trained weights."""

    def __init__(self, files: HashedFiles | None = None) -> None:
        self._files = files
        self._servers: dict[tuple[Path, int, int, bool], AdapterServer] = {}

    def server(self, path: Path, *, slots: int, context: int, embedding: bool) -> AdapterServer:
        """Return the server of a base model; it is shared by all that ask for the same."""
        key = path, slots, context, embedding
        if key not in self._servers:
            self._servers[key] = AdapterServer(
                path, slots=slots, context=context, embedding=embedding
            )
        return self._servers[key]

    def adapter(self, name: str) -> Path | None:
        """Return the file of the adapter in a model's name, ``None`` if the name has none.

        Raises:
            ModelUnavailable: The file is missing or was changed.
        """
        _, sha256 = split_name(name)
        if not sha256:
            return None
        files = self._files or trained_files()
        try:
            return files.check(sha256)
        except (StoreError, ValueError) as error:
            fix = f"Copy its file into {files.folder}, or use a version with other weights."
            raise ModelUnavailable(f"local/{name}", str(error).rstrip("."), fix) from None


def trained_files() -> HashedFiles:
    """Return the folder of trained weights of executors without a store, in the user's cache."""
    try:
        import platformdirs  # noqa: PLC0415 - of the extra, so it may be missing
    except ImportError as error:
        fix = 'Run: pip install "lmflow-dsl[local]"'
        raise ModelUnavailable("local", "the package platformdirs is missing", fix) from error
    return HashedFiles(platformdirs.user_cache_path("lmflow") / "trained")


def base_file(name: str) -> Path:
    """Return the file of a base model by its name, ``local/`` in front or not."""
    return locate(split_name(name)[0].removeprefix("local/")).path

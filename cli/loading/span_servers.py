"""Reads spans from a server, one page after the other."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from lmflow.cli.loading.span_files import file_form, file_spans
from lmflow.collector.fetching import Source, download, walked
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.sources.documents import document_spans
from lmflow.telemetry.sources.pages import WALKS


def is_url(text: str) -> bool:
    """Tell whether a text is a URL of HTTP."""
    return urlsplit(text).scheme in {"http", "https"}


def keys_of(variables: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that variables of the environment hold."""
    missing = [name for name in variables if not os.environ.get(name)]
    if missing:
        raise click.ClickException(f"--key-env {missing[0]}: there is no such variable.")
    if len(variables) > 2:  # noqa: PLR2004 - a user and a password
        raise click.ClickException("--key-env is given once for a token, twice for user and key.")
    return tuple(os.environ[name].strip() for name in variables)


def server_spans(source: Source, form: str, project: str) -> Iterator[RawSpan]:
    """Yield the spans of a server of a system.

    Args:
        source: The server.
        form: The name of the system, one of ``WALKS``.
        project: The project or experiment; empty for the one that the system calls its default.

    Raises:
        TelemetryError: The server can't be reached, refuses, or answers with something else.
    """
    with asyncio.Runner() as runner:
        documents = walked(source, WALKS[form](project))
        try:
            while (document := runner.run(_next(documents))) is not _END:
                yield from document_spans(document, source.name)
        finally:
            runner.run(documents.aclose())  # type: ignore[attr-defined]


def downloaded_spans(source: Source, form: str) -> tuple[str, Iterator[RawSpan]]:
    """Return the form of the file at a URL, and its spans."""
    folder = tempfile.TemporaryDirectory(prefix="lmflow-")
    file = Path(folder.name) / (Path(urlsplit(source.url).path).name or "spans.json")
    asyncio.run(download(source, file))

    def spans() -> Iterator[RawSpan]:
        with folder:
            yield from file_spans(file)

    return form or file_form(file), spans()


_END = object()


async def _next(documents: Any) -> Any:
    return await anext(documents, _END)

"""The command ``doctor``."""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Literal
from urllib.parse import urlsplit

import attrs
import click

from lmflow import __version__
from lmflow.cli.options import echo_json, json_option, store_option
from lmflow.cli.text.terminal import line
from lmflow.errors import LmflowError, StoreError
from lmflow.models.local import weights
from lmflow.models.providers.openai import OPENAI
from lmflow.models.registry import model as model_named
from lmflow.models.transport.addresses import url_problem
from lmflow.stores.opened import health_of
from lmflow.stores.sqlite.checks.health import (
    FIXED_IN,
    SQLITE,
    Health,
    has_wal_bug,
    missing_features,
)
from lmflow.values.printing import clean, sized
from lmflow.views.lines import counted

OURS = frozenset({"test", "check", "docs"})  # extras for work on lmflow itself
_NAME, _EXTRA = re.compile(r"[\w.-]+"), re.compile(r"extra\s*==\s*[\"']([\w-]+)")
LARGE_WAL = 256_000_000
SECONDS = 3.0
_SHORT_KEY = 20
_MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_WAL_FIX = (
    "A reader holds it open: close what reads the store; the next writer that closes trims it."
)
_ENDPOINT_FIX = "Is the server up, and OPENAI_BASE_URL right (it ends in /v1)?"
_URL_FIX = "Write it like http://127.0.0.1:8080/v1; the key goes in OPENAI_API_KEY."
_LIST_FIX = "Some servers have no list; if runs fail too, check OPENAI_BASE_URL (it ends in /v1)."

State = Literal["ok", "warn", "fail"]


@attrs.frozen
class Check:
    """The result of a check; ``fix`` is the line that mends a problem."""

    name: str
    state: State
    found: str
    fix: str = ""


@click.command()
@click.option(
    "--model", default="", metavar="PROVIDER/MODEL", help="Also check whether this model answers."
)
@store_option
@json_option
def doctor(model: str, store: str, *, as_json: bool) -> None:
    """Check the installation and print the fix of each problem.

    Checks Python, SQLite, the extras, the store, the keys (never shown), the weights, and the
    endpoint, which gets a request for its models only if --model or OPENAI_BASE_URL names it. The
    exit code is 1 if a check fails.

    \b
    Example:
      lmflow doctor --model openai/MODEL
    """
    checks = [*_machine(), *_store(store), *_models(model)]
    if as_json:
        echo_json([attrs.asdict(check) for check in checks])
    else:
        wide = max(len(check.name) for check in checks)
        for check in checks:
            mark = click.style(_MARKS[check.state], fg=_COLOURS[check.state])
            click.echo(f"{mark} {check.name:{wide}}  {clean(check.found)}")
            if check.fix:
                click.echo(f"  {'':{wide}}  → {clean(check.fix)}")
    if any(check.state == "fail" for check in checks):
        raise SystemExit(1)


def local_checks(store: str) -> Iterator[Check]:
    """Yield the checks of the installation and of a store; nothing is sent."""
    yield from _machine()
    yield from _store(store)


def _machine() -> Iterator[Check]:
    yield Check(
        "lmflow", "ok", f"{__version__} on Python {'.'.join(map(str, sys.version_info[:3]))}"
    )
    if missing := missing_features():
        yield Check(
            "sqlite",
            "fail",
            f"{SQLITE} lacks {', '.join(missing)}",
            "Use a Python with a newer SQLite.",
        )
    elif has_wal_bug():
        newer = ".".join(map(str, FIXED_IN))
        problem = f"{SQLITE}: two processes that write one store may, rarely, break it"
        yield Check(
            "sqlite",
            "warn",
            problem,
            f"Write from one process at a time, or use SQLite {newer} or newer.",
        )
    else:
        yield Check("sqlite", "ok", SQLITE)
    yield _extras()


def _extras() -> Check:
    absent = {extra: _absent(names) for extra, names in _packages().items() if extra not in OURS}
    complete = [extra for extra, names in absent.items() if not names]
    incomplete = [extra for extra, names in absent.items() if names]
    words = [f"{', '.join(complete) or 'none'} installed"]
    words += [f"{extra} lacks {', '.join(absent[extra])}" for extra in incomplete]
    fix = f'If you need it: pip install "lmflow-dsl[{incomplete[0]}]"' if incomplete else ""
    return Check("extras", "ok", "; ".join(words), fix)


def _packages() -> dict[str, list[str]]:
    """Return the packages of each extra, as the installed distribution lists them."""
    extras: dict[str, list[str]] = {}
    for requirement in metadata.requires("lmflow-dsl") or ():
        name, extra = _NAME.match(requirement), _EXTRA.search(requirement)
        if name and extra:
            extras.setdefault(extra.group(1), []).append(name.group())
    return extras


def _absent(names: list[str]) -> list[str]:
    return [name for name in names if not any(metadata.distributions(name=name))]


def _store(path: str) -> Iterator[Check]:
    try:
        state = health_of(path)
    except StoreError as error:
        yield Check("store", "fail", f"{path}: {error.problem}", error.fix)
        return
    if state is None:
        yield Check("store", "ok", f"{path}: none yet, the first run makes it")
        return
    yield _file(path, state)
    if state.wal > LARGE_WAL:
        yield Check("store wal", "warn", sized(state.wal), _WAL_FIX)
    if state.open_runs:
        runs, calls = counted(state.open_runs, "run"), counted(state.open_calls, "call")
        words = f"{runs} open, {calls} not ended"
        fix = "They are running now, or were killed: lmflow runs ls shows which."
        yield Check("store runs", "warn", words, fix)
    if state.orphans:
        words = f"{counted(state.orphans, 'call')} sent that never ended (maybe billed)"
        yield Check("store calls", "warn", words, "lmflow runs ls shows in which runs (orphans).")


def _file(path: str, state: Health) -> Check:
    if state.problem:
        problem = f"{path}: SQLite finds it damaged ({state.problem})"
        fix = f"Restore it from a backup, or: lmflow store salvage {path} rescued.db"
        return Check("store", "fail", problem, fix)
    facts = [
        *filter(None, [state.server]),
        f"schema {state.schema}",
        sized(state.size),
        counted(state.calls, "call"),
    ]
    if state.media:
        media = counted(state.media, "picture, sound or file", "pictures, sounds and files")
        facts.append(f"{sized(state.media_size)} of {media}")
    if not state.writable:
        facts.append("read-only")
    words = f"{path}: {', '.join([*facts, 'sound'])}"
    if state.schema == state.current:
        return Check("store", "ok", words)
    kind = "PostgresStore" if state.server else "SqliteStore"
    fix = f"python -c \"import lmflow; lmflow.{kind}('{path}').close()\" brings it up to date."
    return Check("store", "warn", f"{words}; this lmflow writes schema {state.current}", fix)


def _models(name: str) -> Iterator[Check]:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    length = "short" if len(key) < _SHORT_KEY else "long"
    yield Check("OPENAI_API_KEY", "ok", f"set, {length}" if key else "not set")
    installed = ", ".join(f"local/{model.name}" for model in weights.installed_weights())
    yield Check("weights", "ok", installed or "none here (lmflow models ls)")
    if name:
        try:
            model_named(name)
        except LmflowError as error:
            yield Check("model", "fail", *_problem_and_fix(error))
            return
        yield Check("model", "ok", f"{name} can be used as it is configured")
    base = os.environ.get("OPENAI_BASE_URL", "")
    provider, _, model = name.partition("/")
    if provider == "openai" or base:
        yield _endpoint(base or OPENAI, key, model if provider == "openai" else "")


def _problem_and_fix(error: LmflowError) -> tuple[str, str]:
    problem, fix = getattr(error, "problem", str(error)), getattr(error, "fix", "")
    return f"{getattr(error, 'model', '')}: {problem}".removeprefix(": "), fix


def _endpoint(base: str, key: str, model: str) -> Check:
    """Check that the endpoint answers ``GET /models`` and lists the model."""
    problem = url_problem(base)
    if problem:
        return Check("endpoint", "fail", problem, _URL_FIX)
    parts = urlsplit(base)
    place = f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    try:
        status, body = _get(f"{base.rstrip('/')}/models", key)
    except (OSError, http.client.HTTPException) as error:
        problem = f"{place} can't be reached ({str(error) or type(error).__name__})"
        return Check("endpoint", "fail", problem, _ENDPOINT_FIX)
    if status in {401, 403}:
        return Check(
            "endpoint", "fail", f"{place} refuses the key ({status})", "Check OPENAI_API_KEY."
        )
    if status >= 400:  # noqa: PLR2004 - HTTP's border between success and error
        problem = f"{place} answered {status} when asked for its models"
        return Check("endpoint", "warn", problem, _LIST_FIX)
    names = _names(body)
    if model and names and model not in names:
        fix = f"It has {line(', '.join(names), 200)}."
        return Check("endpoint", "warn", f"{place} lists no {model!r}", fix)
    return Check("endpoint", "ok", f"{place} answers, {counted(len(names), 'model')}")


def _get(url: str, key: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request("GET", parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(1_000_000)
    finally:
        connection.close()


def _names(body: bytes) -> list[str]:
    """Return the names of the models that an endpoint lists; none if the list has another shape."""
    try:
        return [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        return []

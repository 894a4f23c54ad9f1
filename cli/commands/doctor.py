"""The command ``doctor``: what is here, what is missing, and the line that mends it."""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
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
from lmflow.models.transport.responses import url_problem
from lmflow.stores.sqlite.health import MENDED, SQLITE, Health, affected, health, lacking
from lmflow.values.printing import clean

OURS = frozenset({"test", "check", "docs"})  # extras of who works on lmflow itself
_NAME, _EXTRA = re.compile(r"[\w.-]+"), re.compile(r"extra\s*==\s*[\"']([\w-]+)")
LARGE_WAL = 256_000_000
SECONDS = 3.0
_MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}


@attrs.frozen
class Check:
    """One thing that was looked at: ``state`` is ok, warn or fail, ``fix`` the line that mends it."""

    name: str
    state: str
    found: str
    fix: str = ""


@click.command()
@click.option(
    "--model", default="", metavar="PROVIDER/MODEL", help="Also whether this model can be reached."
)
@store_option
@json_option
def doctor(model: str, store: str, *, as_json: bool) -> None:
    """Say what is missing, and the line that mends it.

    Looks at Python, SQLite, the extras, the store, the keys (never shown), the weights, and the
    endpoint, which is asked for its models only where --model or OPENAI_BASE_URL names it. Exit
    code 1 where something fails.

    \b
    Example:
      lmflow doctor --model openai/gpt-5-mini
    """
    checks = [*_machine(), *_store(store), *_models(model)]
    if as_json:
        echo_json([attrs.asdict(check) for check in checks])
    else:
        wide = max(len(check.name) for check in checks)
        for check in checks:
            color = {"ok": "green", "warn": "yellow", "fail": "red"}[check.state]
            fix = f"\n  {'':{wide}}  → {clean(check.fix)}" if check.fix else ""
            click.echo(
                f"{click.style(_MARKS[check.state], fg=color)} {check.name:{wide}}  {clean(check.found)}{fix}"
            )
    if any(check.state == "fail" for check in checks):
        raise SystemExit(1)


def _machine() -> Iterator[Check]:
    yield Check(
        "lmflow", "ok", f"{__version__} on Python {'.'.join(map(str, sys.version_info[:3]))}"
    )
    if missing := lacking():
        yield Check(
            "sqlite",
            "fail",
            f"{SQLITE} lacks {', '.join(missing)}",
            "Use a Python with a newer SQLite.",
        )
    elif affected():
        newer = ".".join(map(str, MENDED))
        found = f"{SQLITE}: two processes that write one store may, rarely, break it"
        yield Check(
            "sqlite",
            "warn",
            found,
            f"Write from one process at a time, or use SQLite {newer} or newer.",
        )
    else:
        yield Check("sqlite", "ok", SQLITE)
    yield _extras()


def _extras() -> Check:
    found = {extra: _absent(names) for extra, names in _wanted().items() if extra not in OURS}
    here, lacking_ = (
        [name for name, absent in found.items() if bool(absent) is gone] for gone in (False, True)
    )
    words = [
        f"{', '.join(here) or 'none'} installed",
        *(f"{name} lacks {', '.join(found[name])}" for name in lacking_),
    ]
    fix = f'Where you need it: pip install "lmflow-dsl[{lacking_[0]}]"' if lacking_ else ""
    return Check("extras", "ok", "; ".join(words), fix)


def _wanted() -> dict[str, list[str]]:
    """The packages that each extra asks for, as the installed distribution says."""
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
        found = health(path)
    except StoreError as error:
        yield Check("store", "fail", f"{path}: {error.problem}", error.fix)
        return
    if found is None:
        yield Check("store", "ok", f"{path}: none yet, the first run makes it")
        return
    yield _file(path, found)
    if found.wal > LARGE_WAL:
        fix = "A reader holds it open: close what reads the store; the next writer that closes trims it."
        yield Check("store wal", "warn", f"{found.wal / 1e6:.0f} MB", fix)
    if found.open_runs:
        words = f"{found.open_runs} open, {_counted(found.open_calls)} not ended"
        yield Check(
            "store runs",
            "warn",
            words,
            "They go on now, or were killed: lmflow runs ls shows which.",
        )
    if found.orphans:
        words = f"{_counted(found.orphans)} sent that never ended (maybe billed)"
        yield Check("store calls", "warn", words, "lmflow runs ls shows in which runs (orphans).")


def _counted(calls: int) -> str:
    return "1 call" if calls == 1 else f"{calls} calls"


def _contents(found: Health) -> str:
    return (
        f", {found.media_size / 1e6:.1f} MB of {found.media} pictures, sounds and files"
        if found.media
        else ""
    )


def _file(path: str, found: Health) -> Check:
    if found.problem:
        return Check(
            "store",
            "fail",
            f"{path}: SQLite finds it damaged ({found.problem})",
            "Restore it from a backup.",
        )
    what = f"{path}: schema {found.schema}, {found.size / 1e6:.1f} MB, {_counted(found.calls)}{_contents(found)}, sound"
    if found.schema == found.current:
        return Check("store", "ok", what)
    fix = f"python -c \"import lmflow; lmflow.SqliteStore('{path}').close()\" brings it up to date."
    return Check("store", "warn", f"{what}; this lmflow writes schema {found.current}", fix)


def _models(name: str) -> Iterator[Check]:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    yield Check(
        "OPENAI_API_KEY", "ok", f"set, {'short' if len(key) < 20 else 'long'}" if key else "not set"
    )  # noqa: PLR2004
    here = [found.name for found in weights.installed()]
    yield Check(
        "weights",
        "ok",
        ", ".join(f"local/{known}" for known in here) or "none here (lmflow models ls)",
    )
    if name:
        try:
            model_named(name)
        except LmflowError as error:
            yield Check("model", "fail", *_parted(error))
            return
        yield Check("model", "ok", f"{name} can be used as it is configured")
    base = os.environ.get("OPENAI_BASE_URL", "")
    if name.startswith("openai/") or base:
        yield _endpoint(
            base or OPENAI, key, name.removeprefix("openai/") if name.startswith("openai/") else ""
        )


def _parted(error: LmflowError) -> tuple[str, str]:
    """What is wrong, and the line that mends it."""
    problem, fix = getattr(error, "problem", str(error)), getattr(error, "fix", "")
    return f"{getattr(error, 'model', '')}: {problem}".removeprefix(": "), fix


def _endpoint(base: str, key: str, wanted: str) -> Check:
    """Whether the endpoint answers ``GET /models``, and has the model."""
    if problem := url_problem(base):
        return Check(
            "endpoint",
            "fail",
            problem,
            "Write it like http://127.0.0.1:8080/v1; the key goes in OPENAI_API_KEY.",
        )
    parts = urlsplit(base)
    place = f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    try:
        status, body = _get(f"{base.rstrip('/')}/models", key)
    except (OSError, http.client.HTTPException) as error:
        found = f"{place} can't be reached ({str(error) or type(error).__name__})"
        return Check(
            "endpoint",
            "fail",
            found,
            "Is the server up, and OPENAI_BASE_URL right (it ends in /v1)?",
        )
    if status in {401, 403}:
        return Check(
            "endpoint", "fail", f"{place} refuses the key ({status})", "Check OPENAI_API_KEY."
        )
    if status >= 400:  # noqa: PLR2004 - HTTP's border between success and error
        fix = "Some servers have no list; if runs fail too, check OPENAI_BASE_URL (it ends in /v1)."
        return Check(
            "endpoint", "warn", f"{place} answered {status} when asked for its models", fix
        )
    known = _names(body)
    if wanted and known and wanted not in known:
        return Check(
            "endpoint",
            "warn",
            f"{place} lists no {wanted!r}",
            f"It has {line(', '.join(known), 200)}.",
        )
    return Check("endpoint", "ok", f"{place} answers, {len(known)} models")


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
    """The names of the models that an endpoint lists; none where the list isn't of the usual shape."""
    try:
        return [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        return []

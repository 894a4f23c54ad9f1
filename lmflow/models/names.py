"""Models by name: ``provider/model``."""

from __future__ import annotations

import os

from lmflow.errors import ModelUnavailable, near
from lmflow.models.base import Model
from lmflow.models.openai import OPENAI, OpenAI, host_of, mistake
from lmflow.models.wrap import retrying

_PROVIDERS = ("openai", "local")


def model(name: str, *, base_url: str | None = None, api_key: str | None = None, timeout: float = 120.0) -> Model:
    """The model that ``provider/model`` names: ``openai/gpt-5-mini``, ``local/smollm2-135m``,
    ``local/path/to/file.gguf``.

    ``openai`` is any OpenAI-compatible endpoint: ``base_url`` and ``api_key``, else ``OPENAI_BASE_URL`` and
    ``OPENAI_API_KEY``. Raises ``ModelUnavailable`` with the fix.
    """
    provider, slash, rest = name.partition("/")
    if not slash or not rest:
        raise ModelUnavailable(
            name, "it names no provider", f"Write provider/model, such as openai/{name or 'gpt-5-mini'}."
        )
    if provider == "local":
        from lmflow.models.local import local  # noqa: PLC0415 - needs the extra

        return local(rest)
    if provider == "openai":
        return _openai(name, rest, base_url, api_key, timeout)
    fix = f"Known: {', '.join(_PROVIDERS)}.{near(provider, _PROVIDERS)}"
    raise ModelUnavailable(name, f"there is no provider {provider!r}", fix)


def _openai(name: str, wire: str, base_url: str | None, api_key: str | None, timeout: float) -> Model:
    url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
    key = (api_key if api_key is not None else os.environ.get("OPENAI_API_KEY", "")).strip()
    if problem := mistake(url):
        raise ModelUnavailable(name, problem, "Write it like http://127.0.0.1:8080/v1; the key goes in api_key.")
    if not key and url == OPENAI:
        raise ModelUnavailable(
            name, "there is no key for it", "Set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours."
        )
    endpoint = "openai" if url == OPENAI else host_of(url)
    return retrying(OpenAI(name, wire, url, endpoint, key, timeout))

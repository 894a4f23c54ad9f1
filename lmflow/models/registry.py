"""Models by name: ``provider/model``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from lmflow.errors import ModelUnavailable, check_kind, clipped, near, safe_repr
from lmflow.models.base import Model
from lmflow.models.lanes.model import in_waves
from lmflow.models.providers.anthropic import ANTHROPIC, Anthropic
from lmflow.models.providers.openai import OPENAI, OpenAI
from lmflow.models.retries import retried
from lmflow.models.transport.addresses import endpoint_class, url_problem
from lmflow.values.unicode import well_formed

if TYPE_CHECKING:
    from lmflow.models.local.adapters import LocalPlace

_TINKER_CHAT = "/oai/api/v1"  # below the address that serves training too
AZURE_VERSION = "2024-10-21"
SECONDS_PER_ATTEMPT = 120.0
EXAMPLE_MODEL = "openai/MODEL"
"""Stands for a model of the reader's in all examples, help and errors: real names expire."""

IN_BATCHES = "batch:"
"""Stands before the name of a model whose requests go out in waves."""

MODEL_FIX = f'Name one, "{EXAMPLE_MODEL}", or make one: lf.scripted(["42"]).'


@attrs.frozen
class Provider:
    """A provider's base URL, and the environment variables that hold another URL and the key.

    ``keyed`` is whether the provider's own URL demands a key; ``example`` is a base URL of the
    right form, for failures.
    """

    url: str
    url_from: str
    key_from: str
    keyed: bool = True
    example: str = "http://127.0.0.1:8080/v1"


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(OPENAI, "OPENAI_BASE_URL", "OPENAI_API_KEY"),
    "anthropic": Provider(ANTHROPIC, "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
    "azure": Provider(
        "", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", example="https://NAME.openai.azure.com"
    ),
    "openrouter": Provider(
        "https://openrouter.ai/api/v1", "OPENROUTER_BASE_URL", "OPENROUTER_API_KEY"
    ),
    "together": Provider("https://api.together.xyz/v1", "TOGETHER_BASE_URL", "TOGETHER_API_KEY"),
    "tinker": Provider(
        "https://tinker.thinkingmachines.dev/services/tinker-prod",
        "TINKER_BASE_URL",
        "TINKER_API_KEY",
    ),
    "ollama": Provider(
        "http://127.0.0.1:11434/v1", "OLLAMA_BASE_URL", "OLLAMA_API_KEY", keyed=False
    ),
    "vllm": Provider("http://127.0.0.1:8000/v1", "VLLM_BASE_URL", "VLLM_API_KEY", keyed=False),
}
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NAMES = (*PROVIDERS, "litellm", "local")


def model(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = SECONDS_PER_ATTEMPT,
) -> Model:
    """Makes the model that ``provider/model`` names. Transient failures are retried.

    Args:
        name: ``openai/MODEL``, ``anthropic/MODEL``, ``azure/DEPLOYMENT``,
            ``openrouter/ORG/MODEL``, ``together/ORG/MODEL``, ``tinker/ORG/MODEL``,
            ``ollama/MODEL``, ``vllm/MODEL``, ``litellm/PROVIDER/MODEL``, ``local/smollm2-135m`` or
            ``local/path/to/file.gguf``.
            ``openai`` with a base URL is any OpenAI-compatible endpoint. ``batch:`` before any of
            them is the model in waves, at half the price: ``lf.batched``.
        base_url: Takes precedence over the provider's variable (``OPENAI_BASE_URL``, ...).
        api_key: Takes precedence over the provider's variable (``OPENAI_API_KEY``, ...).
        timeout: Seconds for one attempt, or between two lines of a stream.

    Returns:
        The model, which opens no connection before its first request.

    Raises:
        ModelUnavailable: If the provider is unknown, or a key, URL, extra or file is missing; its
            text says the fix.

    Example:
        >>> import lmflow as lf
        >>> lf.model("ollama/MODEL").name
        'ollama/MODEL'
    """
    return _with_retries(_bare_model(name, base_url, api_key, timeout), name)


def model_in(name: str, place: Callable[[], LocalPlace]) -> Model:
    """Make the model that a name means; a local one is given the place whose servers and
    weights it shares.
    """
    return _with_retries(_bare_model(name, place=place), name)


def model_of(source: Model | str) -> Model:
    """Return a model; a name's is made by ``model``. Raises ``TypeError`` for anything else."""
    return model(source) if isinstance(source, str) else checked_model(source)


def live_name(name: str) -> str:
    """Return the name of the model that a name means, live or in waves."""
    return name.removeprefix(IN_BATCHES)


def _with_retries(bare: Model, name: str) -> Model:
    """Return a model with retries; a batched one sends its requests again by itself."""
    return bare if name.startswith(IN_BATCHES) else retried(bare)


def bare_model_of(source: Model | str) -> Model:
    """Return a model; a name's is made without retries. Raises ``TypeError`` as ``model_of``."""
    return _bare_model(source) if isinstance(source, str) else checked_model(source)


def checked_model(value: Any) -> Model:
    """Return a model. Raises ``TypeError``, with the line that makes one, for anything else."""
    if not isinstance(value, type) and isinstance(getattr(value, "name", None), str):
        checked: Model = value
        return checked
    shown = getattr(value, "__name__", "") or clipped(safe_repr(value), 60)
    msg = f"expected a model or its name, found {type(value).__name__} {shown}. {MODEL_FIX}"
    raise TypeError(msg)


def _bare_model(
    name: str,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = SECONDS_PER_ATTEMPT,
    place: Callable[[], LocalPlace] | None = None,
) -> Model:
    """Make a model that fails at its first failure."""
    check_kind("a model's name", name, str, f"Write it like {EXAMPLE_MODEL!r}.")
    for what, text in (("base_url", base_url), ("api_key", api_key)):
        if text is not None and not isinstance(text, str):
            # The value isn't shown: it may hold the key.
            msg = f"expected {what} to be a text or None, found {type(text).__name__}"
            raise TypeError(msg)
    name = well_formed(name)
    if name.startswith(IN_BATCHES):
        return in_waves(_bare_model(live_name(name), base_url, api_key, timeout, place))
    provider, slash, rest = name.partition("/")
    if not slash or not rest:
        raise ModelUnavailable(
            name,
            "it names no provider",
            f"Write provider/model, such as {f'openai/{name}' if name else EXAMPLE_MODEL}.",
        )
    if provider == "local":
        from lmflow.models.local.local import local  # noqa: PLC0415 - needs the extra

        return local(rest, place=place and place())
    if provider == "litellm":
        from lmflow.models.providers.litellm import litellm  # noqa: PLC0415 - needs the extra

        return litellm(rest, api_key=api_key or "", timeout=timeout)
    if provider in PROVIDERS:
        return _http_model(name, base_url, api_key, timeout)
    fix = f"Known: {', '.join(_NAMES)}.{near(provider, _NAMES)}"
    raise ModelUnavailable(name, f"there is no provider {provider!r}", fix)


def _http_model(name: str, base_url: str | None, api_key: str | None, timeout: float) -> Model:
    provider, _, wire = name.partition("/")
    defaults = PROVIDERS[provider]
    url = base_url or os.environ.get(defaults.url_from) or defaults.url
    url = well_formed(url).rstrip("/")
    key = (api_key if api_key is not None else os.environ.get(defaults.key_from, "")).strip()
    _check(name, defaults, url, key)
    endpoint = provider if url == defaults.url else endpoint_class(url)
    if provider == "anthropic":
        return Anthropic(name, wire, url, endpoint, key, timeout)
    key_from = f"api_key=... or {defaults.key_from}"
    if provider == "azure":
        version = os.environ.get("AZURE_OPENAI_API_VERSION") or AZURE_VERSION
        url = f"{url}/openai/deployments/{wire}"
        return OpenAI(name, wire, url, endpoint, key, timeout, version, key_from=key_from)
    if provider == "tinker":
        url = f"{url}{_TINKER_CHAT}"
    return OpenAI(name, wire, url, endpoint, key, timeout, key_from=key_from)


def _check(name: str, defaults: Provider, url: str, key: str) -> None:
    if not url:
        raise ModelUnavailable(
            name,
            "it has no base URL",
            f"Set {defaults.url_from}, or give base_url=..., like {defaults.example}.",
        )
    if problem := url_problem(url):
        raise ModelUnavailable(
            name, problem, f"Write it like {defaults.example}; the key goes in api_key."
        )
    if _UNSENDABLE.search(key):
        raise ModelUnavailable(
            name,
            "its key holds a line end or another character that no header can have",
            f"Set {defaults.key_from}, or api_key=..., to the key alone.",
        )
    if not key and defaults.keyed and url == defaults.url:
        raise ModelUnavailable(
            name,
            "there is no key for it",
            f"Set {defaults.key_from}, or {defaults.url_from} for a server of yours.",
        )

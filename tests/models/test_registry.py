"""The laws of models by name."""

import pytest
from fakes import ask, serving

import lmflow as lf
from lmflow.errors import ModelUnavailable
from lmflow.models.registry import PROVIDERS
from lmflow.testing.models import Door

KEY = "sk-canary-4f9d2c7e81b3"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no base URL in the environment."""
    for known in PROVIDERS.values():
        monkeypatch.delenv(known.key_from, raising=False)
        monkeypatch.delenv(known.url_from, raising=False)
    monkeypatch.delenv("AZURE_OPENAI_API_VERSION", raising=False)


def _words(name: str) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        lf.model(name)
    return str(caught.value)


def test_the_default_endpoint_needs_a_key() -> None:
    """OpenAI without a key is refused, with the variable that mends it."""
    assert "Set OPENAI_API_KEY" in _words("openai/gpt-5-mini")


def test_a_key_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OPENAI_API_KEY the default endpoint is `openai`."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    assert ("openai/gpt-5-mini", "openai") == (
        lf.model("openai/gpt-5-mini").name,
        lf.model("openai/gpt-5-mini").endpoint,
    )


def test_a_model_does_not_show_its_key() -> None:
    """The repr of a model has no key."""
    assert "sk-canary" not in repr(lf.model("openai/gpt-5-mini", api_key="sk-canary"))


def test_a_server_of_ones_own_needs_no_key() -> None:
    """With a base URL no key is asked for; the endpoint is its host and port."""
    assert "127.0.0.1:8080" == lf.model("openai/m", base_url="http://127.0.0.1:8080/v1").endpoint


def test_the_base_url_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_BASE_URL names the endpoint."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example:1/v1")
    assert "models.example:1" == lf.model("openai/m").endpoint


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument is nearer than the variable."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example:1/v1")
    assert "nearer.example" == lf.model("openai/m", base_url="http://nearer.example/v1").endpoint


def test_an_unknown_provider_is_guessed() -> None:
    """A provider that is nearly one of the known gets a hint."""
    assert "Did you mean 'openai'?" in _words("opnai/gpt-5-mini")


def test_an_unknown_provider_is_told_the_known() -> None:
    """The known providers are listed."""
    assert (
        "Known: openai, anthropic, azure, openrouter, together, tinker, ollama, vllm, litellm, local."
        in _words("zzz/x")
    )


@pytest.mark.parametrize("name", ["gpt-5-mini", "", "openai/", "openai"])
def test_a_name_without_provider_is_refused(name: str) -> None:
    """A name is provider/model; the fix shows how to write it."""
    assert "Write provider/model" in _words(name)


def test_a_model_may_have_a_slash() -> None:
    """Only the first slash is a border."""
    assert "openai/org/model" == lf.model("openai/org/model", base_url="http://h/v1").name


async def test_the_wire_name_has_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked for the model's own name; an executor makes a model by name."""
    async with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        async with lf.Executor("openai/org/model") as ex:
            await ex.run(lf.predict("answer", "question -> answer"), question="why?")
    assert "org/model" == server.seen[0].body["model"]


async def test_a_step_may_name_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step's own model is asked instead of the executor's."""
    async with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        async with lf.Executor(lf.scripted(["never"])) as ex:
            trace = await ex.run(
                lf.predict("answer", "question -> answer", model="openai/m"), question="why?"
            )
    assert ({"model": "openai/m", "endpoint": server.place}, 1) == (
        dict(trace.world["models"]["openai/m"]),
        len(server.seen),
    )


@pytest.mark.parametrize(
    ("name", "variable", "endpoint"),
    [
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY", "anthropic"),
        ("openrouter/anthropic/claude-sonnet-4.5", "OPENROUTER_API_KEY", "openrouter"),
    ],
)
def test_a_provider_has_its_key_and_its_name(
    name: str, variable: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its variable a provider is refused with the fix; with it, the endpoint class is the
    provider.
    """
    assert f"Set {variable}" in _words(name)
    monkeypatch.setenv(variable, KEY)
    made = lf.model(name)
    assert (name, endpoint, False) == (made.name, made.endpoint, KEY in repr(made))


@pytest.mark.parametrize("name", ["ollama/llama3.2", "vllm/org/model"])
def test_servers_of_one_s_own_need_no_key(name: str) -> None:
    """Ollama and vLLM are asked on this machine by default; the endpoint class is the provider,
    whatever the port.
    """
    assert name.partition("/")[0] == lf.model(name).endpoint


async def test_a_server_s_key_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for vLLM is sent where there is one, to the base URL that its variable names."""
    async with serving() as server:
        monkeypatch.setenv("VLLM_BASE_URL", server.url)
        monkeypatch.setenv("VLLM_API_KEY", KEY)
        await lf.model("vllm/org/model")(ask(), Door())
    assert ("org/model", f"Bearer {KEY}") == (
        server.seen[0].body["model"],
        server.seen[0].headers["Authorization"],
    )


async def test_azure_has_paths_versions_and_headers_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A deployment is in the path, the version in the query, the key in `api-key` ("REST API
    reference", learn.microsoft.com/azure/ai-services/openai/reference).
    """
    async with serving() as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url.removesuffix("/v1"))
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
        monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "2025-01-01")
        await lf.model("azure/mine")(ask(), Door())
    seen = server.seen[0]
    assert "/openai/deployments/mine/chat/completions?api-version=2025-01-01" == seen.target
    assert (KEY, False) == (seen.headers["api-key"], "Authorization" in seen.headers)


def test_azure_needs_its_endpoint() -> None:
    """There is no default place for deployments."""
    assert (
        "Set AZURE_OPENAI_ENDPOINT, or give base_url=..., like https://NAME.openai.azure.com"
        in _words("azure/mine")
    )


def test_a_given_key_is_enough_for_its_own_place() -> None:
    """A base URL of one's own needs no key; the endpoint is then its host."""
    assert "gateway.example" == lf.model("anthropic/c", base_url="https://gateway.example").endpoint


@pytest.mark.parametrize("url", ["nowhere", "ftp://x/v1", "https://u:p@host/v1"])
def test_a_mistaken_base_url_is_named(url: str) -> None:
    """A base URL that is none, or that holds a password, is refused before anything is sent."""
    with pytest.raises(ModelUnavailable) as caught:
        lf.model("openrouter/x", base_url=url, api_key=KEY)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "meant"), [("antropic", "anthropic"), ("olama", "ollama"), ("azur", "azure")]
)
def test_providers_are_guessed(typed: str, meant: str) -> None:
    """Every provider is suggested where it is nearly written."""
    assert f"Did you mean '{meant}'?" in _words(f"{typed}/x")

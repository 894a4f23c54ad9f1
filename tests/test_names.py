"""The laws of models by name."""

import pytest
from fakes import serving

import lmflow as lf
from lmflow.errors import ModelUnavailable


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no base URL in the environment."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


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
    """With a base URL no key is asked for; the endpoint is its host."""
    assert "127.0.0.1" == lf.model("openai/m", base_url="http://127.0.0.1:8080/v1").endpoint


def test_the_base_url_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_BASE_URL names the endpoint."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example:1/v1")
    assert "models.example" == lf.model("openai/m").endpoint


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument is nearer than the variable."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example:1/v1")
    assert "nearer.example" == lf.model("openai/m", base_url="http://nearer.example/v1").endpoint


def test_an_unknown_provider_is_guessed() -> None:
    """A provider that is nearly one of the known gets a hint."""
    assert "Did you mean 'openai'?" in _words("opnai/gpt-5-mini")


def test_an_unknown_provider_is_told_the_known() -> None:
    """The known providers are listed."""
    assert "Known: openai, anthropic, azure, openrouter, ollama, vllm, litellm, local." in _words("zzz/x")


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
            trace = await ex.run(lf.predict("answer", "question -> answer", model="openai/m"), question="why?")
    assert ({"model": "openai/m", "endpoint": "127.0.0.1"}, 1) == (
        dict(trace.world["models"]["openai/m"]),
        len(server.seen),
    )

"""The laws of costs: whole nano-dollars, exact, and unknown where anything is unknown."""

import subprocess
import sys
from decimal import ROUND_CEILING, Decimal, localcontext

import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.messages.replies import Usage
from lmflow.models.prices import in_batch

AT = 1_790_000_000 * 10**9  # September 2026
PRICES = st.decimals(0, 1000, places=6, allow_nan=False, allow_infinity=False)
TOKENS = st.integers(0, 10**12)
ANY = Usage(1000, 100)


@pytest.mark.parametrize("model", ["local/smollm2-135m", "scripted/model"])
def test_what_runs_here_is_free(model: str) -> None:
    """Local and scripted models cost nothing, however many tokens, counted or not."""
    assert (0, 0, lf.Price(0, 0)) == (
        lf.cost_of(model, ANY, AT),
        lf.cost_of(model, Usage(), AT),
        lf.price_of(model, AT),
    )


@pytest.mark.parametrize(
    "model",
    [
        "openai/nobody-knows",
        "ollama/llama3",
        "vllm/x",
        "azure/my-deployment",
        "what/gpt-5",
        "gpt-5",
        "",
        "litellm/x",
    ],
)
def test_an_unknown_price_is_unknown(model: str) -> None:
    """It is None, never 0."""
    assert (None, None) == (lf.cost_of(model, ANY, AT), lf.price_of(model, AT))


@pytest.mark.parametrize(
    "usage", [Usage(), Usage(1000), Usage(None, 100), Usage(10, 1, 11), Usage(10, 1, 6, 6)]
)
def test_unknown_tokens_are_an_unknown_cost(usage: Usage) -> None:
    """Where tokens aren't counted, or can't be as they are, the cost is None, also by a price of
    one's own.
    """
    assert (None, None) == (lf.cost_of("openai/gpt-5-mini", usage, AT), lf.Price(1, 1).cost(usage))


def test_a_known_price_is_used() -> None:
    """GPT-5 mini is listed at $0.25 a million tokens in, $0.025 cached, $2 out."""
    assert 250_000 + 200_000 == lf.cost_of("openai/gpt-5-mini", ANY, AT)
    assert 500 * 250 + 500 * 25 == lf.cost_of("openai/gpt-5-mini", Usage(1000, 0, 500), AT)


def test_written_tokens_have_their_price() -> None:
    """Claude Sonnet 4.5 is listed at $3 a million in, $0.30 read from the cache, $3.75 written to
    it, $15 out.
    """
    usage = Usage(1000, 10, 100, 200)
    assert 700 * 3000 + 100 * 300 + 200 * 3750 + 10 * 15000 == lf.cost_of(
        "anthropic/claude-sonnet-4-5", usage, AT
    )


def test_dates_in_names_are_understood() -> None:
    """A model's dated name has the price of the model."""
    assert lf.cost_of("openai/gpt-5-mini", ANY, AT) == lf.cost_of(
        "openai/gpt-5-mini-2025-08-07", ANY, AT
    )


@pytest.mark.parametrize(
    "model", ["openrouter/anthropic/claude-sonnet-4.5", "litellm/anthropic/claude-sonnet-4-5"]
)
def test_resellers_have_prices(model: str) -> None:
    """Models by way of another are priced by that way's list."""
    assert 3_000_000 + 1_500_000 == lf.cost_of(model, ANY, AT)


def test_the_price_to_reserve_by_is_the_highest() -> None:
    """Whatever the tier, no call costs more than the price that is reserved."""
    price = lf.price_of("anthropic/claude-sonnet-4-5", AT)
    assert price is not None
    for prompt in (1000, 199_000, 201_000, 900_000):
        for usage in (
            Usage(prompt, 500),
            Usage(prompt, 500, prompt),
            Usage(prompt, 500, 0, prompt),
        ):
            assert (price.cost(usage) or 0) >= (
                lf.cost_of("anthropic/claude-sonnet-4-5", usage, AT) or 10**20
            )


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**5))
def test_the_quick_sum_is_the_package_s(fresh: int, told: int, cached: int, written: int) -> None:
    """A flat price gives to the nano-dollar what the package itself computes."""
    usage = Usage(fresh + cached + written, told, cached, written)
    counted = Counted(
        input_tokens=usage.prompt,
        output_tokens=told,
        cache_read_tokens=cached,
        cache_write_tokens=written,
    )
    for name in ("gpt-5-mini", "o1", "gpt-4.1"):
        exact = calc_price(counted, name, provider_id="openai").total_price * 10**9
        assert int(exact.to_integral_value(ROUND_CEILING)) == lf.cost_of(
            f"openai/{name}", usage, AT
        ), name


def test_prices_of_one_s_own_win() -> None:
    """A price that is given is used for its model; the others are looked up."""
    cost = lf.priced({"openai/gpt-5-mini": lf.Price("1", 2), "vllm/mine": lf.Price(0, 0)})
    assert 1_000_000 + 200_000 == cost("openai/gpt-5-mini", ANY, AT)
    assert (0, None) == (cost("vllm/mine", ANY, AT), cost("vllm/other", ANY, AT))


@given(PRICES, PRICES, st.none() | PRICES, st.none() | PRICES, TOKENS, TOKENS, TOKENS, TOKENS)
def test_a_cost_is_exact(  # noqa: PLR0913, PLR0917 - every part of a price and of a usage
    inward: Decimal,
    out: Decimal,
    cached: Decimal | None,
    written: Decimal | None,
    fresh: int,
    c: int,
    w: int,
    told: int,
) -> None:
    """The cost is the exact sum, a part of a nano-dollar rounded up: there is no float in it."""
    price = lf.Price(inward, out, cached, written)
    with localcontext() as context:
        context.prec = 100
        exact = fresh * inward + c * (inward if cached is None else cached) + told * out
        exact = (exact + w * (inward if written is None else written)) * 1000
        expected = int(exact.to_integral_value(ROUND_CEILING))
    assert expected == price.cost(Usage(fresh + c + w, told, c, w))


def test_floats_are_taken_as_they_are_written() -> None:
    """0.1 is a tenth of a dollar, not the float that is near it."""
    assert lf.Price("0.1", "0.3") == lf.Price(0.1, 0.3)


def test_asking_for_a_price_needs_no_network() -> None:
    """The price list is the installed package's own: no socket is opened."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('a socket')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "import lmflow as lf\n"
        "from lmflow.messages.replies import Usage\n"
        f"print(lf.cost_of('openai/gpt-5-mini', Usage(1000, 100), {AT}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "450000" == done.stdout.strip()


def test_a_batch_costs_half() -> None:
    """A batch costs half the live price, rounded up; an unknown price stays unknown."""
    live = lf.priced({"vllm/m": lf.Price(1, 2)}, others=lambda *_: None)
    batch = in_batch(live)
    assert 5_000 == batch("vllm/m", Usage(4, 3), 0)
    assert 500 == in_batch(lambda *_: 999)("any", Usage(1, 1), 0)
    assert None is batch("vllm/other", Usage(4, 3), 0)
    assert 0 == in_batch(lf.cost_of)("local/m", Usage(4, 3), 0)


def test_the_listed_price_of_batches_counts() -> None:
    """Of a listed model a batch costs what the list says, at most the live price."""
    usage = Usage(1_000_000, 1_000_000)
    live = lf.cost_of("anthropic/claude-haiku-4-5", usage, AT)
    batch = in_batch(lf.cost_of)("anthropic/claude-haiku-4-5", usage, AT)
    assert live is not None
    assert live // 2 == batch

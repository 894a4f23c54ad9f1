"""``batched``: a model whose requests go out in waves, at half the price."""

from __future__ import annotations

from lmflow.errors import listed, near
from lmflow.models.base import Model
from lmflow.models.lanes.base import Lane
from lmflow.models.lanes.model import ATTEMPTS, LANES, Batched, WaveRules, in_waves
from lmflow.models.registry import bare_model_of


def batched(  # noqa: PLR0913 - each is a choice of its own
    model: Model | str,
    *,
    lane: Lane | str | None = None,
    attempts: int = ATTEMPTS,
    size: int | None = None,
    quiet: float = 1.0,
    longest: float = 600.0,
    poll: float = 30.0,
    max_waves: int | None = None,
) -> Batched:
    """Wraps a model so that its requests go out in waves by the provider's batch lane, at half the
    price and within a day.

    Executions wait at a request until all that are open wait, so a map of three steps takes three
    waves if the executor's ``concurrency`` is at least its number of rows. Replies, keys and roots
    are those of live requests. What a killed or stopped process has submitted is found again by
    ``resume``, and never submitted twice. Time limits of steps and executions don't count waiting.

    Args:
        model: The model to wrap, or its name, ``provider/model``. ``batch:provider/model`` is the
            name of the wrapped model.
        lane: ``openai``, ``anthropic`` or a lane of your own; by the model's URL if ``None``.
        attempts: How often a request goes out at most if it expires or fails transiently.
        size: The requests with which a wave is full, by default as many as a batch may have.
        quiet: The seconds for which nothing else must have been at work before a wave goes out.
        longest: The seconds after which a wave goes out in any case.
        poll: The seconds between two questions how far a batch is.
        max_waves: The most waves of one executor; before another one goes out, the run stops with
            ``WaveStopped`` and can be resumed.

    Returns:
        A model with the wrapped model's name and endpoint.

    Raises:
        ValueError: There is no such lane, or a number is too small.
        ModelUnavailable: The named model can't be used.

    Example:
        >>> import lmflow as lf
        >>> lf.batched("ollama/MODEL", lane="openai").name
        'ollama/MODEL'
    """
    checked = _lane(lane)
    for name, number in (("attempts", attempts), ("size", size), ("max_waves", max_waves)):
        if number is not None and number < 1:
            msg = f"batched({name}=...) must be at least 1, found {number!r}"
            raise ValueError(msg)
    most = checked.most_requests if checked is not None else WaveRules().size
    rules = WaveRules(size or most, quiet, longest, poll, max_waves)
    return in_waves(bare_model_of(model), checked, rules, attempts)


def _lane(lane: Lane | str | None) -> Lane | None:
    if not isinstance(lane, str):
        return lane
    if lane not in LANES:
        msg = f"there is no lane {lane!r}. Lanes: {listed(LANES)}.{near(lane, LANES)}"
        raise ValueError(msg)
    return LANES[lane]

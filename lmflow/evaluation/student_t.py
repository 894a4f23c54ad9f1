"""Student's t distribution, from the regularized incomplete beta function."""

from __future__ import annotations

import math

_TINY = 1e-300  # stands for a denominator of 0 in Lentz's method, which divides by it
_CLOSE = 1e-15  # relative precision at which the iterations stop
_STEPS = 500


def t_tail(t: float, df: float) -> float:
    """Return the probability that |T| is at least |t|, with ``df`` degrees of freedom."""
    return _beta(df / 2, 0.5, df / (df + t * t))


def t_quantile(p: float, df: float) -> float:
    """Return the t above which T lies with probability 1 - p, for 0.5 <= p < 1:
    ``t_quantile(0.975, 9)`` is 2.262.
    """
    # Bisection: slower than Newton's method, but it cannot leave the bracket, and with one degree
    # of freedom the tail is so heavy that Newton's steps overshoot.
    low, high = 0.0, 1.0
    while t_tail(high, df) > 2 * (1 - p):
        low, high = high, high * 2
    while high - low > _CLOSE * high:
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if t_tail(middle, df) > 2 * (1 - p):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b)."""
    if x in {0.0, 1.0}:
        return x
    # The continued fraction converges fast only for small x; I_x(a, b) = 1 - I_{1-x}(b, a).
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    # Gamma functions as logarithms: with hundreds of degrees of freedom they overflow a float.
    log_beta = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = log_beta + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / a * _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of I_x(a, b) by Lentz's method (Abramowitz and Stegun
    26.5.8).
    """
    value = c = 1.0
    d = 0.0
    for step in range(_STEPS):
        term = _coefficient(step, a, b, x)
        d = 1 / _nonzero(1 + term * d)
        c = _nonzero(1 + term / c)
        value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return value - 1


def _coefficient(step: int, a: float, b: float, x: float) -> float:
    m = step // 2
    if step == 0:
        return 1.0
    if step % 2 == 0:
        return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY

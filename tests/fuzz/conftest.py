"""Fuzz tests: whatever comes from outside, nothing but an ``LmflowError`` comes out.

In CI each test draws as many examples as any other. With ``LMFLOW_FUZZ=N`` each draws N: ``make
fuzz``. So tests in this folder set no ``max_examples`` of their own.
"""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("LMFLOW_FUZZ", "0"))

settings.register_profile(
    "fuzz",
    max_examples=max(EXAMPLES, 1),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
if EXAMPLES:
    settings.load_profile("fuzz")

"""A page whose fences have run, for tests of what they defined."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest

from desk import Desk
from fences import SYBIL
from paths import DOCS


@contextlib.contextmanager
def read(page: str) -> Iterator[dict[str, Any]]:
    """What a page's fences defined, run from top to bottom; afterwards what they opened is closed."""
    document = SYBIL.parse(DOCS / page)
    try:
        for example in document:
            with contextlib.suppress(SkipTest):
                example.evaluate()
        yield document.namespace
    finally:
        Desk.leave(document.namespace)

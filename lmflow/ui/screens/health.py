"""The screen Health: what ``lmflow doctor`` finds, and every hash of the store derived again."""

from __future__ import annotations

import attrs

from lmflow.ui.pages import Asked, Screen, Shown, command_line


def load_health(asked: Asked) -> Shown:
    """Check the installation and the store; nothing is sent to an endpoint."""
    data = {"checks": list(asked.sources.checks()), "store": asked.sources.store}
    return Shown("Health", command_line("doctor"), data)


HEALTH = Screen("/health", "health.html", load_health, "Health")


def load_hashes(asked: Asked) -> Shown:
    """Derive every hash of the store again, which takes a while in a large one."""
    found = asked.reader.check()
    return Shown("Hashes", command_line("verify"), {"check": attrs.asdict(found)})


HASHES = Screen("/health/hashes", "hashes.html", load_hashes)

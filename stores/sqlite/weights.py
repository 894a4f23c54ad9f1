"""The files of trained weights beside a SQLite store."""

from __future__ import annotations

from pathlib import Path

from lmflow.values.hashed_files import HashedFiles


def weights_folder(store: Path) -> HashedFiles:
    """Return the folder of the weights that versions of a store name: ``STORE.weights``."""
    return HashedFiles(store.with_name(f"{store.name}.weights"))

"""Texts that name pictures, sounds and files, resolved to the media themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

from lmflow.signatures.fields import (
    holds_media,
    is_media_type,
    item_types,
    origin_and_args,
    unwrap_annotated,
)
from lmflow.signatures.wire_types import SEQUENCES
from lmflow.values.media import Media, is_url
from lmflow.values.media_source import file_within


def resolve_media(
    value: Any, kind: Any, folder: Path, allowed: Sequence[Path] | None = None
) -> Any:
    """Replace the texts in a value by the media that they name: a URL, or a path in ``folder``.

    With ``allowed`` the files must be in ``folder`` or in one of these folders; ``None`` allows any
    file, which is only for what a person wrote. ``BadMedia`` if none is there.
    """
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if is_media_type(inner):
        return _resolved(value, inner, folder, allowed)
    if origin is Union:
        media_types = [arg for arg in args if holds_media(arg)]
        if value is None or len(media_types) != 1:
            return value
        return resolve_media(value, media_types[0], folder, allowed)
    if isinstance(value, list) and origin in SEQUENCES:
        return [
            resolve_media(item, kind, folder, allowed)
            for item, kind in zip(value, item_types(args, len(value)), strict=True)
        ]
    return value


def _resolved(value: Any, kind: type[Media], folder: Path, allowed: Sequence[Path] | None) -> Any:
    """Return the medium that a text names; any other value as it is."""
    if not isinstance(value, str):
        return value
    if is_url(value):
        return kind(value)
    if allowed is None:
        return kind(folder / value)
    return kind(file_within(kind.__name__, value, folder, allowed))

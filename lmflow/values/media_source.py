"""The content and type of a picture, sound or file, read from bytes, a path or a data URL."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from lmflow.errors import BadMedia
from lmflow.values.unicode import well_formed

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),(.*)", re.DOTALL | re.IGNORECASE)
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"%PDF-", "application/pdf"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_ENDINGS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
}
"""Media types by the endings of names. The table of ``mimetypes`` differs between machines, and so
would digests.
"""


_ALLOW = (
    "Move the file there, or allow its folder: allow_files=DIR in Python, --allow-files DIR in the "
    "shell."
)


def read_source(kind: str, source: bytes | str | os.PathLike[str]) -> tuple[bytes, str, str]:
    """The content of a source, and the media type and name that the source states, if it does.
    ``BadMedia`` names the ``kind`` of the value.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "", ""
    if isinstance(source, str) and source.startswith("data:"):
        return _read_data_url(kind, source)
    path = Path(source)
    try:
        return path.read_bytes(), "", path.name
    except OSError as error:
        problem = f"{str(path)!r:.200} can't be read ({error.strerror})"
        raise BadMedia(kind, problem, "Name a file.") from None
    except ValueError:  # NUL, or half of a surrogate pair
        problem = f"{str(path)!r:.200} can't be the name of a file"
        raise BadMedia(kind, problem, "Name a file.") from None


def file_within(kind: str, text: str, folder: Path, allowed: Sequence[Path]) -> Path:
    """The file that a row of a data set names by a path in ``folder``, or by a ``file://`` URL.

    Whoever wrote the data must not choose which other files of this machine are sent to a model, so
    the file itself, links followed, must be in ``folder`` or in one of ``allowed``. ``BadMedia``
    names the ``kind`` of the value.
    """
    path = folder / (_path_of_url(kind, text) if text[:5].lower() == "file:" else text)
    try:
        real = path.resolve()
        inside = any(real.is_relative_to(place.resolve()) for place in (folder, *allowed))
        special = real.exists() and not real.is_file()
    except (OSError, RuntimeError, ValueError):  # a circle of links, a name too long, NUL
        problem = f"{text!r:.200} can't be the name of a file"
        raise BadMedia(kind, problem, "Name a file.") from None
    if not inside:
        problem = f"{text!r:.200} is outside the folder of the data, {str(folder.resolve())!r:.200}"
        raise BadMedia(kind, problem, _ALLOW)
    if special:
        raise BadMedia(kind, f"{text!r:.200} is not a regular file", "Name a file.")
    return path


def _path_of_url(kind: str, url: str) -> str:
    """The path that a ``file://`` URL names on this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("file://?")
    if parts.netloc not in {"", "localhost"} or not parts.path:
        problem = f"{url!r:.200} names no file of this machine"
        raise BadMedia(kind, problem, "Write a path in the folder of the data.")
    from urllib.request import url2pathname  # noqa: PLC0415 - slow to import, and seldom used

    return url2pathname(parts.path)


def decode_base64(kind: str, data: bytes) -> bytes:
    """The bytes that base64 stands for. ``BadMedia`` names the ``kind`` of the value."""
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        problem = f"its base64 can't be read ({error})"
        raise BadMedia(kind, problem, "Encode its bytes anew.") from None


def type_by_content(content: bytes) -> str:
    """The media type that the first bytes of the content show; empty if they show none."""
    if content[:4] == b"RIFF":
        return _RIFF.get(content[8:12], "")
    return next((kind for begins, kind in _BEGINNINGS if content.startswith(begins)), "")


def type_by_name(name: str) -> str:
    """The media type that the ending of a name shows; empty if it shows none."""
    return _ENDINGS.get(name.rpartition(".")[2].lower(), "")


def _read_data_url(kind: str, url: str) -> tuple[bytes, str, str]:
    match = _DATA_URL.fullmatch(well_formed(url))
    if match is None:
        problem = f"{url[:40]!r} is not a data URL"
        raise BadMedia(kind, problem, 'Write "data:image/png;base64,...".')
    words = match[2].split(";")
    names = (unquote(word.removeprefix("name=")) for word in words if word.startswith("name="))
    data = unquote_to_bytes(match[3])
    content = decode_base64(kind, data) if "base64" in words else data
    return content, match[1], next(names, "")

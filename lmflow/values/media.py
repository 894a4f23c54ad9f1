"""Pictures, sounds and files as values: named by the hash of their content, which a store keeps
once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, unquote_to_bytes

import attrs

from lmflow.errors import BadMedia, NoContent
from lmflow.values.record import Leaf, lean

SHA = "sha256:"
MARK = '"media_type":"'
"""What stands in each canonical form that media stand in."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|hidden:[0-9a-f]{64}")
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")
_DATA = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),(.*)", re.DOTALL | re.IGNORECASE)
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"fLaC", "audio/flac"), (b"OggS", "audio/ogg"), (b"ID3", "audio/mpeg"), (b"\xff\xfb", "audio/mpeg"),
    (b"%PDF-", "application/pdf"),
)  # fmt: skip
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_ENDINGS = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg", "m4a": "audio/mp4",
    "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html",
    "json": "application/json",
}  # fmt: skip
"""Media types by the endings of names. A table of our own: those of machines differ, and so would
digests.
"""

_UNITS = ((1_000_000, "MB"), (1_000, "kB"))

Content = bytes | Callable[[], bytes] | None


@attrs.frozen(init=False, slots=False, repr=False, auto_attribs=False)
class Media(Leaf):
    """Content with its media type. Abstract: make an ``Image``, an ``Audio`` or a ``File``.

    ``source`` is bytes, a path, a data URL, or an http(s) URL, which is passed on to the model as
    it is: such a value is named by its URL and not by what is there. ``digest`` is ``sha256:`` and
    the hash of the content in hex, empty for a URL. Two are equal when they have the same digest,
    media type, URL and name. Where ``media_type`` isn't given, it is told by how the content begins
    or the name ends. ``BadMedia`` says what can't be read.
    """

    media_type: str = attrs.field()
    digest: str = attrs.field(default="")
    size: int = attrs.field(default=0)
    url: str = attrs.field(default="")
    name: str = attrs.field(default="")

    family: ClassVar[str] = ""
    """What its media types begin with."""

    def __init__(
        self, source: bytes | str | os.PathLike[str], media_type: str = "", *, name: str = ""
    ) -> None:
        where = type(self).__name__
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            if "@" in source.partition("://")[2].partition("/")[0]:
                raise BadMedia(
                    where,
                    "its URL holds a user or password, which would be recorded",
                    "Fetch it by a tool.",
                )
            _set(
                self,
                _checked(self, media_type or _by_name(source.partition("?")[0])),
                url=source,
                name=name,
            )
            return
        content, said, called = _read(where, source)
        kind = media_type or said or _by_content(content) or _by_name(name or called)
        if not kind:
            raise BadMedia(where, "nothing tells its type", 'Say which, media_type="image/png".')
        named = (name or called) if type(self) is File else ""
        digest = SHA + hashlib.sha256(content).hexdigest()
        _set(self, _checked(self, kind), content, digest=digest, size=len(content), name=named)

    def __str__(self) -> str:
        """How people are shown it, never as its content: ``<image/png, 12 kB,
        sha256:ab12cd34ef56>``.
        """
        kind = self.media_type or type(self).__name__.lower()
        if self.url:
            return f"<{kind}, {self.url if len(self.url) <= _WIDEST else self.url[:_WIDEST] + '…'}>"
        named = f"{self.name}, " if self.name else ""
        return f"<{named}{kind}, {_sized(self.size)}, {self.digest[: len(SHA) + 12] if self.known else 'redacted'}>"

    def __repr__(self) -> str:
        return f"{type(self).__name__}{str(self).replace('<', '(', 1)[:-1]})"

    @property
    def known(self) -> bool:
        """Whether it is named by its content."""
        return self.digest.startswith(SHA)

    @property
    def held(self) -> bool:
        """Whether its content is at hand, or may be read from where it is kept."""
        return self._content is not None

    @property
    def data(self) -> bytes:
        """The content. ``NoContent`` where it isn't here: of a URL, of a redacted recording, swept
        from its store.
        """
        content = self._content
        if content is None:
            raise NoContent(str(self))
        return content if isinstance(content, bytes) else content()

    @property
    def data_url(self) -> str:
        """The content as a data URL. ``NoContent``."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"

    def json(self) -> dict[str, Any]:
        """What stands for it in records, keys and files: its digest, or its URL, not its content."""
        return {"is": type(self).__name__, **lean(self)}

    def whole(self) -> dict[str, Any]:
        """``json`` with the content in it as base64 (``data``), where it is named by that: for
        files. ``NoContent``.
        """
        return {
            **self.json(),
            **({"data": base64.b64encode(self.data).decode("ascii")} if self.known else {}),
        }

    @property
    def _content(self) -> Content:
        content: Content = vars(self)["_held"]
        return content


class Image(Media):
    """A picture, as an input of a step: ``"picture: Image, question -> answer"``. See ``Media``."""

    family = "image/"


class Audio(Media):
    """A sound, as an input of a step: ``"recording: Audio -> transcript"``. See ``Media``."""

    family = "audio/"


class File(Media):
    """A document, as an input of a step: ``"report: File, question -> answer"``. Its ``name`` is
    told to the model.

    See ``Media``.
    """


KINDS: Mapping[str, type[Media]] = {kind.__name__: kind for kind in (Image, Audio, File)}
_WIDEST = 80
_TEXTS = ("media_type", "digest", "url", "name")


def is_url(text: str) -> bool:
    """Whether a text is a URL that names content: of data, or to be passed on."""
    return text.startswith(("http://", "https://", "data:"))


def is_media(value: Any) -> bool:
    """Whether a JSON value is just what ``Media.json`` gives, whoever wrote it."""
    if not isinstance(value, Mapping) or "media_type" not in value or value.get("is") not in KINDS:
        return False
    kind, media_type, digest, url = (
        value.get(name, "") for name in ("is", "media_type", "digest", "url")
    )
    texts = all(isinstance(value.get(name, ""), str) for name in _TEXTS)
    return (
        texts
        and value.keys() <= {"is", "size", *_TEXTS}
        and type(value.get("size", 0)) is int
        and (
            not media_type
            or (media_type.startswith(KINDS[kind].family) and bool(_TYPE.fullmatch(media_type)))
        )
        and bool(_DIGEST.fullmatch(digest) if digest else url.startswith(("http://", "https://")))
    )


def media_of(value: Mapping[str, Any], content: Content = None) -> Media:
    """The media that a JSON value stands for, with its content where that is given, or is in it as
    base64 (``data``).

    ``BadMedia`` where it is malformed, or the content isn't what the digest says.
    """
    fields = {name: held for name, held in value.items() if name not in {"is", "data"}}
    kind: type[Media] = KINDS[value["is"]]
    if "data" in value:
        content = _decoded(kind.__name__, str(value["data"]).encode("utf-8"))
    if isinstance(content, bytes) and SHA + hashlib.sha256(content).hexdigest() != value.get(
        "digest"
    ):
        raise BadMedia(
            kind.__name__, "the content hashes to something else than its digest", "It was changed."
        )
    made: Any = object.__new__(kind)
    try:
        _set(made, _checked(made, fields.pop("media_type")), content, **fields)
    except TypeError:
        raise BadMedia(
            kind.__name__,
            f"it has {', '.join(map(str, fields))}",
            "Give its digest, size and name, or URL.",
        ) from None
    found: Media = made
    digest, url = made.digest, made.url
    if not isinstance(digest, str) or not (_DIGEST.fullmatch(digest) if digest else url):
        raise BadMedia(
            kind.__name__, f"its digest is {digest!r:.80}", 'Write "sha256:" and 64 hex digits.'
        )
    return found


def media_in(value: Any) -> Iterator[Media]:
    """The media in a value, in order, each as often as it stands there."""
    if isinstance(value, Media):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from media_in(item)
    elif isinstance(value, (list, tuple, frozenset)):
        for item in value:
            yield from media_in(item)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from media_in(getattr(value, field.name))


def whole(value: Any) -> Any:
    """What JSON writes for what isn't JSON: the ``default`` of ``json.dumps``, for files that hold
    contents.
    """
    if isinstance(value, Media):
        return value.whole()
    raise TypeError(type(value).__name__)


def attached(value: Any, content: Callable[[str], Content], *, files: bool = False) -> Any:
    """A JSON value with media in place of what stands for them; ``content`` gives the content of a
    digest. In ``files`` the content may stand beside it (``Media.whole``): ``BadMedia`` where
    that isn't what the digest says.
    """
    if is_media(value):
        return media_of(value, content(value.get("digest", "")))
    if files and isinstance(value, dict) and "data" in value and is_media(_bare(value)):
        return media_of(value)
    if isinstance(value, dict):
        return {name: attached(item, content, files=files) for name, item in value.items()}
    return (
        [attached(item, content, files=files) for item in value]
        if isinstance(value, list)
        else value
    )


def _bare(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != "data"}


def hidden(media: Media, digest: str, name: str, url: str) -> Media:
    """The media without content and under another digest (64 hex digits), name and URL, as a
    redacted store has it.
    """
    made = object.__new__(type(media))
    _set(made, media.media_type, None, digest=f"hidden:{digest}" if media.digest else "", size=media.size, url=url,
         name=name)  # fmt: skip
    return made


def _set(media: Any, media_type: str, content: Content = None, **fields: Any) -> None:
    media.__attrs_init__(media_type, **fields)
    object.__setattr__(media, "_held", content)


def _checked(media: Media, media_type: Any) -> str:
    """A media type in lower case without parameters, that fits the class. ``BadMedia``."""
    kind = str(media_type).partition(";")[0].strip().lower()
    if kind and (not _TYPE.fullmatch(kind) or not kind.startswith(media.family)):
        wanted = f"{media.family}..." if media.family else "type/subtype"
        raise BadMedia(
            type(media).__name__,
            f"it would be of type {kind!r:.80}",
            f"Give it {wanted}; a File takes any.",
        )
    return kind


def _read(where: str, source: bytes | str | os.PathLike[str]) -> tuple[bytes, str, str]:
    """Content, and the media type and name that its source tells."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "", ""
    if isinstance(source, str) and source.startswith("data:"):
        return _of_data_url(where, source)
    path = Path(source)
    try:
        return path.read_bytes(), "", path.name
    except OSError as error:
        raise BadMedia(
            where, f"{str(path)!r:.200} can't be read ({error.strerror})", "Name a file."
        ) from None


def _of_data_url(where: str, url: str) -> tuple[bytes, str, str]:
    match = _DATA.fullmatch(url)
    if match is None:
        raise BadMedia(where, f"{url[:40]!r} is no data URL", 'Write "data:image/png;base64,...".')
    words = match[2].split(";")
    name = next(
        (unquote(word.removeprefix("name=")) for word in words if word.startswith("name=")), ""
    )
    data = unquote_to_bytes(match[3])
    return (_decoded(where, data) if "base64" in words else data), match[1], name


def _decoded(where: str, data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadMedia(
            where, f"its base64 can't be read ({error})", "Encode its bytes anew."
        ) from None


def _by_content(content: bytes) -> str:
    if content[:4] == b"RIFF":
        return _RIFF.get(content[8:12], "")
    return next((kind for begins, kind in _BEGINNINGS if content.startswith(begins)), "")


def _by_name(name: str) -> str:
    return _ENDINGS.get(name.rpartition(".")[2].lower(), "")


def _sized(size: int) -> str:
    return next((f"{size / unit:.0f} {name}" for unit, name in _UNITS if size >= unit), f"{size} B")

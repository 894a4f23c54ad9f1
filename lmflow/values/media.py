"""Pictures, sounds and files as values: named by the hash of their content, which a store keeps
once.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

import attrs

from lmflow.errors import BadMedia, NoContent
from lmflow.errors.options import MEDIA_OPTIONS, explains_options
from lmflow.values.attributes import lean
from lmflow.values.canonical_text import Leaf
from lmflow.values.limits import too_deep
from lmflow.values.media_source import decode_base64, read_source, type_by_content, type_by_name
from lmflow.values.printing import sized
from lmflow.values.unicode import well_formed

SHA = "sha256:"
MARK = '"media_type":"'
"""A text in the canonical form of each value that holds media, so that others need no search."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|hidden:[0-9a-f]{64}")
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")

Content = bytes | Callable[[], bytes] | None


@attrs.frozen(init=False, slots=False, repr=False, auto_attribs=False)
class Media(Leaf):
    """Content with its media type. Abstract: make an ``Image``, an ``Audio`` or a ``File``.

    Two values are equal if they have the same digest, media type, URL and name. ``digest`` is
    ``sha256:`` and the hash of the content in hex, empty for a URL; ``size`` is in bytes.

    Args:
        source: Bytes, a path, a data URL, or an http(s) URL. An http(s) URL is passed on to the
            model unread: the value is identified by its URL, not by the content there.
        media_type: ``type/subtype``; by default the type that the content's first bytes or the
            name's ending show.
        name: A file's name, which the model is told.

    Raises:
        BadMedia: The source can't be read, or doesn't fit the class.

    Example:
        >>> Image(b"GIF89a...").media_type
        'image/gif'
    """

    media_type: str = attrs.field()
    digest: str = attrs.field(default="")
    size: int = attrs.field(default=0)
    url: str = attrs.field(default="")
    name: str = attrs.field(default="")

    family: ClassVar[str] = ""
    """The beginning of the media types that a class takes."""

    @explains_options(MEDIA_OPTIONS)
    def __init__(
        self, source: bytes | str | os.PathLike[str], media_type: str = "", *, name: str = ""
    ) -> None:
        where = type(self).__name__
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            if "@" in source.partition("://")[2].partition("/")[0]:
                problem = "its URL holds a user or password, which would be recorded"
                raise BadMedia(where, problem, "Fetch it by a tool.")
            kind = media_type or type_by_name(source.partition("?")[0])
            _set(self, _checked(self, kind), url=well_formed(source), name=well_formed(name))
            return
        content, stated_type, source_name = read_source(where, source)
        name = well_formed(name or source_name)
        kind = media_type or stated_type or type_by_content(content) or type_by_name(name)
        if not kind:
            raise BadMedia(where, "nothing tells its type", 'Say which, media_type="image/png".')
        name = name if type(self) is File else ""
        digest = _sha256(content)
        _set(self, _checked(self, kind), content, digest=digest, size=len(content), name=name)

    def __str__(self) -> str:
        """The value as people read it, without its content: ``<image/png, 12 kB,
        sha256:ab12cd34ef56>``.
        """
        kind = self.media_type or type(self).__name__.lower()
        if self.url:
            url = self.url if len(self.url) <= _WIDEST else f"{self.url[:_WIDEST]}…"
            return f"<{kind}, {url}>"
        digest = self.digest[: len(SHA) + 12] if self.known else "redacted"
        name = f"{self.name}, " if self.name else ""
        return f"<{name}{kind}, {sized(self.size)}, {digest}>"

    def __repr__(self) -> str:
        return f"{type(self).__name__}{str(self).replace('<', '(', 1)[:-1]})"

    @property
    def known(self) -> bool:
        """Tell whether the value is identified by its content: not by a URL, and not redacted."""
        return self.digest.startswith(SHA)

    @property
    def held(self) -> bool:
        """Tell whether the content is in memory or can be read from its store."""
        return self._content is not None

    @property
    def data(self) -> bytes:
        """The content, in bytes.

        Raises:
            NoContent: The value is a URL, comes from a redacted recording, or its content was swept
                from its store.
        """
        content = self._content
        if content is None:
            raise NoContent(str(self))
        return content if isinstance(content, bytes) else content()

    @property
    def data_url(self) -> str:
        """The content as a data URL. ``NoContent`` as for ``data``."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"

    def json(self) -> dict[str, Any]:
        """The value in records, keys and files: its digest or URL, type, size and name, without
        content.
        """
        return {"is": type(self).__name__, **lean(self)}

    def keys(self) -> Iterable[str]:
        """The names in ``json``, so that ``dict(media)`` is that description."""
        return self.json().keys()

    def __getitem__(self, name: str) -> Any:
        return self.json()[name]

    def whole(self) -> dict[str, Any]:
        """The value in files that carry content: ``json`` with the content as base64 (``data``), if
        it has a digest. ``NoContent`` as for ``data``.
        """
        if not self.known:
            return self.json()
        return {**self.json(), "data": base64.b64encode(self.data).decode("ascii")}

    @property
    def _content(self) -> Content:
        content: Content = vars(self)["_source"]
        return content


class Image(Media):
    """A picture, as an input of a step: ``"picture: Image, question -> answer"``. See ``Media``."""

    family = "image/"


class Audio(Media):
    """A sound, as an input of a step: ``"recording: Audio -> transcript"``. See ``Media``."""

    family = "audio/"


class File(Media):
    """A document, as an input of a step: ``"report: File, question -> answer"``. The model is told
    its ``name``.

    See ``Media``.
    """


KINDS: Mapping[str, type[Media]] = {kind.__name__: kind for kind in (Image, Audio, File)}
_WIDEST = 80
_TEXTS = ("media_type", "digest", "url", "name")


def is_url(text: str) -> bool:
    """Tell whether a text is a data URL or an http(s) URL."""
    return text.startswith(("http://", "https://", "data:"))


def is_media(value: Any) -> bool:
    """Tell whether a JSON value has the form that ``Media.json`` gives, whoever wrote it."""
    if not isinstance(value, Mapping) or "media_type" not in value or value.get("is") not in KINDS:
        return False
    if not value.keys() <= {"is", "size", *_TEXTS} or type(value.get("size", 0)) is not int:
        return False
    if not all(isinstance(value.get(name, ""), str) for name in _TEXTS):
        return False
    media_type, digest, url = (value.get(name, "") for name in ("media_type", "digest", "url"))
    family = KINDS[value["is"]].family
    if media_type and not (media_type.startswith(family) and _TYPE.fullmatch(media_type)):
        return False
    return bool(_DIGEST.fullmatch(digest)) if digest else url.startswith(("http://", "https://"))


def media_of(value: Mapping[str, Any], content: Content = None) -> Media:
    """The media that a JSON value describes, with the content, if the caller has it or the value
    holds it as base64 (``data``).

    Raises:
        BadMedia: The value is malformed, or the content doesn't hash to the digest.
    """
    fields = {name: item for name, item in value.items() if name not in {"is", "data"}}
    kind: type[Media] = KINDS[value["is"]]
    where = kind.__name__
    if "data" in value:
        content = decode_base64(where, str(value["data"]).encode("utf-8"))
    if isinstance(content, bytes) and _sha256(content) != value.get("digest"):
        problem = "the content hashes to something else than its digest"
        raise BadMedia(where, problem, "It was changed.")
    media: Any = object.__new__(kind)
    try:
        _set(media, _checked(media, fields.pop("media_type")), content, **fields)
    except TypeError:
        problem = f"it has {', '.join(map(str, fields))}"
        raise BadMedia(where, problem, "Give its digest, size and name, or URL.") from None
    identified = _DIGEST.fullmatch(str(media.digest)) if media.digest else media.url
    if not isinstance(media.digest, str) or not identified:
        problem = f"its digest is {media.digest!r:.80}"
        raise BadMedia(where, problem, 'Write "sha256:" and 64 hex digits.')
    return cast("Media", media)


def media_in(value: Any) -> Iterator[Media]:
    """The media in a value, in order, each as often as it occurs."""
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


def json_with_content(value: Any) -> Any:
    """The ``default`` of ``json.dumps`` for files that hold contents: media with their content.
    ``TypeError`` for any other value.
    """
    if isinstance(value, Media):
        return value.whole()
    raise TypeError(type(value).__name__)


def attach_media(value: Any, content: Callable[[str], Content], *, files: bool = False) -> Any:
    """A JSON value in which each description of media has become the media; ``content`` finds the
    content of a digest.

    In ``files`` a description may carry its content (``Media.whole``): ``BadMedia`` if the
    content doesn't hash to the digest. ``BadValue`` if the value is nested too deeply.
    """
    try:
        return _attach(value, content, files=files)
    except RecursionError:
        raise too_deep("the value") from None


def _attach(value: Any, content: Callable[[str], Content], *, files: bool) -> Any:
    if is_media(value):
        return media_of(value, content(value.get("digest", "")))
    if isinstance(value, list):
        return [_attach(item, content, files=files) for item in value]
    if not isinstance(value, dict):
        return value
    if files and "data" in value and is_media(_without_data(value)):
        return media_of(value)
    return {name: _attach(item, content, files=files) for name, item in value.items()}


def _sha256(content: bytes) -> str:
    return SHA + hashlib.sha256(content).hexdigest()


def _without_data(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != "data"}


def redact_media(media: Media, digest: str, name: str, url: str) -> Media:
    """The media without content and under another digest (64 hex digits), name and URL, as a
    redacted store has it.
    """
    redacted = object.__new__(type(media))
    digest = f"hidden:{digest}" if media.digest else ""
    _set(redacted, media.media_type, None, digest=digest, size=media.size, url=url, name=name)
    return redacted


def _set(media: Any, media_type: str, content: Content = None, **fields: Any) -> None:
    media.__attrs_init__(media_type, **fields)
    object.__setattr__(media, "_source", content)


def _checked(media: Media, media_type: Any) -> str:
    """The media type in lower case without parameters. ``BadMedia`` if it doesn't fit the class."""
    kind = str(media_type).partition(";")[0].strip().lower()
    if kind and (not _TYPE.fullmatch(kind) or not kind.startswith(media.family)):
        problem = f"it would be of type {kind!r:.80}"
        expected = f"{media.family}..." if media.family else "type/subtype"
        raise BadMedia(type(media).__name__, problem, f"Give it {expected}; a File takes any.")
    return kind

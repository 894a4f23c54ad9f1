"""The laws of pictures, sounds and files as values: named by their content, never shown as it."""

import base64
import hashlib
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures_and_sounds import PDF, PNG, WAV, media

import lmflow as lf
from lmflow.errors import BadMedia, BadSignature, NoContent, WrongType
from lmflow.signatures.fields import holds_media, type_text
from lmflow.signatures.media_paths import resolve_media
from lmflow.signatures.parsing import convert
from lmflow.values.media import Media, attach_media, is_media, json_with_content, media_in, media_of
from lmflow.values.record import Record, canonical, plain, pretty

SEE = lf.predict("see", "picture: Image, question -> answer")


@given(media)
def test_what_stands_for_media_is_read_back(held: Media) -> None:
    """The JSON value is that of an equal one; with its content inside it is a whole one."""
    assert held == media_of(held.json())
    again = media_of(json.loads(json.dumps(held, default=json_with_content)))
    assert held == again
    assert not held.known or held.data == again.data


@given(media, media)
def test_equal_contents_are_equal_values(one: Media, other: Media) -> None:
    """Values are equal, hash and canonical form alike, when what stands for them is."""
    assert (one.json() == other.json()) == (one == other) == (canonical(one) == canonical(other))
    assert one != other or hash(one) == hash(other)


@given(st.binary())
def test_the_digest_is_the_sha_256_of_the_content(data: bytes) -> None:
    """Anybody can check it with `sha256sum`."""
    file = lf.File(data, "application/octet-stream")
    expected = f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data
    assert expected == (file.digest, file.size, file.data)


@given(media)
def test_a_pickle_is_whole(held: Media) -> None:
    """Another process has the content too."""
    again = pickle.loads(pickle.dumps(held))  # noqa: S301 - our own
    assert (held, held.held) == (again, again.held)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (lf.Image, PNG, "image/png"),
        (lf.Image, b"\xff\xd8\xff\xe0", "image/jpeg"),
        (lf.Image, b"GIF89a", "image/gif"),
        (lf.Image, b"RIFF\0\0\0\0WEBP", "image/webp"),
        (lf.Audio, WAV, "audio/wav"),
        (lf.Audio, b"ID3\x04", "audio/mpeg"),
        (lf.Audio, b"fLaC", "audio/flac"),
        (lf.File, PDF, "application/pdf"),
    ],
)
def test_the_content_tells_its_type(kind: type[Media], data: bytes, expected: str) -> None:
    """By its first bytes, the same on every machine."""
    assert expected == kind(data).media_type


def test_a_path_a_data_url_and_bytes_are_the_same_picture(tmp_path: Path) -> None:
    """Where it came from is not part of a picture."""
    path = tmp_path / "dot.png"
    path.write_bytes(PNG)
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert 1 == len(
        {
            lf.Image(PNG),
            lf.Image(path),
            lf.Image(str(path)),
            lf.Image(url),
            lf.Image(lf.Image(PNG).data_url),
        }
    )


def test_a_file_has_a_name(tmp_path: Path) -> None:
    """The name is told to the model, so it is part of the value; the content is the same."""
    (tmp_path / "a.csv").write_text("x,y")
    one, other = lf.File(tmp_path / "a.csv"), lf.File(b"x,y", name="b.csv")
    assert ("a.csv", "text/csv", "text/csv") == (one.name, one.media_type, other.media_type)
    assert (False, True) == (one == other, one.digest == other.digest)


def test_a_name_may_stand_in_a_data_url() -> None:
    """RFC 2397 has parameters; text needs no base64."""
    file = lf.File("data:text/plain;name=a%20b.txt,hello%2C%20you")
    assert ("a b.txt", b"hello, you", "text/plain") == (file.name, file.data, file.media_type)


def test_a_url_is_passed_on_and_not_fetched() -> None:
    """It is named by its URL: it has no digest, and no content here."""
    picture = lf.Image("https://example.org/cat.png?size=2")
    assert ("", "https://example.org/cat.png?size=2", "image/png") == (
        picture.digest,
        picture.url,
        picture.media_type,
    )
    assert (False, False) == (picture.known, picture.held)
    with pytest.raises(NoContent, match=r"example\.org"):
        _ = picture.data


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lf.Image(b"hello"), "nothing tells its type"),
        (lambda: lf.Image(PDF), "application/pdf"),
        (lambda: lf.Image("/nowhere/cat.png"), "can't be read"),
        (lambda: lf.Image("a\0.png"), "can't be the name of a file"),
        (lambda: lf.Image("\ud800.png"), "can't be the name of a file"),
        (lambda: lf.Image("data:image/png;base64,!!"), "base64"),
        (lambda: lf.Image("data:image/png"), "not a data URL"),
        (lambda: lf.File(b"x", "text"), "'text'"),
        (lambda: lf.Image("https://ada:secret@example.org/a.png"), "user or password"),
        (
            lambda: media_of({"is": "Image", "media_type": "image/png", "digest": "sha256:ab"}),
            "64 hex digits",
        ),
        (
            lambda: media_of(
                {"is": "Image", "media_type": "image/png", "digest": "sha256:" + "0" * 64, "x": 1}
            ),
            "x",
        ),
        (
            lambda: media_of(
                {"is": "Image", "media_type": "image/png", "digest": "sha256:" + "0" * 64}, b"a"
            ),
            "hashes",
        ),
    ],
)
def test_what_can_be_no_media_is_refused_with_words(make: Any, words: str) -> None:
    """The words say what is wrong."""
    with pytest.raises(BadMedia, match=re.escape(words)):
        make()


@given(media)
def test_people_are_shown_a_name_and_no_content(held: Media) -> None:
    """Type, size and the beginning of the digest, or the URL: never base64."""
    shown = pretty({"picture": [held]}) + repr(held) + str(held)
    assert not held.known or base64.b64encode(held.data).decode() not in shown or held.size < 12
    assert re.search(r"sha256:[0-9a-f]{12}>|https://", str(held))


@pytest.mark.parametrize(
    ("size", "expected"), [(7, "7 B"), (12_345, "12 kB"), (3_400_000, "3.4 MB")]
)
def test_sizes_are_told_in_round_numbers(size: int, expected: str) -> None:
    """As people read them."""
    assert f", {expected}, sha256:" in str(lf.File(b"x" * size, "text/plain"))


def test_media_are_types_of_fields() -> None:
    """By name in a string, alone, in lists and Optionals; by annotation in a function; with the
    same identity.
    """

    @lf.predict
    def see(picture: lf.Image, more: list[lf.Image], sound: lf.Audio | None = None) -> str:  # type: ignore[empty-body]
        """Say what it is."""

    said = lf.predict(
        "see", "picture: Image, more: list[Image], sound: Optional[Audio] = None -> see"
    ).signature
    assert see.signature == said
    assert "picture: Image, more: list[Image], sound: Audio | None = null -> see" == str(said)
    assert [True, True, True, False] == [
        holds_media(field.type) for field in (*said.inputs, *said.outputs)
    ]


def test_inputs_keep_their_content() -> None:
    """What is given is what a tool or the wire reads; a URL that stands for content may be given as
    text.
    """
    inputs = SEE(picture=lf.Image(PNG).data_url, question="?").inputs
    assert (PNG, lf.Image(PNG)) == (inputs.picture.data, inputs.picture)


@pytest.mark.parametrize(
    "given_", ["/etc/passwd", "cat.png", 3, None, lf.Audio(WAV), "data:image/png;base64,?"]
)
def test_other_values_are_refused(given_: Any) -> None:
    """A text is never taken for a path: who sends a request may not choose a file. A bad data URL
    isn't shown whole.
    """
    with pytest.raises(WrongType, match=r"see\.picture expects Image"):
        SEE(picture=given_, question="?")


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("q -> picture: Image", "no model can write 'picture'"),
        ("q -> pictures: list[Image]", "no model can write 'pictures'"),
        ("q: dict[str, Image] -> a", "within an object"),
    ],
)
def test_where_a_model_could_have_none_they_are_refused(signature: str, words: str) -> None:
    """A reply is text, and a message has no place within an object: said when the step is made."""
    with pytest.raises(BadSignature, match=words):
        lf.predict("x", signature)


def test_a_union_of_media_is_told_apart() -> None:
    """What stands for one says which it is."""
    kind = lf.Image | lf.Audio
    assert [lf.Image(PNG), lf.Audio(WAV)] == [
        convert(plain(it), kind) for it in (lf.Image(PNG), lf.Audio(WAV))
    ]
    assert "Image | Audio" == type_text(kind)


@given(st.lists(media, max_size=4))
def test_all_media_of_a_value_are_found(held: list[Media]) -> None:
    """In order, however deep; and put back in place of what stands for them."""
    value = {"a": [{"b": held[:2]}], "c": tuple(held[2:]), "d": "text"}
    assert held == list(media_in(Record(value)))
    assert held == list(media_in(attach_media(plain(value), lambda _: None)))


def test_a_record_like_media_is_media_only_with_all_it_takes() -> None:
    """A user's object with a field `is` stays as it is."""
    assert [False] * 3 == [
        is_media(it)
        for it in ({"is": "Image"}, {"is": "x", "media_type": "a/b", "url": "u"}, "Image")
    ]


def test_rows_name_files_as_seen_from_their_folder(tmp_path: Path) -> None:
    """Alone, in lists, or none; a URL stays one."""
    (tmp_path / "dot.png").write_bytes(PNG)
    dot, url = lf.Image(PNG), "https://example.org/a.png"
    assert dot == resolve_media("dot.png", lf.Image, tmp_path)
    assert [dot, lf.Image(url)] == resolve_media(["dot.png", url], list[lf.Image], tmp_path)
    assert (None, dot) == tuple(
        resolve_media(it, lf.Image | None, tmp_path) for it in (None, "dot.png")
    )

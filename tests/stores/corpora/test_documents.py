"""The laws of splitting documents and of reading them from files."""

import os
import pydoc_data.topics
import re
import sys
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmflow.errors import BadValue, StoreError, WrongType
from lmflow.stores.corpora.documents import (
    Document,
    Passage,
    as_document,
    read_document,
    read_folder,
    read_lines,
    split_document,
)

PIECES = ["word ", "Ends here. ", "# Heading\n\n", "日本語。", "é", "x" * 30, "- item\n"]
BLANKS = ["\n", "\n\n", "\r\n\r\n", " \n \n", "\t", "\u2029"]
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from(PIECES + BLANKS)
).map("".join)
sizes = st.integers(1, 60)


def _doc(text: str) -> Document:
    return Document("d", "Title", text)


def _parts(text: str, size: int) -> list[str]:
    return [passage.text for passage in split_document(_doc(text), size)]


@given(texts, sizes)
def test_a_passage_is_where_it_says(text: str, size: int) -> None:
    """The document's text from start to end is the passage's text."""
    assert [p.text for p in split_document(_doc(text), size)] == [
        text[p.start : p.end] for p in split_document(_doc(text), size)
    ]


@given(texts, sizes)
def test_passages_are_in_order_and_apart(text: str, size: int) -> None:
    """Each passage begins where the one before has ended, or later."""
    assert [] == [
        (a.end, b.start) for a, b in pairwise(split_document(_doc(text), size)) if a.end > b.start
    ]


@given(texts, sizes)
def test_nothing_but_blanks_is_lost(text: str, size: int) -> None:
    """The passages hold every non-blank character, once."""
    assert "".join(text.split()) == "".join("".join(_parts(text, size)).split())


@given(texts, sizes)
def test_no_passage_is_longer_than_asked(text: str, size: int) -> None:
    """A passage has at most `size` characters, at least one, and no blanks around."""
    assert [] == [
        part for part in _parts(text, size) if not 1 <= len(part) <= size or part != part.strip()
    ]


@given(texts, sizes)
def test_neighbours_would_not_fit_into_one(text: str, size: int) -> None:
    """Two neighbouring passages together are longer than `size`."""
    assert [] == [
        (a, b) for a, b in pairwise(split_document(_doc(text), size)) if b.end - a.start <= size
    ]


@given(texts, sizes)
def test_splitting_again_gives_the_same(text: str, size: int) -> None:
    """Splitting is a function of the document and the size."""
    assert split_document(_doc(text), size) == split_document(_doc(text), size)


@given(texts, sizes)
def test_ids_are_distinct(text: str, size: int) -> None:
    """No two passages of a document share an id."""
    ids = [passage.id for passage in split_document(_doc(text), size)]
    assert len(ids) == len({*ids})


@given(texts, texts, sizes)
def test_an_id_says_where(before: str, after: str, size: int) -> None:
    """A passage's id is its document's and its start."""
    assert [] == [p for p in split_document(_doc(before + after), size) if p.id != f"d#{p.start}"]


def test_a_passage_carries_its_document_and_title() -> None:
    """A passage knows the document it is of."""
    assert (Passage("d#1", "d", "Title", 1, 4, "one"),) == split_document(_doc(" one "), 600)


@pytest.mark.parametrize("text", ["", " ", "\n\n \t\n"])
def test_a_blank_document_has_no_passage(text: str) -> None:
    """Blanks alone are no passage."""
    assert () == split_document(_doc(text), 10)


def test_paragraphs_come_before_sentences() -> None:
    """Where paragraphs fit, none is cut."""
    assert ["One. Two.", "Three. Four."] == _parts("One. Two.\n\nThree. Four.", 16)


def test_sentences_come_before_words() -> None:
    """A paragraph that is too long is cut between sentences."""
    assert ["One two three.", 'She said "four!"', "Five six."] == _parts(
        'One two three. She said "four!" Five six.', 17
    )


def test_an_abbreviation_ends_no_sentence() -> None:
    """An initial, a title or a small letter after the point goes on."""
    assert ["Dr. J. Doe met, e.g. Ms. Roe.", "Fine."] == _parts(
        "Dr. J. Doe met, e.g. Ms. Roe. Fine.", 32
    )


def test_sentences_end_without_blanks_in_chinese() -> None:
    """An ideographic full stop ends a sentence by itself."""
    assert ["你好吗？", "我很好。"] == _parts("你好吗？我很好。", 5)


def test_lines_come_before_words() -> None:
    """A list without sentences is cut between lines."""
    assert ["- one two\n- three", "- four five"] == _parts("- one two\n- three\n- four five", 18)


def test_words_come_before_letters() -> None:
    """A sentence that is too long is cut between words."""
    assert ["one two", "three", "four"] == _parts("one two three four", 8)


def test_a_long_word_is_cut_hard() -> None:
    """A word that is too long is cut where it must be."""
    assert ["abcd", "efgh", "ij k"] == _parts("abcdefghij k", 4)


def test_small_paragraphs_are_packed() -> None:
    """Neighbours that fit together are one passage."""
    assert ["One.\n\nTwo.", "Three."] == _parts("One.\n\nTwo.\n\nThree.", 12)


@pytest.mark.parametrize("heading", ["# Two", "Two", "Two\n---", "====\nTwo\n===="])
def test_a_heading_stays_with_what_follows(heading: str) -> None:
    """A heading opens the next passage rather than close the last."""
    below = f"{heading}\n\nThis is the second one, long enough. So it is, really."
    assert ["A first paragraph.", below] == _parts(f"A first paragraph.\n\n{below}", len(below))


def test_a_heading_stays_with_the_first_part_of_a_long_paragraph() -> None:
    """A heading goes with a paragraph's beginning also where that is cut."""
    assert ["Before it all.", "# H\n\nOne is here.", "Two is there."] == _parts(
        "Before it all.\n\n# H\n\nOne is here. Two is there.", 20
    )


def test_many_short_lines_are_cut_between_paragraphs() -> None:
    """A run of what might be headings is no reason to cut within one of them."""
    items = [f"item number {n}" for n in range(40)]
    assert items == [it for part in _parts("\n\n".join(items), 60) for it in part.split("\n\n")]


def test_a_heading_at_the_end_is_kept() -> None:
    """A heading with nothing below is text like any other."""
    assert ["One.\n\n# End"] == _parts("One.\n\n# End", 20)


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size: int) -> None:
    """A passage holds one character at least."""
    with pytest.raises(WrongType, match="1 or more"):
        split_document(_doc("text"), size)


@pytest.mark.parametrize("topic", ["with", "specialnames", "formatstrings"])
def test_real_text_is_cut_between_paragraphs_or_sentences(topic: str) -> None:
    """Of Python's own documentation nearly every passage ends a sentence, a line or a paragraph."""
    text = pydoc_data.topics.topics[topic]
    passages = split_document(_doc(text), 600)
    ends = [
        p
        for p in passages
        if text[p.end :].startswith("\n") or p.end == len(text) or p.text[-1] in ".:!?)\"'"
    ]
    assert 0.98 * len(passages) <= len(ends)


def test_real_text_fills_its_passages() -> None:
    """Of a long real text, passages are half full and more on average."""
    passages = split_document(_doc(pydoc_data.topics.topics["specialnames"]), 600)
    assert 300 < sum(len(p.text) for p in passages) / len(passages) <= 600


@pytest.mark.parametrize("field", ["id", "title", "text"])
def test_a_document_is_text(field: str) -> None:
    """A document's fields are text, and text that can be encoded."""
    with pytest.raises(WrongType, match=f"document's {field} expects text, found 3"):
        as_document({**attrs.asdict(_doc("")), field: 3})
    with pytest.raises(BadValue, match=f"document's {field} is text with a lone surrogate"):
        as_document({**attrs.asdict(_doc("")), field: "\ud800"})


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_text_is_read_as_it_is(tmp_path: Path) -> None:
    """A .txt file is its text, under its path, titled by its name."""
    path = _written(tmp_path, "My notes.txt", "# no title\n")
    assert Document(path.as_posix(), "My notes", "# no title\n") == read_document(path)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfone\r\ntwo\rthree", b"one\ntwo\nthree"])
def test_marks_of_the_platform_are_dropped(tmp_path: Path, content: bytes) -> None:
    """A byte order mark and the platform's line ends are no part of the text."""
    assert "one\ntwo\nthree" == read_document(_written(tmp_path, "a.txt", content)).text


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("a.md", "intro\n\n## The title ##\n\ntext", "The title"),
        ("a.MD", "# C#\n", "C#"),
        ("a.md", "The title\n=========\n", "The title"),
        ("a.md", "---\nlayout: x\n---\n\n# The title\n", "The title"),
        ("a.md", "```sh\n# a comment\n```\n\n# The title\n", "The title"),
        ("a.md", "#hashtag\n\n---\n\ntext", "a"),
        ("a.rst", "=========\nThe title\n=========\n\ntext", "The title"),
        ("a.rst", "text\n\nThe title\n~~~~~~~~~\n", "The title"),
        ("a.rst", "only text", "a"),
    ],
)
def test_the_first_heading_is_the_title(tmp_path: Path, name: str, text: str, title: str) -> None:
    """A .md or .rst file is titled by its first heading, else by its name, and its text is left as
    it is.
    """
    found = read_document(_written(tmp_path, name, text))
    assert (title, text) == (found.title, found.text)


PAGE = """<!doctype html><html><head><title>The
 title</title><style>p { color: red }</style><script>if (a < b) { "</p>" }</script></head>
<body><h1>Top</h1><p>One &amp; <b>tw</b>o,
   three.<p>Four<br/>five</p><ul><li>six<li>seven</ul><!-- eight -->
<pre>if x:
    y  z</pre><table><tr><th>a<th>b<tr><td>c<td>d</table><svg><title>icon</title></svg>
<noscript>nine</noscript>ten</body></html>"""


def test_html_is_read_as_it_is_seen(tmp_path: Path) -> None:
    """A page's text is what shows: blocks apart, blanks run together, no script, style or comment."""
    seen = (
        "Top\n\nOne & two, three.\n\nFour\nfive\n\nsix\nseven\n\nif x:\n    y  z\n\na b\nc d\n\nten"
    )
    assert ("The title", seen) == (
        read_document(_written(tmp_path, "a.html", PAGE)).title,
        read_document(tmp_path / "a.html").text,
    )


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<h1>A <i>top</i></h1><h1>B</h1>", "A top"),
        ("<p>text", "a"),
        ("<title> </title><h1>B", "B"),
        ("", "a"),
    ],
)
def test_a_page_without_title_has_a_heading(tmp_path: Path, page: str, title: str) -> None:
    """A page is titled by its title, else by its first heading, else by its name."""
    assert title == read_document(_written(tmp_path, "a.htm", page)).title


@pytest.mark.parametrize(
    "page", ["<title>t</title><p>text", "<head><noscript>n<body>text", "<template>x</template>text"]
)
def test_what_is_never_closed_hides_no_text(tmp_path: Path, page: str) -> None:
    """A page that leaves its head open still shows its body."""
    assert "text" == read_document(_written(tmp_path, "a.html", page)).text


@example("<![x]>")
@given(
    st.text("<>!-[]/ =\"'&;#ab \n", max_size=40) | st.text(st.characters(exclude_categories=["Cs"]))
)
def test_any_page_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, page: str) -> None:
    """No markup, however broken, breaks the reader: it is read, or refused by name."""
    path = _written(tmp_path_factory.getbasetemp(), "any.html", page)
    try:
        text = read_document(path).text
    except StoreError as error:
        text = error.problem.removeprefix("isn't HTML: ")
    assert text == re.sub("\n{3,}", "", text.strip())


def test_other_encodings_are_refused_by_name(tmp_path: Path) -> None:
    """A file that isn't UTF-8 is an error that names the file, the byte and what to do."""
    path = _written(tmp_path, "latin.txt", "déjà".encode("latin-1"))
    with pytest.raises(
        StoreError, match=re.escape(f"{path}: byte 0xe9 at 1 isn't UTF-8. Save it as UTF-8.")
    ):
        read_document(path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("a.pdf", ".pdf can't be read"), ("LICENSE", "without an ending can't be read")],
)
def test_other_kinds_are_refused_by_name(tmp_path: Path, name: str, problem: str) -> None:
    """A file of another kind is an error that says which kinds there are."""
    with pytest.raises(StoreError, match=f"{problem}. Use .txt, .md, .rst or .html"):
        read_document(_written(tmp_path, name, "text"))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """A file that isn't there, or is a folder, is an error of the tree."""
    for refused in (lambda: read_document(tmp_path / "a.txt"), lambda: list(read_lines(tmp_path))):
        with pytest.raises(StoreError, match="there is no such file"):
            refused()


def test_a_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    """A folder's documents are named by their paths in it, sorted, names with a dot left out; the
    rest is reported.
    """
    for name in ("b.txt", "a/z.md", "a.txt", ".hidden.txt", ".git/x.txt", "c.bin"):
        _written(tmp_path, name, "text")
    _written(tmp_path, "latin.txt", b"\xe9")
    documents, skipped = read_folder(tmp_path)
    assert ["a.txt", "a/z.md", "b.txt"] == [document.id for document in documents]
    assert ["c.bin", "latin.txt"] == [
        Path(error.store).name for error in skipped if isinstance(error, StoreError)
    ]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0,
    reason="who may read everything is refused nothing",
)
def test_what_may_not_be_read_is_reported(tmp_path: Path) -> None:
    """A file and a folder without permission are left out by name."""
    for name in ("a.txt", "b/c.txt"):
        _written(tmp_path, name, "text")
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "b").chmod(0)
    documents, skipped = read_folder(tmp_path)
    (tmp_path / "b").chmod(0o700)
    assert ([], ["b", "a.txt"]) == (
        documents,
        [Path(it.store).name for it in skipped if isinstance(it, StoreError)],
    )


def test_only_a_folder_is_a_folder(tmp_path: Path) -> None:
    """A folder that isn't there is an error, not an empty one."""
    with pytest.raises(StoreError, match="it isn't a folder"):
        read_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "line 3: Expecting property name"),
        (b"\xff", "line 3: .*codec can't decode"),
        (b"[1]", r"line 3: a corpus expects documents with .*, found \[1\]\. Write"),
        (b'{"id": "b"}', "line 3: a corpus expects documents with an id and a text"),
        (b'{"id": 2, "text": ""}', "line 3: a document's id expects text, found 2"),
        (
            b'{"id": "b", "text": "\\ud800"}',
            "line 3: a document's text is text with a lone surrogate",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, problem: str) -> None:
    """The first line that is no document is an error that names file and line; blank lines aside."""
    path = _written(
        tmp_path, "a.jsonl", b'\xef\xbb\xbf{"id": "a", "text": "one"}\n\n' + line + b"\n"
    )
    lines = read_lines(path)
    assert Document("a", "", "one") == next(lines)
    with pytest.raises(StoreError, match=problem):
        next(lines)

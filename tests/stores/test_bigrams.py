"""The laws of bigrams: in a script without spaces a part of a run is found, and nothing else."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.stores.bigrams import has_unspaced, phrase, spaced
from lmflow.stores.sqlite.full_text import match_expression

TOKENIZERS = ["unicode61 remove_diacritics 2", "porter unicode61"]
HAN = st.text("東京都日本大阪数据库检索", max_size=12)
MIXED = st.text("東京ひらカナｶﾞ한국어กินขาວລາວខ្មែរမြန်မာ AB12ab,。・々ー𠮷", max_size=20)


def _matches(text: str, word: str, tokenizer: str = TOKENIZERS[0]) -> bool:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"CREATE VIRTUAL TABLE t USING fts5(a, content='', tokenize='{tokenizer}')")
        db.execute("INSERT INTO t (rowid, a) VALUES (1, ?)", (spaced(text),))
        expression = match_expression([word])
        return expression != "" and bool(
            db.execute("SELECT rowid FROM t WHERE t MATCH ?", (expression,)).fetchall()
        )


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(text=HAN, word=HAN)
def test_a_word_is_found_where_it_stands_and_nowhere_else(
    tokenizer: str, text: str, word: str
) -> None:
    """A word matches a run exactly if the run contains it."""
    assert (word != "" and word in text) == _matches(text, word, tokenizer)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("東京は日本の首都です。", "首都"), ("東京は日本の首都です。", "東"), ("数据库检索系统", "检索"),
        ("กรุงเทพเป็นเมืองหลวงของไทย", "เมืองหลวง"), ("ພາສາລາວງາມ", "ລາວ"), ("ភាសាខ្មែរពិរោះ", "ខ្មែរ"),
        ("မြန်မာဘာသာစကား", "ဘာသာ"), ("서울에서 만나요", "서울"), ("བོད་སྐད་ཡིག", "སྐད"),
        ("iPhone手机壳", "手机"), ("iPhone手机壳", "iPhone"), ("iPhone手机壳", "iPhone手"),
        ("手机iPhone", "机iPhone"), ("第2章を読む", "2章"), ("ｶﾞｽ料金", "ガス"), ("한국어", "한국"),
        ("人々の声", "人々"), ("ラーメン", "ーメン"), ("𠮷野家です", "𠮷野"), ("東京・大阪", "大阪"),
        ("Café 東京", "cafe"),
    ],
)  # fmt: skip
def test_a_part_of_a_run_is_found(text: str, word: str) -> None:
    """Scripts without spaces, Korean, and mixtures with Latin letters and digits."""
    assert [True, True] == [_matches(text, word, tokenizer) for tokenizer in TOKENIZERS]


@pytest.mark.parametrize(
    ("text", "word"),
    [("東京は日本", "京本"), ("ตากลม", "ตาย"), ("서울에서", "서에"), ("手机 iPhone", "机壳")],
)
def test_what_does_not_stand_there_is_not_found(text: str, word: str) -> None:
    """Characters in another order, or with another mark, are another word."""
    assert not _matches(text, word)


@given(st.text(st.characters(codec="ascii")))
def test_ascii_stays_as_it_is(text: str) -> None:
    """Indexes of English texts are what they were."""
    assert (text, (text, False), False) == (spaced(text), phrase(text), has_unspaced(text))


@given(MIXED, MIXED)
def test_any_text_can_be_indexed_and_sought(text: str, word: str) -> None:
    """No mixture of scripts, marks and signs is an error of SQLite."""
    assert _matches(text, word) in {True, False}


@given(MIXED)
def test_a_whole_text_finds_itself(text: str) -> None:
    """A mixture of scripts, marks and signs is found by all of itself."""
    assert match_expression([text]) == "" or _matches(text, text)

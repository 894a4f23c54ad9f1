"""The laws of a corpus in scripts without spaces: parts of runs are found, and old corpora stay."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.stores.corpora import corpus as module
from lmflow.stores.corpora.corpus import Corpus

DOCS = [
    {"id": "ja", "text": "東京は日本の首都です。人口は約1400万人。"},
    {"id": "zh", "text": "数据库检索系统使用倒排索引。GPT模型也可以检索。"},
    {"id": "th", "text": "กรุงเทพเป็นเมืองหลวงของไทย"},
    {"id": "ko", "text": "서울은 한국의 수도이다. 부산에서 배를 탔다."},
    {"id": "km", "text": "ភ្នំពេញជារាជធានីនៃប្រទេសកម្ពុជា"},
    {"id": "lo", "text": "ວຽງຈັນເປັນນະຄອນຫຼວງຂອງລາວ"},
    {"id": "my", "text": "ရန်ကုန်သည်မြန်မာနိုင်ငံ၏မြို့ဖြစ်သည်"},
    {
        "id": "en",
        "text": "Paris is the capital of France, and databases are searched.",
        "title": "法国",
    },
]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """A corpus in eight languages."""
    return Corpus.build(DOCS)


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("首都", "ja"), ("日本の首都はどこ?", "ja"), ("数据库", "zh"), ("检索系统是什么", "zh"),
        ("GPT", "zh"), ("gpt模型", "zh"), ("เมืองหลวง", "th"), ("เมืองหลวงของไทยคืออะไร", "th"),
        ("서울", "ko"), ("부산", "ko"), ("한국", "ko"), ("រាជធានី", "km"), ("ນະຄອນຫຼວງ", "lo"), ("မြန်မာ", "my"),
        ("capital", "en"), ("the databases", "en"), ("法国", "en"), ("法", "en"), ("1400", "ja"),
    ],
)  # fmt: skip
def test_a_question_finds_its_document(corpus: Corpus, query: str, best: str) -> None:
    """The best passage is the one that shares the most telling words or pairs."""
    assert best == corpus.hits(query)[0].passage.document


def test_what_shares_nothing_is_not_found(corpus: Corpus) -> None:
    """Characters that no passage has find nothing."""
    assert [] == corpus.search("鯨鮫 ฮฮ")


@given(st.text("東京首都数据 เมืองกิน 서울 GPT?。・", max_size=80), st.integers(0, 5))
def test_no_question_is_a_mistake(query: str, k: int) -> None:
    """Whatever signs and scripts are mixed, a question is answered with at most ``k`` passages."""
    with Corpus.build(DOCS[:3]) as corpus:
        assert k >= len(corpus.search(query, k))


def test_a_corpus_with_spaces_keeps_its_digest() -> None:
    """Corpora of English texts are named as before, so that recordings of them replay."""
    with Corpus.build([{"id": "a", "text": "green tea"}]) as corpus:
        assert OLD_ENGLISH == corpus.digest


OLD_ENGLISH = "v1:b2:340f0315079ca5b7a180735ebf614b782ca3fc3fe664bf056d54045e08c19726"
OLD_JAPANESE = "v1:b2:bd3c98ddddef14acf42cd32c85a39b36cb03cb75ddfddc6191f9a0e8f0b9d4ac"


def _old(path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A corpus as lmflow wrote it before it knew bigrams."""
    monkeypatch.setattr(module, "has_unspaced", lambda _: False)
    corpus = Corpus.build(DOCS[:1], path)
    monkeypatch.undo()
    return corpus


def test_an_old_corpus_gives_its_old_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without bigrams opens under its old digest and is searched by whole runs."""
    path = tmp_path / "c.db"
    _old(path, monkeypatch)
    with Corpus.open(path) as corpus:
        answers = [len(corpus.search(query)) for query in ("首都", "東京は日本の首都です")]
        assert (OLD_JAPANESE, [0, 1]) == (corpus.digest, answers)


def test_building_again_brings_an_old_corpus_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same documents at the same path make the corpus searchable, under another digest."""
    path = tmp_path / "c.db"
    old = _old(path, monkeypatch)
    with Corpus.build(DOCS[:1], path) as corpus:
        assert (True, 1) == (corpus.digest != old.digest, len(corpus.search("首都")))


def test_a_corpus_with_bigrams_has_a_newer_schema(tmp_path: Path) -> None:
    """An earlier lmflow, which would find nothing in it, refuses it; others it still reads."""
    for name, documents in (("ja", DOCS[:1]), ("en", [{"id": "a", "text": "tea"}])):
        Corpus.build(documents, tmp_path / name).close()
    schemas = []
    for name in ("ja", "en"):
        with closing(sqlite3.connect(tmp_path / name)) as db:
            schemas += db.execute("PRAGMA user_version").fetchone()
    assert [2, 1] == schemas


def test_a_corpus_with_bigrams_opens_as_it_was(tmp_path: Path) -> None:
    """What is written and opened again has the same digest, passages and answers."""
    built = lf.Corpus.build(DOCS, tmp_path / "c.db")
    opened = lf.Corpus.open(tmp_path / "c.db")
    assert (built, list(built), built.hits("首都")) == (opened, list(opened), opened.hits("首都"))

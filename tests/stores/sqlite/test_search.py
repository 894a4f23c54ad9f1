"""Full-text search over what was asked and answered."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from commanding import call, done
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ModelFailed, StoreError
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite import full_text
from lmflow.stores.sqlite.checks import indexes
from lmflow.stores.sqlite.full_text import match_expression, snippet
from lmflow.stores.sqlite.gc import collect
from lmflow.stores.sqlite.store import reading

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
SAID: dict[str, str | ModelFailed] = {
    "tea": "Grüner Tee zieht zwei Minuten.",
    "rice": "Twelve minutes, then rest.",
    "bad": ModelFailed("server", "Overloaded"),
}


@pytest.fixture
def filled(here: Path) -> Path:
    """A store with three answers and a failure."""
    asked = [
        "How long is green tea steeped?",
        "How long is rice simmered?",
        "Is tea bad?",
        "How long is green tea kept?",
    ]

    def script(request: ChatRequest) -> str | ModelFailed:
        return SAID[
            "bad"
            if "bad" in request.messages[-1].content
            else "rice"
            if "rice" in request.messages[-1].content
            else "tea"
        ]

    async def go() -> None:
        with lf.SqliteStore("lmflow.db") as store:
            async with lf.Executor(lf.scripted(script), store, concurrency=1) as ex:
                await ex.map(ANSWER, [{"question": question} for question in asked])

    asyncio.run(go())
    return here


def _found(*words: str, limit: int = 20, before: int = 2**62) -> list[int]:
    with reading("lmflow.db") as reader:
        return [hit.call for hit in reader.search(words, limit, before)]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (["tea"], [4, 3, 1]),
        (["GREEN", "tea"], [4, 1]),
        (["gruner"], [4, 1]),
        (["green steeped"], []),
        (["tea steeped"], [1]),
        (["minut*"], [4, 2, 1]),
        (["overloaded"], [3]),
        (["tea", "rice"], []),
        (['"; DROP TABLE call; --'], []),
        (["tea OR rice"], []),
        (["NOT"], []),
        (["answered:tea"], []),
    ],
)
def test_words_find_calls(words: list[str], calls: list[int]) -> None:
    """All words must occur, without case or accents; several in one are a phrase; the newest call
    comes first.
    """
    assert calls == _found(*words)


@pytest.mark.usefixtures("filled")
def test_a_listing_continues() -> None:
    """``before`` begins after the last call of a page; nothing is left out or shown twice."""
    assert ([4, 3], [1]) == (_found("tea", limit=2), _found("tea", limit=2, before=3))


@pytest.mark.usefixtures("filled")
def test_no_word_is_a_mistake() -> None:
    """What holds no word is refused with an example."""
    with pytest.raises(StoreError, match="there is no word"):
        _found("?!")


@pytest.mark.usefixtures("filled")
def test_earlier_calls_are_taken_in() -> None:
    """A store from before there was an index is searched like a new one, once it was opened for
    writing.
    """
    before = _found("tea")
    with closing(sqlite3.connect("lmflow.db")) as db:
        db.execute("DROP TABLE search")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm004_search'")
        db.execute("PRAGMA user_version = 1")
        db.execute(
            "UPDATE blob SET data = x'ff', enc = 1 WHERE id = (SELECT reply FROM call WHERE id = 2)"
        )
        db.commit()
    lf.SqliteStore("lmflow.db").close()
    assert (before, []) == (_found("tea"), _found("twelve"))


def test_tools_are_not_indexed(here: Path) -> None:
    """The index holds what models were asked and answered; what tools do is found by their runs."""
    done(here, "run app:size --set text=needle")
    assert [] == _found("needle")


@given(st.lists(st.text(max_size=20), max_size=4))
def test_no_words_break_the_query(words: list[str]) -> None:
    """Whatever is asked, SQLite can read it."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5(x)")
        if wanted := match_expression(words):
            assert [] == db.execute("SELECT rowid FROM t WHERE t MATCH ?", (wanted,)).fetchall()


@given(st.text(max_size=400), st.lists(st.text(min_size=1, max_size=8), max_size=3))
def test_marks_are_words_of_the_snippet(text: str, words: list[str]) -> None:
    """A snippet is one line of at most the width, and each mark lies within it, apart from the
    others.
    """
    found = snippet(text, words, 60)
    shown, marks = found.text, found.marks
    assert 62 >= len(shown)
    assert shown == " ".join(shown.split()) or "…" in shown
    assert sorted(marks) == list(marks)
    assert all(0 <= start < end <= len(shown) for start, end in marks)


def test_a_snippet_stands_around_its_first_word() -> None:
    """Of a long text the part is shown where the word is, with … where it goes on."""
    found = snippet("x " * 200 + "Café " + "y " * 200, ["cafe"], 60)
    shown, ((start, end),) = found.text, found.marks
    assert ("Café", "…", "…") == (shown[start:end], shown[0], shown[-1])


def test_a_phrase_is_marked_whole() -> None:
    """Of a phrase only the places where it stands are marked, of a beginning the whole word."""
    found = snippet("In the log: log in, or logging", ["log in", "logg*"])
    shown, marks = found.text, found.marks
    assert ["log", "in", "logging"] == [shown[start:end] for start, end in marks]


def test_the_command_marks_the_words(filled: Path) -> None:
    """Run, trace and address, and the snippet with the words marked."""
    output = call(filled, "runs search steeped").stdout
    (hit,) = done(filled, "runs search steeped")
    assert "«steeped»" in output
    assert all(part in output for part in (hit["run"], hit["trace"], "answer[0]/call[0]"))


def test_the_command_says_how_to_go_on(filled: Path) -> None:
    """A full page names the option that continues it; an empty one says what to try."""
    assert "--before 3" in call(filled, "runs search tea --limit 2").stderr
    assert "No call holds" in call(filled, "runs search zebra").stdout


def test_a_hostile_answer_can_t_write_to_the_terminal(here: Path) -> None:
    """Control characters in what a model wrote are not printed."""
    with lf.SqliteStore("lmflow.db") as store:

        async def go() -> None:
            async with lf.Executor(lf.scripted(["evil \x1b]0;gone\x07 evil"]), store) as ex:
                await ex.run(ANSWER, question="?")

        asyncio.run(go())
    assert not {"\x1b", "\x07"} & set(call(here, "runs search evil").output)
    assert not {"\x1b", "\x07"} & set(call(here, "runs search evil --json").output)


@pytest.mark.parametrize(
    ("words", "marked"),
    [
        (["首都"], ["首都"]), (["東"], ["東"]), (["iphone 手机"], ["iPhone手机"]), (["iPhone手机"], ["iPhone手机"]),
        (["서울"], ["서울"]), (["กิน"], ["กิน"]), (["手*"], ["手"]),
    ],
)  # fmt: skip
def test_characters_are_marked(words: list[str], marked: list[str]) -> None:
    """In a script without spaces the very characters are marked, and neighbours as one."""
    text = "東京は日本の首都です。iPhone手机 と 서울에서 กินข้าว"
    found = snippet(text, words, 200)
    assert marked == [found.text[start:end] for start, end in found.marks]


async def test_a_part_of_a_run_finds_its_call(tmp_path: Path) -> None:
    """What was asked and answered in Chinese, Japanese, Korean and Thai is found by its words."""
    path = tmp_path / "store.db"
    texts = ["数据库使用倒排索引", "東京は日本の首都です", "서울에서 만나요", "กรุงเทพเป็นเมืองหลวง"]
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(texts), store, concurrency=1) as ex:
            await ex.map(lf.predict("a", "q -> answer"), [{"q": text} for text in texts])
        run = store.runs()[0].id
    with reading(path) as reader:
        for word in ("索引", "首都", "서울", "เมืองหลวง"):
            assert [run] == [hit.run for hit in reader.search([word])]
        assert [] == reader.search(["鯨"])


async def test_collected_calls_leave_the_index(tmp_path: Path) -> None:
    """A call in a script without spaces is deleted with all the pairs that it was indexed by."""
    path = tmp_path / "store.db"
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(["東京は日本の首都です"]), store) as ex:
            await ex.map(lf.predict("a", "q -> answer"), [{"q": "日本の首都は"}])
    collect(path, older_than=0, now=2**62, dry_run=False)
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO search (search) VALUES ('integrity-check')")
        query = "SELECT count(*) FROM search WHERE search MATCH ?"
        assert (0,) == db.execute(query, (match_expression(["首"]),)).fetchone()


def test_a_call_that_ends_while_the_index_is_checked_is_no_problem(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index and the calls are compared as they are at one moment."""

    def indexed_calls(db: sqlite3.Connection) -> object:
        async def go() -> None:
            with lf.SqliteStore(filled / "lmflow.db") as store:
                async with lf.Executor(lf.scripted(lambda _: "Later."), store) as ex:
                    await ex.run(ANSWER, question="When?")

        asyncio.run(go())
        return full_text.indexed_calls(db)

    monkeypatch.setattr(indexes, "indexed_calls", indexed_calls)
    with reading("lmflow.db") as reader:
        assert () == reader.check().problems

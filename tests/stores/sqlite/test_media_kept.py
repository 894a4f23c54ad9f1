"""The laws of pictures, sounds and files in stores, versions, data sets and recordings: kept once,
whole, and exact.
"""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_and_sounds import PDF, PNG, WAV, media

import lmflow as lf
from lmflow.cli.main import main
from lmflow.cli.testing.recorded_runs import recorded_run
from lmflow.cli.text.terminal import run_tree
from lmflow.errors import BadData, ForeignFile, NoContent, Tampered
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.replays.fine_tuning import chats
from lmflow.stores.sqlite.checks.health import health
from lmflow.stores.sqlite.gc import collect
from lmflow.stores.sqlite.recording import load, save
from lmflow.stores.sqlite.store import reading
from lmflow.traces.events import RefMoved, VersionSaved
from lmflow.values.media import Media
from lmflow.versions.files import bundle, from_text, to_text

DOT = lf.Image(PNG)
SEE = lf.predict("see", "picture: Image, question -> answer", "Look.")
SCRIPT = lf.scripted(lambda request: f"{len(request.messages)} turns")
LATER = 10**19 // 2


@lf.tool
def crop(picture: lf.Image) -> lf.Image:
    """A part of a picture."""
    return lf.Image(picture.data + b"cropped")


@lf.flow("picture: Image, question -> answer", uses=[crop, SEE])
async def closer(picture, question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - typed by its signature
    """Crop, then ask."""
    part = await crop(picture=picture)
    return await SEE(picture=part.crop, question=question)


def _count(path: Path, kind: str = "media") -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM blob WHERE kind = ?", (kind,)).fetchone()[0])


def _bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def _sound(path: Path) -> None:
    with reading(str(path)) as reader:
        assert () == reader.check().problems


async def _run(store: Any, program: lf.Program = SEE, **inputs: Any) -> lf.Trace:
    async with lf.Executor(SCRIPT, store) as ex:
        return await ex.run(program, **(inputs or {"picture": DOT, "question": "?"}))


async def test_a_thousand_calls_keep_one_picture(tmp_path: Path) -> None:
    """However many calls and samples show a picture, its content is stored once, as the bytes that
    it is.
    """
    big = lf.Image(PNG + bytes(range(256)) * 400)
    with lf.SqliteStore(path := tmp_path / "s.db") as store:
        async with lf.Executor(SCRIPT, store) as ex:
            await ex.map(SEE, [{"picture": big, "question": str(n)} for n in range(250)], samples=4)
    assert (1, big.size) == (_count(path), _size(path))
    raw = _bytes(tmp_path)
    assert len(raw) < 50 * big.size
    assert base64.b64encode(big.data)[-64:-4] not in raw
    _sound(path)


def _size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(
            db.execute("SELECT sum(length(data)) FROM blob WHERE kind = 'media'").fetchone()[0]
        )


@settings(max_examples=15, deadline=None)
@given(st.lists(media, min_size=1, max_size=3))
def test_what_a_store_gives_back_is_what_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, held: list[Media]
) -> None:
    """Inputs, requests and outputs are equal and whole, and the trace replays to its root from the
    store.
    """
    show = lf.predict("show", "things: list[Union[Image, Audio, File]] -> answer", "Look.")
    with lf.SqliteStore(tmp_path_factory.mktemp("s") / "s.db") as store:
        trace = lf.run(show, model=SCRIPT, store=store, things=held)
        again = store.trace(trace.id)
    assert (trace.inputs, trace.calls, trace.root) == (
        again.inputs,
        again.calls,
        lf.replay(again, show).root,
    )
    assert [it.data for it in held if it.known] == [
        it.data for it in again.inputs.things if it.known
    ]


async def test_a_replay_is_exact_offline(tmp_path: Path) -> None:
    """Through tools that read and make pictures too; what a tool gave is in the store."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = await _run(store, closer)
        again = store.trace(trace.id)
    assert trace.root == lf.replay(again, closer).root
    cropped = again.calls[0].outcome.value  # type: ignore[union-attr]
    assert (PNG + b"cropped", 2) == (cropped.data, _count(tmp_path / "s.db"))
    assert isinstance(again.calls[0].request, ToolRequest)
    assert DOT == again.calls[0].request.inputs["picture"]


async def test_keys_use_the_digest(tmp_path: Path) -> None:
    """Another picture is another request; the same from elsewhere is the same."""
    (tmp_path / "dot.png").write_bytes(PNG)
    traces = [
        await _run(None, picture=it, question="?")
        for it in (DOT, lf.Image(tmp_path / "dot.png"), lf.Image(PNG + b"x"))
    ]
    one, same, other = (trace.calls[0].key for trace in traces)
    assert (one == same, one == other) == (True, False)


async def test_a_changed_content_is_found(tmp_path: Path) -> None:
    """`verify` derives the hash of contents too, and so does who reads one."""
    with lf.SqliteStore(path := tmp_path / "s.db") as store:
        trace = await _run(store)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE blob SET data = x'00' WHERE kind = 'media'")
    with reading(str(path)) as reader:
        assert any("content sha256:" in problem for problem in reader.check().problems)
        with pytest.raises(Tampered):
            _ = reader.trace(trace.id).inputs.picture.data


async def test_garbage_takes_contents_that_nothing_names(tmp_path: Path) -> None:
    """What a run, a version or a data set names stays; a dry run says the same numbers."""
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        await _run(store)
        kept = lf.init(SEE).put(
            {"see.demos": ({"picture": lf.Image(PNG + b"kept"), "question": "q", "answer": "a"},)}
        )
        lost = lf.init(SEE).put(
            {"see.demos": ({"picture": lf.Image(PNG + b"lost"), "question": "q", "answer": "a"},)}
        )
        store.append(
            VersionSaved(kept, 1), VersionSaved(lost, 1), RefMoved("prod", kept.id, "", 2)
        ).result()
        store.put_dataset("pictures", lf.Dataset("p", [lf.Record(picture=lf.Image(PNG + b"data"))]))
        before = _count(path)
        dry = collect(path, now=LATER)
        assert (before, dry) == (_count(path), collect(path, now=LATER, dry_run=False))
        assert (4, 3) == (before, _count(path))
        assert PNG + b"kept" == store.version("prod").params["see.demos"][0].picture.data
        assert PNG + b"data" == store.dataset("pictures")[0].picture.data
        collect(path, older_than=1, now=LATER, dry_run=False)
        assert 2 == _count(path)
    _sound(path)


async def test_contents_are_counted_in_the_health_of_a_store(tmp_path: Path) -> None:
    """How many, and how large."""
    with lf.SqliteStore(path := tmp_path / "s.db") as store:
        await _run(store)
    found = health(path)
    assert found is not None
    assert (1, DOT.size) == (found.media, found.media_size)


async def test_content_that_was_swept_is_missed_with_words(tmp_path: Path) -> None:
    """What stands for it is still there; only the content isn't."""
    with lf.SqliteStore(path := tmp_path / "s.db") as store:
        trace = await _run(store)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("DELETE FROM blob WHERE kind = 'media'")
        again = store.trace(trace.id)
    assert trace.root == lf.replay(again, SEE).root
    with pytest.raises(NoContent, match=DOT.digest[:19]):
        _ = again.inputs.picture.data


async def test_a_redacted_store_holds_no_picture(tmp_path: Path) -> None:
    """Neither its content nor its hash; the run replays all the same."""
    named = lf.File(b"secret plans", "text/plain", name="Ada.txt")
    read = lf.predict("read", "report: File, question -> answer", "Read.")
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        async with lf.Executor(
            SCRIPT, store, redact=lambda text: text.replace("Ada", "[NAME]"), secret=b"s"
        ) as ex:
            await ex.run(read, report=named, question="Is Ada in it?")
        (run,) = store.runs()
        trace = store.run(run.id).traces[0]
    raw = _bytes(tmp_path)
    assert (False, False, 0) == (named.data in raw, named.digest[7:].encode() in raw, _count(path))
    assert ("[NAME].txt", False) == (trace.inputs.report.name, trace.inputs.report.known)
    message = trace.calls[0].request.messages[-1]  # type: ignore[union-attr]
    assert "<[NAME].txt, text/plain, 12 B, redacted>" in message.readable
    assert lf.replay(trace, read).done
    _sound(path)


@settings(max_examples=20)
@given(st.lists(media, max_size=3))
def test_versions_as_files_hold_their_contents(held: list[Media]) -> None:
    """Exported and imported, demonstrations are equal and whole, under the same ids; each content
    stands there once.
    """
    demos = tuple({"things": (it, it), "answer": "a"} for it in held)
    version = lf.Version(params={"show.demos": demos})
    text = to_text(bundle([version], {}))
    (again,) = from_text(text, "f.json").versions
    assert (version, version.id) == (again, again.id)
    got = [it for demo in again.params["show.demos"] for it in demo.things]
    assert [it.data for it in held for _ in (1, 2) if it.known] == [
        it.data for it in got if it.known
    ]
    assert all(
        1 == text.count(base64.b64encode(it.data).decode())
        for it in held
        if it.known and it.size > 60
    )


def test_a_version_file_with_another_content_is_refused() -> None:
    """The hash in the version decides."""
    version = lf.Version(params={"see.demos": ({"picture": DOT, "answer": "a"},)})
    data = json.loads(to_text(bundle([version], {})))
    data["media"][DOT.digest] = base64.b64encode(b"other").decode()
    with pytest.raises(ForeignFile, match="hashes to something else"):
        from_text(json.dumps(data), "f.json")


async def test_an_imported_version_keeps_its_pictures(tmp_path: Path) -> None:
    """From one store to another by a file: the command line loses nothing."""
    demo = {"picture": DOT, "question": "q", "answer": "a"}
    with lf.SqliteStore(tmp_path / "a.db") as store:
        version = lf.init(SEE).put({"see.demos": (demo,)})
        store.append(VersionSaved(version, 1), RefMoved("prod", version.id, "", 2)).result()
    runner, file, other = CliRunner(), str(tmp_path / "v.json"), str(tmp_path / "b.db")
    for args in (
        ["export", "prod", "--out", file, "--store", str(tmp_path / "a.db")],
        ["import", file, "--store", other],
    ):
        result = runner.invoke(main, args, catch_exceptions=False)
        assert 0 == result.exit_code, result.output
    (tmp_path / "a.db").unlink()
    with lf.SqliteStore(other) as store:
        assert (1, PNG) == (
            _count(Path(other)),
            store.version("prod").params["see.demos"][0].picture.data,
        )


def test_data_sets_name_pictures_by_path_or_url(tmp_path: Path) -> None:
    """As seen from the file; the data set's digest is that of the contents, not of the paths."""
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "dot.png").write_bytes(PNG)
    rows = [{"picture": "img/dot.png", "question": "a"}, {"picture": DOT.data_url, "question": "b"}]
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = lf.dataset(tmp_path / "dev.jsonl", signature=SEE)
    assert [DOT, DOT] == [row.picture for row in found]
    assert (
        found.digest
        == lf.Dataset(
            "x", [{"picture": DOT, "question": "a"}, {"picture": DOT, "question": "b"}]
        ).digest
    )


def test_a_picture_that_is_missing_is_named_with_its_line(tmp_path: Path) -> None:
    """File, line and the fix, as for every bad row."""
    (tmp_path / "dev.jsonl").write_text('{"picture": "none.png", "question": "a"}')
    with pytest.raises(BadData, match=r"dev\.jsonl, line 1.*none\.png"):
        lf.dataset(tmp_path / "dev.jsonl", signature=SEE)


def test_an_exported_data_set_is_read_back_whole(tmp_path: Path) -> None:
    """Contents stand in the lines as base64, so the file needs neither its store nor a signature."""
    with lf.SqliteStore(path := tmp_path / "s.db") as store:
        digest = store.put_dataset(
            "pictures", lf.Dataset("p", [lf.Record(picture=DOT, label="dot")])
        )
    out = tmp_path / "out.jsonl"
    args = ["dataset", "export", "pictures", "--out", str(out), "--store", str(path)]
    assert 0 == CliRunner().invoke(main, args, catch_exceptions=False).exit_code
    found = lf.dataset(out)
    assert (digest, PNG) == (found.digest, found[0].picture.data)


async def test_a_test_recording_holds_its_pictures(tmp_path: Path) -> None:
    """The file of a recorded test is whole by itself, and the same for the same answers."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        await _run(store)
        run = recorded_run("test", store.run(store.runs()[0].id))
    for name in ("a.db", "b.db"):
        save(tmp_path / name, run)
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()
    (tmp_path / "s.db").unlink()
    again = load(tmp_path / "a.db")
    assert again is not None
    assert PNG == again.traces[0].inputs.picture.data


async def test_a_resumed_run_sends_the_picture_from_the_store(tmp_path: Path) -> None:
    """What was begun and not asked is asked with the content that the store holds."""
    sent: list[Any] = []

    def answer(request: ChatRequest) -> str:
        sent.append(request.messages[-1].attached[0].media.data)
        return "a dot"

    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(answer), store, budget=lf.Budget(calls=1)) as ex:
            with pytest.raises(lf.LmflowError):
                await ex.map(SEE, [{"picture": DOT, "question": q} for q in "ab"])
        async with lf.Executor(lf.scripted(answer), store) as ex:
            run = await ex.resume(store.run(store.runs()[0].id), SEE)
    assert ([PNG, PNG], "done") == (sent, run.status)


async def test_people_read_names_and_never_base64(tmp_path: Path) -> None:
    """`runs show`, `render`, `why`, `diff` and JSON output: nowhere the content."""
    big = lf.Image(PNG + b"\0" * 300)
    code = base64.b64encode(big.data).decode()[40:120]
    with lf.SqliteStore(path := tmp_path / "s.db") as store:
        trace = await _run(store, picture=big, question="?")
        run = store.run(store.runs()[0].id)
    runner, kept = CliRunner(), ["--store", str(path)]
    shown = [run_tree(run, messages=True), str(trace.calls[0].request)]
    shown += [
        runner.invoke(main, [*args, *kept], catch_exceptions=False).output
        for args in (
            ["runs", "show", run.id, "--messages"],
            ["runs", "show", run.id, "--json"],
            ["runs", "export", run.id],
        )
    ]
    assert all(code not in text and big.digest[:19] in text for text in shown)
    assert str(big) in shown[0]


def test_fine_tuning_lines_have_openais_parts() -> None:
    """A line for training is what would be sent, so it has the content."""
    trace = lf.run(SEE, model=SCRIPT, picture=DOT, question="?")
    (chat,) = chats(trace, SEE)
    kinds = [part["type"] for part in chat.to_json()["messages"][1]["content"]]
    assert ["text", "image_url", "text"] == kinds


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("pictures=dot.png", f"[1] {DOT}"),
        ('pictures=["dot.png", "https://example.org/a.png"]', f"[1] {DOT}\n[2] <image/png, "),
    ],
)
def test_the_command_line_takes_paths(
    given_: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--set` reads the file and shows its name; several are a JSON list, one alone is a list of
    one.
    """
    (tmp_path / "dot.png").write_bytes(PNG)
    (tmp_path / "seeing.py").write_text(
        'import lmflow as lf\nsee = lf.predict("see", "pictures: list[Image] -> answer")\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = CliRunner().invoke(
        main, ["render", "seeing:see", "--set", given_], catch_exceptions=False
    )
    assert (0, True) == (result.exit_code, expected in result.output), result.output


def test_an_imported_data_set_holds_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --program the fields that are pictures are read as such, from paths as seen from the
    file.
    """
    (tmp_path / "dot.png").write_bytes(PNG)
    (tmp_path / "dev.jsonl").write_text('{"picture": "dot.png", "label": "dot"}\n')
    (tmp_path / "labelling.py").write_text(
        'import lmflow as lf\nsee = lf.predict("see", "picture: Image -> label")\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    args = [
        "dataset",
        "import",
        "dev.jsonl",
        "--name",
        "dots",
        "--program",
        "labelling:see",
        "--store",
        "s.db",
    ]
    assert 0 == CliRunner().invoke(main, args, catch_exceptions=False).exit_code
    (tmp_path / "dot.png").unlink()
    with lf.SqliteStore("s.db") as store:
        assert PNG == store.dataset("dots")[0].picture.data


def test_rows_of_a_file_name_pictures_as_seen_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lmflow run --data` too."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "dot.png").write_bytes(PNG)
    (tmp_path / "in" / "rows.jsonl").write_text('{"picture": "dot.png"}\n')
    (tmp_path / "sizing.py").write_text(
        "import lmflow as lf\n\n\n@lf.tool\ndef size(picture: lf.Image) -> int:\n    return len(picture.data)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    args = [
        "run",
        "sizing:size",
        "--data",
        "in/rows.jsonl",
        "--store",
        str(tmp_path / "s.db"),
        "--json",
    ]
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert [{"size": len(PNG)}] == [row["outputs"] for row in json.loads(result.output)["traces"]]


@pytest.mark.parametrize("kind", [lf.Audio(WAV), lf.File(PDF, name="a.pdf")])
async def test_sounds_and_files_are_kept_alike(kind: Media, tmp_path: Path) -> None:
    """Each by its own class."""
    step = lf.predict("x", "thing: Union[Audio, File] -> answer")
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = await _run(store, step, thing=kind)
        again = store.trace(trace.id).inputs.thing
    assert (kind, kind.data) == (again, again.data)


async def test_a_picture_that_is_shown_while_garbage_is_swept_stays(tmp_path: Path) -> None:
    """Who uses a content anew meanwhile notes it, so that the sweep leaves it."""
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        await _run(store)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET value = '1' WHERE key = 'gc'")
        (row,) = db.execute("SELECT id FROM blob WHERE kind = 'media'").fetchone()
    with lf.SqliteStore(path) as store:
        await _run(store)
    with closing(sqlite3.connect(path)) as db:
        assert (row,) in db.execute("SELECT id FROM touched WHERE kind = 'blob'").fetchall()

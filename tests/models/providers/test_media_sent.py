"""The laws of pictures, sounds and files on the wire: what a message becomes for each API, and how
refusals are told.

Errors marked "llama.cpp" were recorded from its server (xllamacpp 2026.10, smollm2-135m, without
--mmproj); the others are in the words of the vendors. There are no weights here that see or hear:
what a model says of a picture isn't tested.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from agents import TOOLS
from fakes import Reply, chat, serving, stream
from hypothesis import given
from hypothesis import strategies as st
from pictures_and_sounds import PDF, PNG, WAV, media
from serving import served

import lmflow as lf
from lmflow.errors import ModelFailed, Unbounded
from lmflow.execution.costs import worst_case
from lmflow.messages.messages import Attached, Message, ToolCall, message_of
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.anthropic import Anthropic
from lmflow.models.providers.anthropic_messages import message_body
from lmflow.models.providers.openai import OpenAI
from lmflow.models.providers.openai_chat import PLAIN, chat_body
from lmflow.models.providers.openai_content import content_of
from lmflow.testing.models import Door
from lmflow.values.attributes import lean
from lmflow.values.media import Media
from lmflow.values.record import Record, plain

DOT = lf.Image(PNG)
CODE = base64.b64encode(PNG).decode()
SEE = lf.predict("see", "picture: Image, question -> answer", "Look.")
SCRIPT = lf.scripted(lambda _: "fine")
URL = "https://example.org/cat.png"

# llama.cpp, POST /v1/chat/completions with image_url, with input_audio, with file.
LLAMA_BLIND = {
    "error": {
        "code": 500,
        "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "type": "server_error",
    }
}
LLAMA_DEAF = {
    "error": {
        "code": 500,
        "message": "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "type": "server_error",
    }
}
LLAMA_FILE = {
    "error": {"code": 400, "message": "unsupported content[].type", "type": "invalid_request_error"}
}
# "Images and vision", platform.openai.com/docs/guides/images-vision: asked of a model for texts.
OPENAI_BLIND = {
    "error": {
        "message": "Invalid content type. image_url is only supported by certain models.",
        "type": "invalid_request_error",
        "param": "messages.[0].content.[1].type",
        "code": None,
    }
}
# "Vision", platform.claude.com/docs/en/build-with-claude/vision: a picture that it can't read.
CLAUDE_BLIND = {
    "type": "error",
    "error": {"type": "invalid_request_error", "message": "Could not process image"},
}
# "Errors", openrouter.ai/docs/api/reference/errors: no provider of the model takes pictures.
OPENROUTER_BLIND = {
    "error": {"message": "No endpoints found that support image input", "code": 404}
}


def _user(
    *held: Media, step: str = "things: list[Union[Image, Audio, File]], question -> answer"
) -> Message:
    return lf.render(lf.predict("x", step), {"things": list(held), "question": "What?"})[-1]


def _openai(*held: Media) -> Any:
    request = ChatRequest((_user(*held),))
    return plain(chat_body("openai/m", "m", request, PLAIN, schema=False))["messages"][0]["content"]


def _anthropic(*held: Media) -> Any:
    return plain(message_body("anthropic/m", "m", ChatRequest((_user(*held),)), schema=False))[
        "messages"
    ][0]["content"]


@given(st.lists(media, max_size=4), st.text(max_size=20))
def test_the_parts_of_a_message_are_its_text_and_what_is_attached(
    held: list[Media], question: str
) -> None:
    """In order, nothing lost and nothing added; texts between them are the message's own."""
    step = lf.predict("x", "things: list[Union[Image, Audio, File]], question -> answer")
    message = lf.render(step, {"things": held, "question": question})[-1]
    assert held == [part for part in message.parts if isinstance(part, Media)]
    assert message.content == "".join(part for part in message.parts if isinstance(part, str))
    assert message == message_of(plain(lean(message)))
    assert all(f"[{n}] {it}" in message.readable for n, it in enumerate(held, 1))


@given(st.text(max_size=30).filter(lambda text: "[[" not in text))
def test_a_message_without_media_is_as_before(question: str) -> None:
    """Nothing is added to its form, so that its key is what it was."""
    message = lf.render(lf.predict("x", "question -> answer"), {"question": question})[-1]
    assert {"content", "role"} == json.loads(message.form).keys()
    assert message.content == content_of(message) == message.readable


def test_a_picture_stands_under_its_marker() -> None:
    """The text goes on below it."""
    expected = Message("user", "[[picture]]\n\n[[question]]\nWhat?", attached=(Attached(12, DOT),))
    assert expected == lf.render(SEE, {"picture": DOT, "question": "What?"})[-1]
    assert f"[[picture]]\n{DOT}\n[[question]]\nWhat?" == expected.readable


def test_a_missing_picture_is_null() -> None:
    """As every value that may be left out."""
    step = lf.predict("x", "question, picture: Optional[Image] = None -> answer")
    assert (
        Message("user", "[[question]]\n?\n[[picture]]\nnull")
        == lf.render(step, {"question": "?"})[-1]
    )


def test_demonstrations_show_their_pictures() -> None:
    """In turns of their own; as values, and as they are stored."""
    demo = {"picture": DOT, "question": "q", "answer": "a"}
    step = lf.predict(
        "see",
        "picture: Image, question -> answer",
        "Look.",
        demos=[demo, {"picture": DOT, "answer": "b"}],
    )
    stored = lf.Version(params=json.loads(json.dumps(plain(lf.init(step).params))))
    shown = lf.render(step, {"picture": DOT, "question": "?"})
    assert [0, 1, 0, 1, 0, 1] == [len(message.attached) for message in shown]
    assert "(An example with some fields left out.)\n[[picture]]\n" == shown[1].content
    assert shown == lf.render(step, {"picture": DOT, "question": "?"}, stored)


def test_openais_parts() -> None:
    """`image_url` as a data URL or the URL; `input_audio` by format; `file` with its name ("Create
    chat completion", platform.openai.com/docs/api-reference/chat/create; "PDF files",
    platform.openai.com/docs/guides/pdf-files).
    """
    mp3 = lf.Audio(b"ID3\x04")
    parts = _openai(DOT, lf.Image(URL), lf.Audio(WAV), mp3, lf.File(PDF, name="a.pdf"))
    pdf = f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}"
    assert [
        {"type": "text", "text": "[[things]]\n[1] "},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CODE}"}},
        {"type": "text", "text": "\n[2] "},
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "text", "text": "\n[3] "},
        {
            "type": "input_audio",
            "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"},
        },
        {"type": "text", "text": "\n[4] "},
        {
            "type": "input_audio",
            "input_audio": {"data": base64.b64encode(mp3.data).decode(), "format": "mp3"},
        },
        {"type": "text", "text": "\n[5] "},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}},
        {"type": "text", "text": "\n[[question]]\nWhat?"},
    ] == parts


def test_anthropics_blocks() -> None:
    """Pictures and documents as base64 or by URL, texts as text ("Vision", "PDF support",
    platform.claude.com/docs).
    """
    held = (
        DOT,
        lf.Image(URL),
        lf.File(PDF, name="a.pdf"),
        lf.File("https://example.org/a.pdf"),
        lf.File(b"hi", "text/csv"),
    )
    blocks = [block for block in _anthropic(*held) if block["type"] != "text"]
    pdf = base64.b64encode(PDF).decode()
    assert [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": CODE}},
        {"type": "image", "source": {"type": "url", "url": URL}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": pdf},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
    ] == blocks


@pytest.mark.parametrize(
    ("body", "held", "words"),
    [
        (_anthropic, lf.Audio(WAV), "takes no sounds"),
        (_openai, lf.Audio("https://example.org/a.wav"), "isn't here"),
        (_openai, lf.File("https://example.org/a.pdf"), "isn't here"),
    ],
)
def test_what_an_api_has_no_shape_for_is_refused_before_it_is_sent(
    body: Any, held: Media, words: str
) -> None:
    """A typed failure of its own kind, which is recorded like any other."""
    with pytest.raises(ModelFailed, match=words) as caught:
        body(held)
    assert "media" == caught.value.kind


def _model(url: str, kind: Any = OpenAI) -> Any:
    return kind("test/m", "m", url, "127.0.0.1")


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (500, LLAMA_BLIND, OpenAI),
        (500, LLAMA_DEAF, OpenAI),
        (400, LLAMA_FILE, OpenAI),
        (400, OPENAI_BLIND, OpenAI),
        (404, OPENROUTER_BLIND, OpenAI),
        (400, CLAUDE_BLIND, Anthropic),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words(
    status: int, answer: dict[str, Any], kind: Any
) -> None:
    """Its kind is `media`, it isn't asked again, and a fallback asks the next."""
    async with serving(Reply(status, json.dumps(answer))) as server:
        model = lf.retrying(_model(server.url, kind), attempts=3, longest=0.01)
        async with lf.Executor(model) as ex:
            with pytest.raises(ModelFailed) as caught:
                await ex.run(SEE, picture=DOT, question="?")
        async with lf.Executor(lf.fallback(model, SCRIPT)) as ex:
            assert "fine" == (await ex.run(SEE, picture=DOT, question="?")).outputs.answer  # type: ignore[union-attr]
    assert ("media", 2) == (caught.value.kind, len(server.seen))
    assert answer["error"]["message"] in str(caught.value)


async def test_a_refusal_may_come_while_somebody_listens() -> None:
    """Streaming changes nothing."""
    async with serving(Reply(500, json.dumps(LLAMA_BLIND))) as server:
        with pytest.raises(ModelFailed) as caught:
            await _model(server.url)(ChatRequest((_user(DOT),)), Door(hear=lambda _: None))
    assert "media" == caught.value.kind


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, "image of the disk is broken"), (400, "no such document"), (429, "image quota")],
)
async def test_without_media_the_same_words_mean_something_else(status: int, error: str) -> None:
    """Only what was attached can be refused."""
    async with serving(Reply(status, json.dumps({"error": {"message": error}}))) as server:
        with pytest.raises(ModelFailed) as caught:
            await _model(server.url)(ChatRequest((Message("user", "?"),)), Door())
    assert "media" != caught.value.kind


async def test_what_is_rendered_is_what_is_sent() -> None:
    """`lf.render` shows the message whose parts are in the body; the record holds the same."""
    async with (
        serving(
            chat("a dot"),
            stream({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}),
        ) as server,
        lf.Executor(_model(server.url)) as ex,
    ):
        trace = await ex.run(SEE, picture=DOT, question="?")
        async for _ in ex.stream(SEE, picture=DOT, question="?"):
            pass
    rendered = lf.render(SEE, {"picture": DOT, "question": "?"})
    request = trace.calls[0].request
    assert isinstance(request, ChatRequest)
    assert rendered == request.messages
    expected = [{"role": message.role, "content": content_of(message)} for message in rendered]
    assert [expected, expected] == [seen.body["messages"] for seen in server.seen]


async def test_samples_with_pictures_are_rows_of_their_own() -> None:
    """`samples=n` sends each with its own seed and the same picture; the rows replay."""
    step = lf.predict("see", "picture: Image, question -> answer", "Look.", options={"seed": 7})
    async with serving(chat("a dot")) as server, lf.Executor(_model(server.url)) as ex:
        run = await ex.map(step, [{"picture": DOT, "question": "?"}], samples=3)
    assert [7, 8, 9] == sorted(seen.body["seed"] for seen in server.seen)
    assert (3, run.root) == (len(run), lf.replay(run).root)
    assert 1 == len({json.dumps(seen.body["messages"]) for seen in server.seen})


async def test_samples_in_a_flow_may_hold_pictures() -> None:
    """`lf.samples` and votes work on such steps as on any."""
    vote = lf.self_consistency(SEE, n=3)
    async with lf.Executor(SCRIPT) as ex:
        trace = await ex.run(vote, picture=DOT, question="?")
    assert {0, 1, 2} == {getattr(call.request, "sample", None) for call in trace.calls}
    assert trace.root == lf.replay(trace).root


async def test_a_budget_of_tokens_is_refused_before_anything_is_sent() -> None:
    """Nobody can bound the tokens of a picture; a budget of calls holds."""
    step = lf.predict("see", "picture: Image, question -> answer", options={"max_tokens": 9})
    async with serving() as server:
        async with lf.Executor(_model(server.url), budget=lf.Budget(tokens=10**9)) as ex:
            with pytest.raises(Unbounded, match="pictures, sounds or files"):
                await ex.run(step, picture=DOT, question="?")
        assert [] == server.seen
        async with lf.Executor(_model(server.url), budget=lf.Budget(calls=1)) as ex:
            assert (await ex.run(step, picture=DOT, question="?")).done
    request = ChatRequest((_user(DOT),), options=Record(max_tokens=9))
    with pytest.raises(Unbounded):
        worst_case("see", request, lambda *_: None, 0)


async def test_reasoning_is_no_part_of_a_reply_to_a_picture() -> None:
    """Text is text, as always."""
    reply = lf.scripted(lambda _: ChatReply("a dot", reasoning="one pixel"))
    async with lf.Executor(reply) as ex:
        trace = await ex.run(SEE, picture=DOT, question="?")
    assert ({"answer": "a dot"}, {"see[0]/call[0]": "one pixel"}) == (
        dict(trace.outputs or {}),
        dict(trace.reasoning),
    )


@pytest.mark.parametrize("form", ["native", "chat", "json"])
def test_an_agent_is_shown_the_pictures_of_its_task(form: str) -> None:
    """In each form, where its inputs stand; those of its demonstrations are named in words where
    calls are native.
    """
    agent = lf.react("picture: Image, question -> answer", TOOLS, "Answer.")
    version = lf.init(agent).put({"react.act.adapter": form})
    message = lf.render(agent, {"picture": DOT, "question": "q"}, version, step="react.act")[-1]
    assert ("[[picture]]\n\n[[question]]\nq", (Attached(12, DOT),)) == (
        message.content,
        message.attached,
    )


async def test_an_agent_reads_the_digest_of_a_picture_that_a_tool_gave() -> None:
    """What an agent observes is text."""

    @lf.tool
    def draw(what: str) -> lf.Image:
        """A picture of it."""
        return lf.Image(PNG + what.encode())

    asks = ChatReply("", calls=(ToolCall("draw", '{"what": "tea"}'),))
    agent = lf.react("question -> answer", [draw], "Answer.")
    async with lf.Executor(lf.scripted([asks, "Done.", "tea"])) as ex:
        trace = await ex.run(agent, question="q")
    shown = [str(call.request) for call in trace.calls if isinstance(call.request, ChatRequest)]
    assert lf.Image(PNG + b"tea").digest in shown[1]
    assert trace.root == lf.replay(trace).root


def test_earlier_turns_show_their_pictures() -> None:
    """A conversation about pictures is told with them; what was thought beside a reply is not."""
    talk = lf.predict(
        "talk", "picture: Image, question, history: History = {} -> answer, why: Reasoning", "Look."
    )
    before = lf.History().then({"picture": DOT, "question": "a"}, {"answer": "x", "why": "hm"})
    trace = lf.run(talk, model=SCRIPT, picture=DOT, question="b", history=before)
    shown = trace.calls[0].request.messages  # type: ignore[union-attr]
    assert ["[[picture]]\n\n[[question]]\na", "x", "[[picture]]\n\n[[question]]\nb"] == [
        it.content for it in shown[1:]
    ]
    assert [1, 0, 1] == [len(message.attached) for message in shown[1:]]
    assert shown == lf.render(talk, trace.inputs)
    assert trace.root == lf.replay(trace).root


@pytest.mark.parametrize("kind", ["dict[str, str]", "Any", "list[dict[str, str]]"])
def test_what_only_looks_like_a_picture_is_text(kind: str, tmp_path: Path) -> None:
    """An object from outside in a field of objects is never taken for one: nobody may make a model
    fetch a URL.
    """
    step = lf.predict("x", f"data: {kind}, question -> answer")
    hostile = {"is": "Image", "media_type": "image/png", "url": "https://evil.example/x.png"}
    data = [hostile] if kind.startswith("list") else hostile
    message = lf.render(step, {"data": data, "question": "?"})[-1]
    assert () == message.attached
    assert json.dumps(hostile) in message.content
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = lf.run(step, model=SCRIPT, store=store, data=data, question="?")
        assert trace.root == lf.replay(store.trace(trace.id), step).root


async def test_a_client_gives_a_picture_as_a_url(tmp_path: Path) -> None:
    """Over HTTP a data URL is its content; a path is refused: who sends a request may not choose a
    file.
    """
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(SCRIPT, store) as ex, served(lf.serve.app(SEE, ex)) as client:
            good = await client.ask({"picture": DOT.data_url, "question": "?"})
            bad = await client.ask({"picture": "/etc/passwd", "question": "?"})
        assert ({"answer": "fine"}, 422) == (good.json["outputs"], bad.status)
        assert PNG == store.run(store.runs(1)[0].id).traces[0].inputs.picture.data

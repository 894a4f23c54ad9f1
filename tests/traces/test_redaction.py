"""The laws of redaction: what is cleaned is nowhere in the file, and the run still replays and says
what it is.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ModelFailed, ReplayDiverged
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.traces.addresses import segment
from lmflow.traces.events import CallEnded, RunOpened
from lmflow.traces.redaction import Redactor, agrees
from lmflow.traces.trace import Run
from lmflow.values.canonical_text import KEYED
from lmflow.values.record import canonical

CANARY = "canary-7f3a"
SECRET = b"a secret of sixteen bytes or more"


def clean(text: str) -> str:
    """The text without canaries."""
    return text.replace(CANARY, "[NAME]")


def greet(name: str) -> str:
    """A greeting, which fails for nobody."""
    if name.endswith("!"):
        raise ValueError(f"{name} is shouting")
    return f"Hello {name}"


ANSWER = lf.predict("answer", "question, names: dict[str, str] -> reason, answer", "Answer.")
GREET = lf.tool("greet", "name -> greeting", greet)


@lf.flow("question, people: list[dict[str, str]] -> answer, hello", uses=[ANSWER, GREET])
async def both(question, people):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """A tool for each person, then an answer."""
    said = await lf.gather(*(GREET(name=person["name"]) for person in people))
    found = await ANSWER(
        question=question, names={person["name"]: person["name"] for person in people}
    )
    return {"answer": found.answer, "hello": " ".join(greeting.greeting for greeting in said)}


INPUTS: dict[str, Any] = {
    "question": f"Who is {CANARY}?",
    "people": [{"name": CANARY}, {"name": "Bob"}],
}
REPLY = ChatReply(
    f"[[reason]]\nThey said {CANARY}.\n[[answer]]\n{CANARY} it is",
    reasoning=f"hm, {CANARY}", refusal="", logprobs=[CANARY], calls=(ToolCall("t", f'{{"x": "{CANARY}"}}', state={"thinking": [CANARY]}),),
)  # fmt: skip


async def _recorded(store: lf.SqliteStore, program: lf.Program = both, **inputs: Any) -> lf.Trace:
    async with lf.Executor(lf.scripted(lambda _: REPLY), store, redact=clean, secret=SECRET) as ex:
        return await ex.run(program, **(inputs or INPUTS))


def _bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


async def test_the_canary_is_nowhere_in_the_file(tmp_path: Path) -> None:
    """Neither the database nor its log holds what was cleaned: inputs, messages, replies, outputs,
    failures, labels.
    """
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        await _recorded(store)
        async with lf.Executor(
            lf.scripted([ModelFailed("request", f"no {CANARY}")]), store, redact=clean
        ) as ex:
            await ex.map(GREET, [{"name": f"{CANARY}!", "id": CANARY}])
            await ex.map(ANSWER, [{"question": CANARY, "names": {CANARY: "x"}, "id": CANARY}])
            labelled = lf.map(GREET, "people", item="name", key=None)
            await ex.run(labelled, people=[CANARY])
        raw, rows = _bytes(path), [store.run(run.id) for run in store.runs()]
    assert 4 == len(rows)
    assert CANARY.encode() not in raw
    assert CANARY not in "".join(
        canonical([t.inputs, t.outputs, t.failure, t.calls]) for run in rows for t in run
    )
    assert CANARY not in _bytes(path).decode("latin-1")


async def test_the_caller_gets_the_whole(tmp_path: Path) -> None:
    """What the run returns isn't cleaned, and replays exactly."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = await _recorded(store)
    assert (f"{CANARY} it is", trace.root) == (
        trace.outputs and trace.outputs.answer,
        lf.replay(trace).root,
    )


async def test_a_redacted_run_replays_and_says_so(tmp_path: Path) -> None:
    """From the store the run replays to its stored root; its world says that it is redacted; its
    hashes hold.
    """
    with lf.SqliteStore(tmp_path / "s.db") as store:
        whole = await _recorded(store)
        trace = store.trace(whole.id)
        run = store.runs()[0].id
        with store.reading() as reader:
            reader.verify(run)
            assert reader.root(run) == lf.replay(store.run(run), both).root
    assert ("[NAME] it is", True, True) == (
        trace.outputs and trace.outputs.answer, trace.world["redacted"], trace.root != whole.root,
    )  # fmt: skip


async def test_a_redacted_replay_still_diverges(tmp_path: Path) -> None:
    """Another program isn't what was recorded, cleaned or not."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = store.trace((await _recorded(store, GREET, name="Bob")).id)
    other = lf.tool("greet", "name -> greeting", lambda name: f"Hello {name}", version="other")
    with pytest.raises(ReplayDiverged, match="It was redacted"):
        lf.replay(trace, other)


async def test_keys_are_keyed_by_the_secret(tmp_path: Path) -> None:
    """Under one secret equal questions have equal keys, under another they differ, and neither is
    the plain hash.
    """
    keys = []
    for number, secret in enumerate([SECRET, SECRET, b"another", b""]):
        with lf.SqliteStore(tmp_path / f"{number}.db") as store:
            async with lf.Executor(
                lf.scripted(lambda _: REPLY), store, redact=clean, secret=secret
            ) as ex:
                trace = await ex.run(ANSWER, question=CANARY, names={})
            keys.append(store.trace(trace.id).calls[0].key)
            assert trace.calls[0].key != keys[-1]
    assert (True, 3, True) == (
        keys[0] == keys[1],
        len(set(keys)),
        all(key.startswith(KEYED) for key in keys),
    )


async def test_what_can_not_be_cleaned_is_not_sent() -> None:
    """Where ``redact`` raises or gives no text, nothing goes out."""
    sent: list[object] = []

    def script(request: object) -> str:
        sent.append(request)
        return "fine"

    model = lf.scripted(script)
    async with lf.Executor(model, lf.MemoryStore(), redact=lambda _: None) as ex:  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError, match="redact must give a text"):
            await ex.run(ANSWER, question="a", names={})
    assert [] == sent


async def test_labels_that_are_cleaned_stay_apart() -> None:
    """Two labels that read the same when they are cleaned are still two."""
    store, step = lf.MemoryStore(), lf.tool("up", "x -> y", lambda x: x.upper(), version="1")
    async with lf.Executor(store=store, redact=lambda text: "x" * len(text)) as ex:
        await ex.map(step, [{"x": "a", "id": "ann"}, {"x": "b", "id": "bob"}])
    labels = [label for label, _ in store.run(store.runs()[0].id).items]
    assert (2, True) == (len(set(labels)), all(label.startswith("xxxxxxx~") for label in labels))


async def test_listeners_hear_what_is_stored() -> None:
    """Events are the store's: cleaned."""
    async with lf.Executor(lf.scripted(lambda _: REPLY), redact=clean) as ex:
        events = ex.events()
        await ex.run(both, **INPUTS)
    heard = [event async for event in events]
    assert (True, []) == (
        len(heard) > 6,
        [e for e in heard if isinstance(e, CallEnded) and CANARY in str(e)],
    )


@given(st.text(), st.sampled_from(["a[0]/branch[{}]/b[1]/call[0]", "branch[{}]"]))
def test_only_branch_labels_are_data(label: str, address: str) -> None:
    """Ordinals stay, labels from data are cleaned."""
    redactor = Redactor(lambda text: text.replace("secret", "***"), SECRET)
    plain = address.format("12")
    assert plain == redactor.labels(plain)
    assert "secret" not in redactor.labels(address.format("a secret one"))
    assert "***" not in redactor.labels(segment("", "branch", label)) or "secret" in label


def test_other_events_pass() -> None:
    """What holds no bodies is kept as it is, and so are vectors."""
    redactor, opened = Redactor(clean, SECRET), RunOpened(Run("1", "run", "x"))
    assert opened is redactor.event(opened)
    assert EmbedReply(((1.0,),)) == redactor.outcome(EmbedReply(((1.0,),)))


async def test_calls_agree_by_key_unless_they_are_redacted() -> None:
    """A plain call agrees with its own request only, a redacted one with what has its shape."""
    async with lf.Executor(lf.scripted(lambda _: REPLY)) as ex:
        one, two = await asyncio.gather(*(ex.run(ANSWER, question=q, names={}) for q in "ab"))
    redactor, (a, b) = Redactor(clean, SECRET), (one.calls[0], two.calls[0])
    assert (True, False) == (agrees(a, a.request), agrees(a, b.request))
    assert agrees(redactor.call(a), b.request)


@pytest.mark.parametrize("length", [0, 65])
def test_a_secret_has_1_to_64_bytes(length: int) -> None:
    """What can't key a hash is refused when the executor is made."""
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Redactor(clean, b"x" * length)

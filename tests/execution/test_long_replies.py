"""Long replies are read beside the event loop, and with bounded looks at what they repeat."""

import asyncio
import itertools
import threading

import pytest
from own_adapter import PAIRS

import lmflow as lf
from lmflow.adapters.thinking import without_thinking
from lmflow.execution.live import LONG_REPLY
from lmflow.values.json_text import candidates


@pytest.mark.parametrize(("length", "is_beside"), [(LONG_REPLY + 1, True), (100, False)])
async def test_a_thread_reads_a_long_reply(length: int, is_beside: bool) -> None:  # noqa: FBT001 - a case
    """A reply that takes long to read is read in a thread, so that other calls go on."""
    threads: list[int] = []

    def read(signature: lf.Signature, text: str, whole: bool) -> lf.Record:  # noqa: FBT001 - the shape of read
        threads.append(threading.get_ident())
        return PAIRS.read(signature, text, whole)

    adapter = lf.Adapter("pairs", PAIRS.form, answer=PAIRS.answer, read=read, version="1")
    step = lf.predict("step", "question -> answer", adapter=adapter)
    text = "x" * (length - len('answer=""'))
    async with lf.Executor(lf.scripted(lambda _: f'answer="{text}"')) as ex:
        trace = await ex.run(step, question="?")
    assert lf.Record(answer=text) == trace.outputs
    assert [is_beside] == [thread != threading.get_ident() for thread in threads]


async def test_a_run_is_cancelled_while_a_thread_reads() -> None:
    """A cancellation doesn't wait for the thread, and the executor goes on afterwards."""
    reading, finish = threading.Event(), threading.Event()

    def read(signature: lf.Signature, text: str, whole: bool) -> lf.Record:  # noqa: FBT001 - the shape of read
        reading.set()
        finish.wait(10)
        return PAIRS.read(signature, text, whole)

    adapter = lf.Adapter("pairs", PAIRS.form, answer=PAIRS.answer, read=read, version="1")
    step = lf.predict("step", "question -> answer", adapter=adapter)
    text = f'answer="{"x" * LONG_REPLY}"'
    async with lf.Executor(lf.scripted(lambda _: text)) as ex:
        task = asyncio.create_task(ex.run(step, question="?"))
        await asyncio.to_thread(reading.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        finish.set()
        assert lf.Record(answer="x" * LONG_REPLY) == (await ex.run(step, question="!")).outputs


def test_a_failure_to_read_a_long_reply_is_the_steps_own() -> None:
    """A mistake in a long reply is asked about again, as in a short one."""
    replies = iter(["nothing " * LONG_REPLY, "[[ ## n ## ]]\n7"])
    step = lf.predict("step", "question -> n: int")
    trace = lf.run(step, question="?", model=lf.scripted(lambda _: next(replies)))
    assert lf.Record(n=7) == trace.outputs


def test_a_value_after_a_thousand_others_is_not_looked_for() -> None:
    """Of values amid prose a thousand are looked at, so that repetitions cost a bounded time."""
    values = candidates("a " + "{} " * 5000)
    assert 1000 == sum(1 for _ in itertools.islice(values, 1000))
    with pytest.raises(ValueError, match="no JSON"):
        next(values)


def test_thinking_after_a_thousand_blocks_is_text() -> None:
    """Of blocks of thinking at the beginning of a reply, a thousand are taken away."""
    assert "x" == without_thinking("<think>a</think>" * 1000 + "x")
    assert "</think>" in without_thinking("</think>" * 1001 + "x")

"""An adapter of one's own: each output is a line ``name = value``, the value as JSON.

Short to write and hard to break: a text has no line ends of its own, and no mark that it could
be taken for.
"""

import json
from collections.abc import Mapping
from typing import Any

import lmflow as lf


def form(signature: lf.Signature) -> str:
    """Tell the model what to reply with."""
    lines = [
        f"{field.name} = {hint or 'text, in double quotes'}"
        for field, hint in zip(signature.outputs, signature.hints, strict=True)
    ]
    return "\n".join(["Reply with these lines, each value as JSON:", *lines])


def answer(_: lf.Signature, outputs: Mapping[str, Any]) -> str:
    """Write outputs as the reply that is asked for, for demonstrations."""
    values = lf.Record(outputs).to_dict()
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


def read(signature: lf.Signature, text: str, whole: bool) -> lf.Record:
    """Read the outputs from a reply."""
    texts: dict[str, str] = {}
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if equals:
            texts.setdefault(name.strip(), without_quotes(value.strip()))
    return lf.read_texts(signature, texts, whole=whole)


def without_quotes(value: str) -> str:
    """The text of a JSON string; a value of any other kind as it is written."""
    try:
        loaded = json.loads(value)
    except ValueError:
        return value
    return loaded if isinstance(loaded, str) else value


LINES = lf.Adapter("lines", form, answer=answer, read=read)


if __name__ == "__main__":
    lf.testing.check_adapter(LINES)
    step = lf.predict("rate", "review -> stars: int, why", adapter=LINES)
    for message in lf.render(step, {"review": "Cold tea, warm welcome."}):
        print(f"[{message.role}] {message.content}\n")

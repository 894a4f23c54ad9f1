"""The data of the six tutorials on the page for those who come from DSPy, and a model that answers."""

from __future__ import annotations

import re
from typing import Any

from agents import native

from lmflow.messages.replies import ChatReply

NUMBERS = range(14)
ROWS: dict[str, list[dict[str, Any]]] = {
    "questions": [
        {"question": f"How long does tea {n} steep?", "answer": ["three minutes", "long"][n % 2]}
        for n in NUMBERS
    ],
    "claims": [
        {"claim": f"Tea {n} steeps long.", "titles": [["Tea"], ["Rice"]][n % 2]} for n in NUMBERS
    ],
    "messages": [
        {"text": f"Message {n}", "label": ["praise", "complaint"][n % 2]} for n in NUMBERS
    ],
    "sums": [{"question": f"What is {n} and 1?", "answer": float(n + 1)} for n in NUMBERS],
    "names": [
        {"tokens": ["Ada", "met", f"B{n}"], "people": [["Ada"], ["Ada", f"B{n}"]][n % 2]}
        for n in NUMBERS
    ],
    "stock": [
        {"question": f"How many packs of green tea, {n}?", "answer": ["7", "none"][n % 2]}
        for n in NUMBERS
    ],
}
"""For each file its examples, half of which ``say`` gets right."""

VALUES = {
    "answer": "three minutes", "query": "tea", "new": "It steeps.", "titles": "Tea",
    "label": "praise", "people": "Ada",
}  # fmt: skip


def say(request: Any) -> ChatReply | str:
    """The sections that the request wants, or a call of the tool before the answer."""
    words = "\n".join(str(message.content) for message in request.messages)
    if request.tools and not any(message.role == "tool" for message in request.messages):
        return native(("stock", {"item": "green tea"}))
    if "packs of green tea" in words:
        return "7"
    sections = re.findall(r"\[\[(\w+)\]\]", str(request.messages[-1].content).splitlines()[-1])
    value = {**VALUES, "answer": "4"} if "What is" in words else VALUES
    if not sections:
        return "Answer well."
    return "\n\n".join(f"[[{name}]]\n{value.get(name, 'Do it well.')}" for name in sections)

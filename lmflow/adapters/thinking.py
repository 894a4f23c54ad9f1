"""Thinking that reasoning models leave in the text of a reply: where it is, and what it says.

Servers that know a model part its thinking from the reply. Others leave it in the text: in tags
(``<think>``) or between special tokens (gpt-oss, Magistral, Kimi); without its beginning, if that
is part of the prompt's template; without its end, if the reply was cut.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator

from lmflow.adapters.fences import fenced_spans, is_within

_TAGS = (
    "think|thinking|thoughts?|reasoning|reflection|scratchpad|seed:think|mm:think|longcat_think"
    "|antthinking|thinking_process|inner_thoughts|inner_monologue|internal_monologue"
)
_TOKENS = {
    r"\[THINK\]": r"\[/THINK\]",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",
    r"<\|begin_of_thought\|>": r"<\|end_of_thought\|>",
    r"<\|START_THINKING\|>": r"<\|END_THINKING\|>",
    "<unused94>": "<unused95>",
    r"<\|think(?:ing)?\|>": r"<\|/think(?:ing)?\|>",
    r"<\|channel>thought\b": r"<channel\|>",
}
"""Special tokens of models around thinking, which no text contains by chance."""

_BEGINNING = re.compile(rf"< ?(?P<tag>{_TAGS}) ?>|{'|'.join(_TOKENS)}", re.IGNORECASE)
_END = re.compile(rf"< ?/ ?(?:{_TAGS}) ?>|{'|'.join(_TOKENS.values())}", re.IGNORECASE)
_MARK = re.compile(rf"(?P<end>{_END.pattern})|{_BEGINNING.pattern}", re.IGNORECASE)
_LATER_BEGINNING = re.compile(
    rf"^[ \t]*(?:< ?(?P<tag>think|thinking) ?>|{'|'.join(_TOKENS)})", re.IGNORECASE | re.MULTILINE
)
"""The beginning of thinking after the reply has begun: fewer tags count, at the start of a line."""

_ANALYSIS = re.compile(r"< ?analysis ?>", re.IGNORECASE)
_ANALYSIS_END = re.compile(r"< ?/ ?analysis ?>", re.IGNORECASE)
"""Tags in which models also write answers: they are thinking if an answer follows them."""

_CHANNEL = re.compile(
    r"(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*(?P<name>analysis|commentary|final)\s*"
    r"(?:<\|constrain\|>\s*\w+\s*)?<\|message\|>"
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call)\|>|(?=<\|start\|>|<\|channel\|>)")
_UNTAGGED = re.compile(
    r"\s*(?:(?-i:analysis(?=\S)(?P<channel>.*?)assistant\s*final)"
    r"|here(?:'s| is) my thought process:?(?P<process>.*?)here(?:'s| is) my response:?)",
    re.DOTALL | re.IGNORECASE,
)
"""gpt-oss behind a server that drops special tokens, and Granite's two sentences."""

_WRAPPERS = re.compile(
    r"\s*(?:(?P<tag><(?P<name>answer|response)>)|<\|begin_of_(?:solution|box)\|>|<\|START_RESPONSE\|>)(?P<reply>.*?)"
    r"(?:(?(tag)</(?P=name)>|(?:<\|end_of_(?:solution|box)\|>|<\|END_RESPONSE\|>))\s*)?\Z",
    re.DOTALL | re.IGNORECASE,
)
_SIGN = re.compile(
    rf"<(?=[ /|a-z])(?: ?/? ?(?:{_TAGS}|analysis) ?>|\||unused9|channel\|)|\[/?THINK\]|\u25c1",
    re.IGNORECASE,
)
"""Finds more than thinking begins with, and is quick: each part begins with one character."""

_UNTAGGED_START = re.compile(r"\s*(?:analysis\S|here(?:'s| is) my thought)", re.IGNORECASE)
_STARTS = (
    *(
        f"<{tag}>"
        for tag in f"{_TAGS}|analysis".replace("thoughts?", "thought|thoughts").split("|")
    ),
    *("[think]", "\u25c1think\u25b7", "<|begin_of_thought|>", "<|start_thinking|>", "<unused94>"),
    *(
        "<|think|>",
        "<|thinking|>",
        "<|channel>thought",
        "<|channel|>analysis<|message|>",
        "<|start|>assistant<|channel|>",
    ),
)

_LONGEST_START = 40
"""Characters within which it is plain that a text begins none of ``_STARTS``."""

_MOST_BLOCKS = 1000
"""Blocks that are looked for at the beginning of a reply: no model thinks more often."""

_QUOTES = frozenset("`\"'(\u201c")
_SPACE = re.compile(r"\s*")
_FENCED_JSON = re.compile(r"```(?:json)?\s*")
_DECODER = json.JSONDecoder(strict=False)

Span = tuple[int, int]
LastEnds = dict[str, int]
"""By each closing tag, in lower case, the position of its last occurrence in a text."""


def without_thinking(text: str, *, whole: bool = True, outputs: Collection[str] = ()) -> str:
    """Remove the thinking from a reply.

    If the thinking at the beginning has no end, all of the reply is thinking. Thinking that begins
    later and has no end is text, unless the reply isn't ``whole``. ``outputs`` are the names of the
    outputs: an ``analysis`` among them is no thinking.
    """
    if not has_signs(text):
        return text
    kept, position = [], 0
    for (start, end), _ in _blocks(text, whole=whole, outputs=outputs):
        kept.append(text[position:start])
        position = end
    kept.append(text[position:])
    return "".join(kept)


def thinking_of(text: str) -> str:
    """Find the thinking in a reply, without its tags; empty if there is none."""
    if not has_signs(text):
        return ""
    parts = (text[start:end].strip() for _, (start, end) in _blocks(text))
    return "\n\n".join(part for part in parts if part)


def has_signs(text: str) -> bool:
    """Tell in passing whether a text may hold thinking: most replies have no sign of it."""
    # These characters are looked for at the speed of memory; the expression is 50 times slower.
    may_have = "<" in text or "[T" in text or "[t" in text or "[/" in text or "\u25c1" in text
    if may_have and _SIGN.search(text) is not None:
        return True
    return text.lstrip()[:1] in "aAhH" and _UNTAGGED_START.match(text) is not None


def is_thinking_tag(name: str) -> bool:
    """Tell whether a tag of that name is one of thinking."""
    return _SIGN.fullmatch(f"<{name}>") is not None


def may_begin(text: str) -> bool:
    """Tell whether the first piece of a reply may go on to be the beginning of thinking."""
    head = text.lstrip()[:_LONGEST_START].lower().replace("< ", "<").replace(" >", ">").rstrip(" ")
    return not head or any(start.startswith(head) for start in _STARTS)


def _blocks(
    text: str, *, whole: bool = True, outputs: Collection[str] = ()
) -> Iterator[tuple[Span, Span]]:
    """Find what isn't part of the reply, in order: the span with tags, and that of the thinking."""
    position, end = 0, len(text)
    if "analysis" not in outputs and (analysis := _analysis(text, whole=whole)):
        yield analysis
        position = analysis[0][1]
    last_ends = _last_ends(text)
    for _ in range(_MOST_BLOCKS):
        if (block := _block_at(text, position, last_ends)) is None:
            break
        yield block
        position = block[0][1]
    if position and (reply := _wrapped_reply(text, position)):
        yield (position, reply[0]), (position, position)
        position, end = reply
    yield from _later_blocks(text, position, end, last_ends, whole=whole)
    if end < len(text):
        yield (end, len(text)), (end, end)


def _last_ends(text: str) -> LastEnds:
    """The position of the last closing tag of each name, so that none is looked for in vain."""
    return {_plain(mark[0]): mark.start() for mark in _END.finditer(text)}


def _plain(tag: str) -> str:
    """A tag in lower case and without spaces."""
    return tag.lower().replace(" ", "")


def _analysis(text: str, *, whole: bool) -> tuple[Span, Span] | None:
    """The analysis that a reply begins with, if an answer follows or may still follow it."""
    beginning = _ANALYSIS.match(text, _after_space(text, 0))
    if beginning is None:
        return None
    span, inner = _closed(text, 0, beginning.end(), _ANALYSIS_END)
    is_followed = _after_space(text, span[1]) < len(text)
    return (span, inner) if is_followed or not whole else None


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _block_at(text: str, position: int, last_ends: LastEnds) -> tuple[Span, Span] | None:
    """The block that begins a text from a position on, or ends in it without a beginning."""
    lead = _after_space(text, position)
    if channel := _CHANNEL.match(text, lead):
        if channel["name"] == "final":
            return (position, channel.end()), (channel.end(), channel.end())
        return _closed(text, position, channel.end(), _CHANNEL_END)
    if beginning := _BEGINNING.match(text, lead):
        return _closed(text, position, beginning.end(), _end_of(beginning, last_ends))
    if position == 0 and (untagged := _UNTAGGED.match(text)):
        name = "channel" if untagged["channel"] is not None else "process"
        return untagged.span(), untagged.span(name)
    if end := _unmatched_end(text, position):
        return (position, end.end()), (position, end.start())
    return None


def _closed(text: str, start: int, inner: int, end: re.Pattern[str]) -> tuple[Span, Span]:
    closing = end.search(text, inner)
    if closing is None:
        return (start, len(text)), (inner, len(text))
    return (start, closing.end()), (inner, closing.start())


def _end_of(beginning: re.Match[str], last_ends: LastEnds) -> re.Pattern[str]:
    """The end that fits a beginning: the tag of the same name if the text has it, else any."""
    tag = f"</{beginning['tag'].lower()}>" if beginning["tag"] else ""
    if last_ends.get(tag, -1) >= beginning.end():
        return _end_tag(beginning["tag"].lower())
    return _END


@functools.cache
def _end_tag(name: str) -> re.Pattern[str]:
    return re.compile(f"< ?/ ?{name} ?>", re.IGNORECASE)


def _unmatched_end(text: str, position: int) -> re.Match[str] | None:
    """The first end of thinking without a beginning, if it isn't a mention of the tag."""
    open_blocks = 0
    position = max(position, _end_of_json(text, position))
    for mark in _MARK.finditer(text, position):
        if not mark["end"]:
            open_blocks += 1
        elif open_blocks:
            open_blocks -= 1
        elif not _is_mention(text, mark):
            return mark
    return None


def _end_of_json(text: str, position: int) -> int:
    """The end of the JSON value that a text is from a position on: its strings are no tags."""
    start = _after_space(text, position)
    start += len(fence[0]) if (fence := _FENCED_JSON.match(text, start)) else 0
    if text[start : start + 1] not in {"{", "["}:
        return position
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return position


def _is_mention(text: str, tag: re.Match[str]) -> bool:
    """Tell whether a sentence speaks of a tag: quoted, or amid words of one line."""
    before, after = _character(text, tag.start() - 1), _character(text, tag.end())
    if before in _QUOTES and after:
        return True
    word_before = _character(text, _skip_spaces(text, tag.start() - 1, -1))
    word_after = _character(text, _skip_spaces(text, tag.end(), 1))
    is_amid_words = word_before.isalnum() and before.isspace()
    return is_amid_words and (word_after.islower() or after in {",", ".", ";", ")"})


def _character(text: str, position: int) -> str:
    """The character at a position of a line, empty beyond the line's ends."""
    return text[position] if 0 <= position < len(text) and text[position] != "\n" else ""


def _skip_spaces(text: str, position: int, step: int) -> int:
    while _character(text, position).isspace():
        position += step
    return position


def _wrapped_reply(text: str, position: int) -> Span | None:
    """The reply within tags after its thinking (``<answer>``), or before a channel's last token."""
    if wrapped := _WRAPPERS.match(text, position):
        return wrapped.span("reply")
    if "<|message|>" in text[:position] and (closing := _CHANNEL_END.search(text, position)):
        return position, closing.start()
    return None


def _later_blocks(
    text: str, position: int, end: int, last_ends: LastEnds, *, whole: bool
) -> Iterator[tuple[Span, Span]]:
    """Blocks after the reply has begun; those in code fences are samples and so text."""
    fences, last_within = fenced_spans(text[:end]), _last_ends(text[:end])
    while beginning := _LATER_BEGINNING.search(text, position, end):
        position = beginning.end()
        pattern = _end_of(beginning, last_ends)
        tags = last_within if pattern is _END else {_plain(f"</{beginning['tag']}>")}
        is_open = all(last_within.get(tag, -1) < position for tag in tags)
        if is_within(beginning.start(), fences) or (is_open and whole):
            continue
        closing = None if is_open else pattern.search(text, position, end)
        span = beginning.start(), closing.end() if closing else end
        yield span, (position, closing.start() if closing else end)
        position = span[1]

"""Pages taken apart: the tags and attributes of HTML, the elements of Markdown."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Self

from markdown_it import MarkdownIt


class Markup(HTMLParser):
    """The tags, attributes and texts of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    @classmethod
    def of(cls, html: str) -> Self:
        """Take a page apart."""
        page = cls()
        page.feed(html)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Keep a tag with its attributes."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        """Keep a comment, which no page has."""
        self.tags.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        """Keep a declaration, which no page has."""
        self.tags.append(f"<!{decl}")

    def unknown_decl(self, data: str) -> None:
        """Keep a marked section, which no page has."""
        self.tags.append(f"<![{data}")

    def handle_pi(self, data: str) -> None:
        """Keep a processing instruction, which no page has."""
        self.tags.append(f"<?{data}")


def markdown_elements(text: str) -> set[str]:
    """The kinds of elements that a reader of GitHub's Markdown finds in a text."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    inner = [child for token in tokens for child in token.children or ()]
    return {token.type.removesuffix("_open").removesuffix("_close") for token in (*tokens, *inner)}

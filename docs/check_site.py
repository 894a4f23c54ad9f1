"""Checks a built site: no link of a page is dead, and no page requests anything from outside.

Run it as ``python docs/check_site.py docs/_build``. It prints each problem, and ends with exit
code 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

RESOURCES = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "object": "data",
    "link": "href",
}
"""Tags that a browser requests something for, and the attribute that says what."""

_NOT_REQUESTED = {"next", "prev", "index", "search", "genindex", "canonical", "author"}
_IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """The anchors, the links and the requests of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.requests: list[str] = _IN_STYLE.findall(text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what one tag names, leads to or requests."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get(RESOURCES.get(tag, "")) and not _NOT_REQUESTED & set(
            values.get("rel", "").split()
        ):
            self.requests.append(values[RESOURCES[tag]])


def problems(site: Path) -> Iterator[str]:
    """Each dead link and each request outside, with its page."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name}: a request outside, {it}" for it in page.requests if _is_outside(it))
        yield from (
            f"{name}: nothing at {it}"
            for it in page.requests
            if not _is_outside(it) and not _target(path, it).exists()
        )
        yield from (f"{name}: a dead link, {it}" for it in page.links if _is_dead(path, it, pages))
    for path in sorted(site.rglob("*.css")):
        for url in _IN_STYLE.findall(path.read_text("utf-8")):
            yield f"{path.relative_to(site)}: a request outside, {url}"


def _is_outside(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in {"http", "https"}


def _target(page: Path, url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme == "data":
        return page
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    return target / "index.html" if target.is_dir() else target


def _is_dead(path: Path, url: str, pages: dict[Path, Page]) -> bool:
    """Whether a link inside the site leads to no page, or to no anchor of its page."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return False
    target = _target(path, url)
    if not target.exists():
        return True
    anchor = unquote(parts.fragment)
    return bool(anchor) and target in pages and anchor not in pages[target].anchors


def main(folder: str) -> None:
    """Prints the problems of a site."""
    site = Path(folder).resolve()
    if not (site / "index.html").is_file():
        sys.exit(f"{folder} has no index.html: build the site with `make docs`")
    lines = list(problems(site))
    sys.exit("\n".join(lines) if lines else 0)


if __name__ == "__main__":
    main(sys.argv[1])

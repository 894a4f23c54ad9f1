"""Checks a built site by axe-core in Chromium, in the light and in the dark scheme.

Run it as ``python docs/check_access.py docs/_build AXE``, where AXE is the file ``axe.min.js`` of
the npm package axe-core. It needs ``pip install selenium``, Chromium and its driver (Debian:
``chromium chromium-driver``). It prints each violation with its page, and ends with exit code 1 if
there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver

SCHEMES = ("light", "dark")
_RUN = """
const done = arguments[arguments.length - 1];
document.body.dataset.theme = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then(result => done(result.violations.map(it => [
  it.id, it.impact, it.help, it.nodes.length, it.nodes[0].html, it.nodes[0].failureSummary])));
"""


def violations(site: Path, axe: str) -> Iterator[str]:
    """Each violation, once a rule, page and scheme."""
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options)
    try:
        for page in sorted(site.rglob("*.html")):
            browser.get(page.as_uri())
            browser.execute_script(axe)
            for scheme in SCHEMES:
                for rule, impact, text, count, html, why in browser.execute_async_script(
                    _RUN, scheme
                ):
                    place = f"{page.relative_to(site)} ({scheme})"
                    yield f"{place}: {rule}, {impact}, {count} x: {text}\n{html[:200]}\n{why[:300]}"
    finally:
        browser.quit()


if __name__ == "__main__":
    found = list(violations(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).read_text("utf-8")))
    print("\n".join(found) or "no violations")
    sys.exit(bool(found))

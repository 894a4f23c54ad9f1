"""Small contents for tests, and strategies of media."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

import lmflow as lf
from lmflow.values.media import Media

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A picture of one pixel."""
WAV = (
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0"
)
"""A sound without samples."""
PDF = b"%PDF-1.4\n%%EOF\n"

_contents = st.binary(max_size=40)
media: st.SearchStrategy[Media] = st.one_of(
    st.builds(lambda data: lf.Image(PNG + data), _contents),
    st.builds(lambda data: lf.Audio(WAV + data), _contents),
    st.builds(
        lambda data, name: lf.File(data, "text/plain", name=name), _contents, st.text(max_size=8)
    ),
    st.builds(
        lambda name: lf.Image(f"https://example.org/{name}.png"),
        st.from_regex(r"[a-z]{1,9}", fullmatch=True),
    ),
)
"""Pictures, sounds and files, by content or by URL."""

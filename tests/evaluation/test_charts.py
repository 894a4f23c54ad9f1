"""The laws of pictures: XML of finite places, in which names are only text."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from lmflow.evaluation.charts import lines_svg

POINTS = st.lists(st.tuples(st.floats(-9, 9), st.floats(-2, 2)), max_size=5)


@given(points=POINTS, other=POINTS)
def test_every_point_is_in_the_picture(
    points: list[tuple[float, float]], other: list[tuple[float, float]]
) -> None:
    """All places are numbers within the frame, whatever the points, also one or none."""
    tree = ET.fromstring(lines_svg({"a": points, "b": other}, "t"))  # noqa: S314 - made here
    _, _, wide, high = map(float, tree.attrib["viewBox"].split())
    dots = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in tree.iter()
        if dot.tag.endswith("circle")
    ]
    assert len(points) + len(other) == len(dots)
    assert all(math.isfinite(x) and 0 <= x <= wide and 0 <= y <= high for x, y in dots)


def test_names_are_only_text() -> None:
    """A name that looks like markup is shown."""
    picture = lines_svg({"<script>": [(1, 1)]}, '"><b>')
    assert [] == re.findall("<script>|<b>", picture)
    assert {"<script>", '"><b>'} <= {node.text for node in ET.fromstring(picture).iter()}  # noqa: S314 - made here

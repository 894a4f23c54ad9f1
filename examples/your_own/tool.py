"""Tools of one's own: a pure one, and one whose answers change."""

import datetime as dt
from typing import Literal

import lmflow as lf

Unit = Literal["m", "ft", "mi"]
METRES: dict[Unit, float] = {"m": 1.0, "ft": 0.3048, "mi": 1609.344}


@lf.tool(mode="pure")
def convert(length: float, unit: Unit, to: Unit = "m") -> float:
    """Convert a length from one unit to another."""
    return length * METRES[unit] / METRES[to]


@lf.tool(mode="live")
def today(zone_hours: int = 0) -> dt.date:
    """Say which day it is, so many hours east of Greenwich."""
    return dt.datetime.now(dt.timezone(dt.timedelta(hours=zone_hours))).date()


if __name__ == "__main__":
    lf.testing.check_tool(convert, length=3.0, unit="ft")
    lf.testing.check_tool(today, zone_hours=1)
    agent = lf.react("question -> answer", [convert, today])
    print(dict(lf.run(convert, length=3.0, unit="ft").outputs or {}))
    print(agent.signature)

"""How calls a second grow with workers, by a simulation of waiting alone.

    python bench/scale.py [--latency 500] [--open 16] [--record 0.65] [--lease 4.5] [--part 32]

Times are milliseconds. Workers lease parts of rows and record calls at a store that does one thing
at a time; between these they only wait for the model. What workers compute themselves is left out.
"""

from __future__ import annotations

import heapq

import attrs
import click

WORKERS = (1, 8, 32, 100, 300, 1_000)
PARTS = 6


@attrs.frozen
class Times:
    """Milliseconds of the model, of recording a call and of leasing a part; and how many calls a
    worker has open, and how many rows a part has.
    """

    latency: float
    record: float
    lease: float
    open: int
    part: int


def calls_a_second(workers: int, stores: int, times: Times) -> float:
    """Simulate workers that share stores; return the calls a second of all until the last call."""
    free = [0.0] * stores
    ready = [(0.0, worker, 0) for worker in range(workers)]
    ended = 0.0
    while ready:
        now, worker, done = heapq.heappop(ready)
        store = worker % stores
        cost = times.lease if done % times.part == 0 else 0.0
        count = min(times.open, times.part - done % times.part)
        cost += times.record * count if done else 0.0
        free[store] = max(now, free[store]) + cost
        ended = max(ended, free[store])
        if done < PARTS * times.part:
            heapq.heappush(ready, (free[store] + times.latency, worker, done + count))
    return 1_000 * workers * PARTS * times.part / ended


@click.command()
@click.option("--latency", default=500.0, help="Of a call, in milliseconds.")
@click.option("--open", "width", default=16, help="Calls that a worker has open.")
@click.option("--record", default=0.65, help="The store's time for a call, in milliseconds.")
@click.option("--lease", default=4.5, help="The store's time for a part, in milliseconds.")
@click.option("--part", default=32, help="Rows of a part.")
def main(latency: float, width: int, record: float, lease: float, part: int) -> None:
    """Print a table: workers, and calls a second with one store, eight, and one a worker."""
    times = Times(latency, record, lease, width, part)
    click.echo("| workers | one store | 8 stores | a store each |")
    click.echo("|---|---|---|---|")
    for workers in WORKERS:
        rates = [calls_a_second(workers, stores, times) for stores in (1, min(8, workers), workers)]
        click.echo(f"| {workers:,} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")


if __name__ == "__main__":
    main()

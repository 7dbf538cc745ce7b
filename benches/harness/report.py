"""The result as Markdown: medians over the rounds.

A ratio is the median of the rounds' ratios, not the ratio of the medians: the runs of one round are neighbours in time,
so what else the machine was doing then weighs on both.
"""

import os
import platform
import subprocess
from pathlib import Path
from statistics import median

from harness.contestants import Contestant, find_pgbouncer
from harness.loads import Load, Sample, psql

# Samples in the order of the rounds, by load, number of clients and contestant.
Results = dict[tuple[str, int, str], list[Sample]]


def print_tables(loads: list[Load], contestants: list[Contestant], results: Results) -> None:
    names = [contestant.name for contestant in contestants]
    proxies = [name for name in names if name != "direct"]
    ratios = comparisons(proxies)
    for copy, rate_title, cost_title in [
        (False, "Transactions per second · latency in ms", "CPU µs per transaction"),
        (True, "COPY, MB/s", "CPU ms per GB"),
    ]:
        cases = [(load, count) for load in loads if load.is_copy() == copy for count in load.clients]
        if cases:
            print_table(rate_title, cases, names, [rates(*case, names, results) for case in cases])
            columns = [*proxies, *(f"{ours} ÷ {theirs}" for ours, theirs in ratios)]
            print_table(cost_title, cases, columns, [costs(*case, proxies, ratios, results) for case in cases])


def comparisons(proxies: list[str]) -> list[tuple[str, str]]:
    """What is asked of pgusher, and how near to the floor PgBouncer comes."""
    asked = [("pgusher", "pgbouncer"), ("pgusher", "relay"), ("pgbouncer", "relay")]
    return [(ours, theirs) for ours, theirs in asked if ours in proxies and theirs in proxies]


def rates(load: Load, clients: int, names: list[str], results: Results) -> list[str]:
    cells = []
    for name in names:
        samples = results[load.name, clients, name]
        rate = f"{median(sample.rate for sample in samples):,.0f}"
        latency = "" if load.is_copy() else f" · {median(sample.latency for sample in samples):.2f}"
        cells.append(rate + latency)
    return cells


def costs(load: Load, clients: int, proxies: list[str], ratios: list[tuple[str, str]], results: Results) -> list[str]:
    def of(name: str) -> list[float]:
        return [sample.cpu for sample in results[load.name, clients, name]]

    absolute = [f"{median(of(name)):,.1f}" for name in proxies]
    relative = [f"{median(a / b for a, b in zip(of(ours), of(theirs))):.2f}" for ours, theirs in ratios]
    return absolute + relative


def print_table(title: str, cases: list[tuple[Load, int]], columns: list[str], rows: list[list[str]]) -> None:
    print(f"\n**{title}**\n")
    print("| load | clients | " + " | ".join(columns) + " |")
    print("| --- | ---: |" + " ---: |" * len(columns))
    for (load, clients), cells in zip(cases, rows):
        print(f"| {load.name} | {clients} | " + " | ".join(cells) + " |")


def print_setting(arguments: list[str], direct: Contestant) -> None:
    """The command, and what else the numbers depend on."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").open() if "model name" in line), "?")
    postgres = psql(direct, "\\pset format unaligned\n\\pset tuples_only on\nSHOW server_version").strip()
    pgbouncer = subprocess.check_output([find_pgbouncer(), "--version"], text=True).splitlines()[0]
    print(" ".join(["$ benches/side_by_side", *arguments]))
    print(f"{os.cpu_count()} × {cpu}, Linux {platform.release()}, PostgreSQL {postgres}, {pgbouncer}")

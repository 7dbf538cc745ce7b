"""The result as Markdown: medians over the rounds.

A ratio is the median of the rounds' ratios, not the ratio of the medians: the runs of one round are neighbours in time,
so what else the machine was doing then weighs on both.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.contestants import Contestant, pgbouncer_version
from harness.loads import Load, Sample, prepares_in_session_mode, psql

# Samples in the order of the rounds, by load, number of clients and contestant.
Results = dict[tuple[str, int, str], list[Sample]]

# What is asked of pgusher, and how near to the floor PgBouncer comes.
RATE_RATIOS = [("pgusher", "pgbouncer"), ("pgusher", "direct")]
COST_RATIOS = [("pgusher", "pgbouncer"), ("pgusher", "relay"), ("pgbouncer", "relay")]


@dataclass
class Table:
    """One quantity, for the loads that measure it, by contestant; then ratios of it."""

    title: str
    measures: str
    value: Callable[[Sample], float]
    text: Callable[[list[Sample]], str]
    ratios: list[tuple[str, str]]
    direct: bool  # whether the server itself has the quantity, or only a proxy does


def medians(value: Callable[[Sample], float], form: str) -> Callable[[list[Sample]], str]:
    return lambda samples: format(median(map(value, samples)), form)


def rate(sample: Sample) -> float:
    return sample.rate


def cpu(sample: Sample) -> float:
    return sample.cpu


def memory(sample: Sample) -> float:
    return sample.memory


def rate_and_latency(samples: list[Sample]) -> str:
    return f"{median(map(rate, samples)):,.0f} · {median(sample.latency for sample in samples):.2f}"


TABLES = [
    Table("Transactions per second · latency in ms", "statements", rate, rate_and_latency, RATE_RATIOS, True),
    Table("CPU µs per transaction", "statements", cpu, medians(cpu, ",.1f"), COST_RATIOS, False),
    Table("COPY, MB/s", "copy", rate, medians(rate, ",.0f"), [], True),
    Table("CPU ms per GB", "copy", cpu, medians(cpu, ",.1f"), COST_RATIOS, False),
    Table("Memory, KiB per client", "memory", memory, medians(memory, ",.2f"), COST_RATIOS, False),
    Table("Logins per second", "memory", rate, medians(rate, ",.0f"), RATE_RATIOS, False),
    Table("CPU µs per login", "memory", cpu, medians(cpu, ",.1f"), COST_RATIOS, False),
]


def print_tables(loads: list[Load], contestants: list[Contestant], results: Results) -> None:
    for table in TABLES:
        cases = [(load.name, count) for load in loads if load.measures == table.measures for count in load.clients]
        measured = {name for load, count, name in results if (load, count) in cases}
        names = [one.name for one in contestants if one.name in measured and (table.direct or one.name != "direct")]
        ratios = [pair for pair in table.ratios if set(pair) <= set(names)]
        if names:
            print_table(table, cases, names, ratios, results)


def print_table(table: Table, cases: list[tuple[str, int]], names: list[str], ratios: list, results: Results) -> None:
    print(f"\n**{table.title}**\n")
    columns = [*names, *(f"{ours} ÷ {theirs}" for ours, theirs in ratios)]
    print("| load | clients | " + " | ".join(columns) + " |")
    print("| --- | ---: |" + " ---: |" * len(columns))
    for case in cases:
        samples = {name: results.get((*case, name), []) for name in names}
        cells = [table.text(samples[name]) if samples[name] else "–" for name in names]
        cells += [ratio(table.value, samples[ours], samples[theirs]) for ours, theirs in ratios]
        print(f"| {case[0]} | {case[1]} | " + " | ".join(cells) + " |")


def ratio(value: Callable[[Sample], float], ours: list[Sample], theirs: list[Sample]) -> str:
    if not (ours and theirs):
        return "–"
    # CPU time comes in ticks, so that a short run may have none.
    pairs = [(value(a), value(b)) for a, b in zip(ours, theirs)]
    return f"{median(a / b if b else float('nan') for a, b in pairs):.2f}"


def print_setting(arguments: list[str], direct: Contestant, pool_mode: str, loads: list[Load]) -> None:
    """The command, and what else the numbers depend on."""
    pgbouncer = pgbouncer_version()
    print(" ".join(["$ benches/side_by_side", *arguments]))
    print(f"{machine(direct)}, {pgbouncer}")
    if prepares_in_session_mode(pool_mode) and any(load.name == "prepared" for load in loads):
        print(f"prepared: {pgbouncer} cannot in transaction mode; its cells are of session mode, a server per client")


def machine(direct: Contestant) -> str:
    cpu_name = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").open() if "model name" in line), "?")
    postgres = psql(direct, "\\pset format unaligned\n\\pset tuples_only on\nSHOW server_version").strip()
    return f"{os.cpu_count()} × {cpu_name}, Linux {platform.release()}, PostgreSQL {postgres}"

"""The table of `aot.py`: all programs that were compiled, with what they cost and the estimates' assumptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from targets import GPUS, KERNEL_S, TPUS

HEAD = (
    "program",
    "chips",
    "compile s",
    "code MB",
    "temporaries MB",
    "products GFLOP",
    "memory GB",
    "kernels",
    "copies",
    "transposes",
    "collectives, MB",
    "Mcycles",
    "estimate, million steps/s",
)
WORDS = {"cycles": "cycles", "kernels": "kernels", "memory": "memory", "products": "products"}


def line(result: Mapping[str, Any]) -> str:
    """One program in a line of words."""
    if "cost" not in result:
        return f"does not fit: {result['error'][:80]} ({result['compile_s']:.0f} s)"
    words = f"compiled in {result['compile_s']:.0f} s, code {result['code_bytes'] / 1e6:.1f} MB"
    if "estimate" in result:
        words += f", estimate {result['estimate']['steps_per_s'] / 1e6:.2f} million steps/s"
    return words


def cells(result: Mapping[str, Any]) -> list[str]:
    """One program as the cells of its row."""
    name = f"{result['env']}, {result['preset']}, {result['envs']:,}"
    name += "" if result["kind"] == "block" else f", {result['kind']}"
    first = [name, str(result["chips"]), f"{result['compile_s']:.0f}"]
    if "cost" not in result:
        return [*first, "does not fit", *[""] * (len(HEAD) - len(first) - 1)]
    cost, estimate = result["cost"], result.get("estimate")
    said = "" if estimate is None else f"{estimate['steps_per_s'] / 1e6:.3g} ({WORDS[estimate['bound']]})"
    return [
        *first,
        f"{result['code_bytes'] / 1e6:.3g}" if result["code_bytes"] else "",
        f"{result['temp_bytes'] / 1e6:,.0f}" + ("" if result["fits"] else ", does not fit"),
        f"{cost['matmul_flops'] / 1e9:,.3g}",
        f"{cost['bytes'] / 1e9:,.3g}",
        f"{cost['kernels']:,.0f}",
        f"{cost['copies']:,.0f}",
        f"{cost['transposes']:,.0f}",
        f"{cost['collectives']:,.0f}, {cost['collective_bytes'] / 1e6:.3g}" if cost["collectives"] else "",
        f"{cost['cycles'] / 1e6:,.4g}" if cost["cycles"] else "",
        said,
    ]


def _rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The results of a folder by topology, the blocks of one task together."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        found.setdefault(result["topology"], []).append(result)
    for rows in found.values():
        rows.sort(key=lambda one: (one["kind"] != "block", one["preset"], one["env"], one["envs"], one["chips"]))
    return dict(sorted(found.items()))


def table(folder: Path, updates: int, turns: int, steps: int) -> str:
    """Markdown of the results in `folder/parts`, and of those in `folder/before` where there are any."""
    lines = [
        "# Training programs compiled for chips that were not there",
        "",
        "Made by `python benchmarks/aot.py`. **Nothing ran on a TPU or GPU: the speeds are estimates.** Costs are of "
        f"one update of a block of {updates} (of init and evaluation: of one call), on one chip; the teacher is asked "
        "in every update. Rollout, labels and update are the stages of an update, as programs of their own. Compile "
        "seconds are of a machine that did other work too.",
    ]
    for label, title in (("parts", "Now"), ("before", "Before the programs were fitted to accelerators")):
        found = _rows(folder / label)
        if not found:
            continue
        lines += ["", f"## {title}"]
        for topology, rows in found.items():
            lines += [
                "",
                f"### {topology} ({rows[0]['chip']})",
                "",
                f"| {' | '.join(HEAD)} |",
                "|---" * len(HEAD) + "|",
            ]
            lines += [f"| {' | '.join(cells(one))} |" for one in rows]
            lines += _sums(rows)
    return "\n".join([*lines, "", *_assumptions(turns, steps)]) + "\n"


def _sums(rows: list[dict[str, Any]]) -> list[str]:
    """What the stages of an update come to, where a result has all of a program's."""
    whole: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for one in rows:
        whole.setdefault((one["env"], one["preset"], one["envs"], one["chips"]), {})[one["kind"]] = one
    lines = []
    for (env, preset, envs, _), kinds in whole.items():
        if not all(kind in kinds and "estimate" in kinds[kind] for kind in ("rollout", "labels", "update")):
            continue
        stages = [kinds[kind]["estimate"] for kind in ("rollout", "labels", "update")]
        seconds = sum(one["seconds"][one["bound"]] for one in stages)
        steps = stages[0]["steps_per_s"] * stages[0]["seconds"][stages[0]["bound"]]
        lines += [
            "",
            f"The three stages of {env}, {preset}, {envs:,} one after the other: {1e3 * seconds:.3g} ms an update, "
            f"{steps / seconds / 1e6:.3g} million steps/s.",
        ]
    return lines


def _assumptions(turns: int, steps: int) -> list[str]:
    """What the estimates take for granted."""
    chips = [*TPUS.values(), *GPUS.values()]
    return [
        "## Assumptions",
        "",
        f"- Searches for ways and paths take {steps} steps; other loops whose turns depend on the data turn {turns} "
        "times. Of two branches the dearer is taken. All other loops are counted as often as they run.",
        "- On a TPU: the cycles that its compiler expects, at the clock that its peak implies; these have been off "
        "twofold. The estimate is the largest of those, memory traffic and matrix products.",
        f"- On a GPU: each kernel takes {KERNEL_S * 1e6:.0f} µs, or its memory traffic or its matrix products where "
        "those take longer. XLA tunes some kernels on the device itself; here it could not.",
        "- Sums over chips: 2 (n - 1) steps of the link's latency and 2 (n - 1) / n of the bytes.",
        "- Memory traffic is what kernels read and write in the chip's main memory; caches are not counted.",
        *(
            f"- {one.name}: {one.flops / 1e12:.0f} TFLOP/s, {one.bandwidth / 1e9:,.0f} GB/s, "
            f"{one.memory / 1e9:.0f} GB, links {one.link / 1e9:.0f} GB/s"
            + (f", {one.clock / 1e9:.2f} GHz." if one.clock else ".")
            for one in chips
        ),
    ]

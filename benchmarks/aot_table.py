"""The table of `aot.py`: all programs that were compiled, with what they cost and the estimates' assumptions."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
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
    "kernels (and small ones)",
    "copies",
    "transposes",
    "collectives, MB",
    "Mcycles",
    "estimate, million steps/s",
)


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
    own = f" ({result['compile_cpu_s']:.0f})" if "compile_cpu_s" in result else ""
    first = [name, str(result["chips"]), f"{result['compile_s']:.0f}{own}"]
    if "cost" not in result:
        return [*first, "does not fit", *[""] * (len(HEAD) - len(first) - 1)]
    cost, estimate = result["cost"], result.get("estimate")
    said = "" if estimate is None else f"{_three(estimate['steps_per_s'] / 1e6)} ({estimate['bound']})"
    return [
        *first,
        f"{result['code_bytes'] / 1e6:.3g}" if result["code_bytes"] else "",
        f"{result['temp_bytes'] / 1e6:,.0f}" + ("" if result["fits"] else ", does not fit"),
        f"{cost['matmul_flops'] / 1e9:,.3g}",
        f"{cost['bytes'] / 1e9:,.3g}",
        f"{cost['kernels']:,.0f}" + (f" (and {cost['small']:,.0f})" if "small" in cost else ""),
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


def table(folder: Path, updates: int, turns: int, steps: int, names: Collection[str] = ()) -> str:
    """Markdown of the results in `folder/parts`, and of those in `folder/before` where there are any.

    Programs of `names` that a chip in `folder/parts` has no result of are named below its rows.
    """
    lines = [
        "# Training programs compiled for chips that were not there",
        "",
        "Made by `python benchmarks/aot.py`. **Nothing ran on a TPU or GPU: the speeds are estimates.** Costs are of "
        f"one update of a block of {updates} (of init and evaluation: of one call), on one chip; the teacher is asked "
        "in every update. Rollout, labels and update are the stages of an update, as programs of their own. Compile "
        "seconds are of a machine that did other work too; in brackets the compiler's own processor seconds (for GPUs "
        "without the assembler, a process of its own).",
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
            missing = [name for name in names if name not in [one["name"] for one in rows]]
            if label == "parts" and missing:
                lines += ["", f"Not compiled: {', '.join(missing)}."]
            lines += _sums(rows) + _scaling(rows)
    return "\n".join([*lines, "", *_assumptions(turns, steps)]) + "\n"


def _sums(rows: list[dict[str, Any]]) -> list[str]:
    """What the stages of an update come to, where a result has all of a program's."""
    lines = []
    for one in rows:
        if one["kind"] == "rollout" and (found := _stages(rows, one)) is not None:
            seconds, steps = found
            lines += [
                "",
                f"The three stages of {one['env']}, {one['preset']}, {one['envs']:,} one after the other: "
                f"{1e3 * seconds:.3g} ms an update, {steps / seconds / 1e6:.3g} million steps/s.",
            ]
    return lines


def _stages(rows: list[dict[str, Any]], rollout: dict[str, Any]) -> tuple[float, float] | None:
    """Seconds of the three stages of a rollout's program, and its environment steps; None if one is not there."""
    from stages import STAGES  # which imports the trainer

    same = [
        one["estimate"]
        for one in rows
        if one["kind"] in STAGES and "estimate" in one
        if all(one[name] == rollout[name] for name in ("env", "preset", "envs", "chips"))
    ]
    if len(same) < len(STAGES):
        return None
    seconds = [one["seconds"][one["bound"]] for one in same]
    return sum(seconds), same[0]["steps_per_s"] * seconds[0]


def _scaling(rows: list[dict[str, Any]]) -> list[str]:
    """The efficiency on more chips, each with as many environments, of the updates that were compiled for several."""
    lines = []
    for many in rows:
        alone = {**many, "envs": many["envs"] // many["chips"], "chips": 1}
        if many["kind"] != "update" or many["chips"] == 1 or (found := _stages(rows, alone)) is None:
            continue
        chip = next(one for one in (*TPUS.values(), *GPUS.values()) if one.name == many["chip"])
        cost, (seconds, steps) = many["cost"], found
        lines += [
            "",
            f"{alone['envs']:,} environments on each chip: {cost['collectives']:.0f} sums over all chips in an update, "
            f"{cost['collective_bytes'] / 1e6:.3g} MB of each chip.",
            "",
            "| chips | exchange, ms an update | efficiency | million steps/s |",
            "|---|---|---|---|",
        ]
        for chips in (1, 4, 8, 64, 256):
            exchange = chip.exchange_s(chips, cost["collectives"], cost["collective_bytes"])
            share = seconds / (seconds + exchange)
            lines.append(
                f"| {chips} | {1e3 * exchange:.3g} | {100 * share:.0f} % "
                f"| {chips * share * steps / seconds / 1e6:,.0f} |"
            )
    return lines


def _three(number: float) -> str:
    """With three digits, or all of those before the point."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


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
        "those take longer. XLA tunes some kernels on the device itself; here it could not. Kernels that give a single "
        "number (small ones) are counted apart and not in the estimate: if each takes as long as another, divide it by "
        "1 + small / kernels. A search in Triton counts as one short kernel, which that of the labels is not (69 µs on "
        "an H200). What an H200 did is in "
        "[docs/devices.md](../../../docs/devices.md#one-gpu-measured).",
        "- Sums over n chips: 4 (sqrt(n) - 1) messages one after the other on a TPU's torus, 2 log2(n) on GPUs, each "
        "with the link's latency; and 2 (n - 1) / n of the bytes. More than eight GPUs are linked at 50 GB/s each.",
        "- Memory traffic is what kernels read and write in the chip's main memory; caches are not counted.",
        *(
            f"- {one.name}: {one.flops / 1e12:.0f} TFLOP/s, {one.bandwidth / 1e9:,.0f} GB/s, "
            f"{one.memory / 1e9:.0f} GB, links {one.link / 1e9:.0f} GB/s and {one.link_s * 1e6:.0f} µs"
            + (f", {one.clock / 1e9:.2f} GHz." if one.clock else ".")
            for one in chips
        ),
    ]

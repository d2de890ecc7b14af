"""Timing programs on a machine that others use too: in turns, in ratios, in wall-clock and in processor time.

Host module of the benchmarks. A single figure taken on a busy machine says little; two taken in turns, in one process,
divide to a ratio that says much. Processor time (of the whole process, all threads) stands beside the clock: what a
neighbour slows most is the clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from l4t_jax.reporting import machine
from l4t_jax.training.compilation import tuned

Call = tuple[Callable[[], Any], int]  # a program, and how many steps (labels, ...) one call makes

# A run whose teacher is asked in every update: it is so long that the teacher's weight, which falls by the clock, stays
# near its start while this is timed. The warm-up, which is over after a few updates and which peers do not have, is
# left out.
TEACHER_ON: dict[str, Any] = dict(total_steps=10**9, anneal="clock", warmup_updates=0)
LEAST = 0.05  # seconds that one sample lasts at least: short programs are called several times


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples of one program.

    Attributes:
        wall: seconds a call by the clock, one a round.
        cpu: seconds a call of processor time, all threads together.
        count: environment steps, labels, ... that one call makes.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    count: int

    @property
    def rate(self) -> float:
        """Median of the counts a second."""
        return self.count / statistics.median(self.wall)

    @property
    def rates(self) -> list[float]:
        """The quartiles of `rate`, lower and upper."""
        low, high = quartiles(self.wall)
        return [self.count / high, self.count / low]

    @property
    def cpu_us(self) -> float:
        """Median processor time of one count, microseconds."""
        return statistics.median(self.cpu) / self.count * 1e6

    @property
    def us(self) -> float:
        """Median time of one count, microseconds."""
        return statistics.median(self.wall) / self.count * 1e6


def quartiles(values: tuple[float, ...] | list[float]) -> tuple[float, float]:
    """Lower and upper quartile; of a single value, itself twice."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def in_turns(programs: Mapping[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, Samples]:
    """Times programs in turns, so that whatever else the machine does falls on all of them alike.

    Each sample comes after a call that is not timed: what ran before leaves caches and sleeping cores behind. (Two
    cores: whoever followed a Python environment on one of them lost 13 to 20 %.)

    Args:
        programs: name -> (the call, what one call counts). A call returns arrays, or None if it waits by itself.
        rounds: samples of each; a first call of each is not timed.
    """
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in programs}
    calls = {}
    for name, (call, _) in programs.items():
        jax.block_until_ready(call())
        began = time.perf_counter()
        jax.block_until_ready(call())
        calls[name] = max(1, round(LEAST / max(time.perf_counter() - began, 1e-6)))
    for _ in range(rounds):
        for name, (call, _) in programs.items():
            jax.block_until_ready(call())
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(calls[name]):
                jax.block_until_ready(call())
            times[name][0].append((time.perf_counter() - wall) / calls[name])
            times[name][1].append((time.process_time() - cpu) / calls[name])
    return {name: Samples(tuple(times[name][0]), tuple(times[name][1]), programs[name][1]) for name in programs}


def ratio(over: Samples, under: Samples, cpu: bool = False) -> dict[str, Any]:
    """How many times the rate of `under` is `over`'s: median and quartiles of the rounds' own ratios."""
    first, second = (over.cpu, under.cpu) if cpu else (over.wall, under.wall)
    pairs = [(b / under.count) / (a / over.count) for a, b in zip(first, second, strict=True)]
    return {"median": statistics.median(pairs), "quartiles": list(quartiles(pairs)), "rounds": len(pairs)}


def figures(samples: Mapping[str, Samples], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What a result says of samples: rates, quartiles and processor time, and the ratios of pairs of their names."""
    return dict(
        rates={name: one.rate for name, one in samples.items()},
        spread={name: one.rates for name, one in samples.items()},
        cpu_us_per_step={name: one.cpu_us for name, one in samples.items()},
        ratios={
            f"{a}_over_{b}": {
                **ratio(samples[a], samples[b]),
                "cpu_median": ratio(samples[a], samples[b], cpu=True)["median"],
            }
            for a, b in pairs
        },
    )


def run_once(make: Callable[[], Call], must: bool) -> tuple[Call | None, str]:
    """A program that has run once; None, and why, where it does not run here. With `must` the error is raised."""
    try:
        call = make()
        call[0]()
        return call, ""
    except Exception as error:
        if must:
            raise
        return None, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def compiled(function: Callable, *args: Any) -> tuple[Any, dict[str, float]]:
    """A program compiled for these arguments, and the seconds that tracing and compiling it took.

    Args:
        function: jitted, or not: then it is, with the options of a training block.
        args: its arguments, or their shapes.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    jitted = function if hasattr(function, "lower") else jax.jit(function, compiler_options=tuned())
    program = jitted.lower(*args).compile()  # pyright: ignore
    return program, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


@dataclasses.dataclass(frozen=True)
class Block:
    """A trainer's block of some updates, compiled, as a run calls it.

    Attributes:
        program: compiled.
        seconds: that tracing and compiling it took.
        call: makes what runs it. The states are on the device from then on.
    """

    program: Any
    seconds: dict[str, float]
    call: Callable[[], Call]


def block(trainer: Any, updates: int) -> Block:
    """A trainer's block of so many updates; its table is the shipped teacher's, if it has one."""
    import jax.numpy as jnp

    from l4t_jax.teacher import file as teacher_file
    from l4t_jax.training import programs

    table = None
    if trainer.config.teacher != "none" and trainer.task.teacher is not None:
        table = teacher_file.to_table(trainer.task, teacher_file.shipped(trainer.task))
    made = programs.training_programs(trainer, table, updates)
    program, seconds = compiled(made["block"][0], *made["block"][1])

    def call() -> Call:
        held, placed = [trainer.put(made["init"][0](jnp.int32(0)))], trainer.put(table)
        count = jnp.int32(updates)

        def once() -> Any:
            held[0], metrics = program(held[0], placed, count)
            return metrics

        return once, updates * trainer.steps_per_update

    return Block(program, seconds, call)


def peak_memory() -> dict[str, int]:
    """Bytes: the most that the device gave out, where it says, and the most that the process held."""
    scale = 1 if sys.platform == "darwin" else 1024
    found = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale}
    stats = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats and "peak_bytes_in_use" in stats:
        found["device"] = int(stats["peak_bytes_in_use"])
    return found


def load() -> float | None:
    """How many threads wanted to run over the last minute, where the system says."""
    with contextlib.suppress(OSError):
        return os.getloadavg()[0]
    return None


def use_cores(number: int | None) -> None:
    """Keeps this process to so many cores; call it before jax is first used."""
    if number is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:number]))


def versions(*packages: str) -> dict[str, str]:
    """Versions of what a run's figures depend on, and of those of these packages that are installed."""
    found = machine.versions()
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def recorded(settings: Any) -> dict[str, Any]:
    """What a result says of its settings, a dataclass: all but `out`, where it is written."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name != "out"}


def load_words(result: Mapping[str, Any]) -> str:
    """The load averages of a result, before and after."""
    return ", ".join("?" if one is None else f"{one:.1f}" for one in result["load_average"])


def keep(result: Mapping[str, Any], text: str, stem: Path) -> None:
    """Writes a result as STEM.json, and what a table says of it as STEM.md."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    stem.with_suffix(".md").write_text(text)


def say(*words: Any) -> None:
    """A line for the person that waits; standard output belongs to the result."""
    print(*words, file=sys.stderr, flush=True)


def thousands(rate: float) -> str:
    """Such as "86 thousand" or "3.1 million"."""
    return f"{rate / 1e6:.3g} million" if rate >= 1e6 else f"{rate / 1e3:.3g} thousand"

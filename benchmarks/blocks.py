"""Training blocks on the device that is there, made side by side and timed one by one: `python benchmarks/blocks.py`.

For an accelerator that is lent by the minute: each program is traced and compiled in a process of its own, all at the
same time; then each is timed alone. Programs are named as in `aot.py`, so that what is measured can stand beside what
was estimated.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import re
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timing
import tyro

RESULTS = Path(__file__).parent / "results"
NAME = re.compile(r"(?P<env>.+)-(?P<preset>fast|paper)-block-(?P<envs>\d+)x1(?P<options>(:bfloat16|:ppo)*)")
PEERS = ("l4t", "ppo", "l4t_default_student", "navix_ppo")  # of `peers.py`, such as navix_ppo-4096
UPDATES = 8  # of one call of a block


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    programs: str = (
        "SimpleDoorKey-fast-block-4096x1,SimpleDoorKey-fast-block-16384x1,DoorKey-8x8-fast-block-4096x1,"
        "KeyCorridorS3R3-fast-block-4096x1"
    )
    """Commas between. TASK-PRESET-block-ENVIRONMENTSx1, behind it :bfloat16 or :ppo (no teacher); or one of peers.py
    and its environments, such as navix_ppo-4096."""
    seconds: float = 600.0
    """What is not compiled by then is not measured. Timing one program may take as long again."""
    rounds: int = 7
    """Samples of each; the median is reported, the quartiles beside it."""
    out: str | None = None
    """Folder for the JSON file and the table; benchmarks/results by default, none with --json."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


def block(name: str) -> Any:
    """What a program's call is, and how many environment steps it makes."""
    from l4t_jax.config import Config
    from l4t_jax.training.trainer import Trainer

    peer, _, envs = name.rpartition("-")
    if peer in PEERS:
        import peers

        settings = peers.Settings(num_envs=int(envs))
        if peer == "navix_ppo":
            return peers.navix_ppo(settings)
        return peers.ours(settings, peer.partition("_")[0], "ego" if peer.endswith("student") else "towers")
    found = NAME.fullmatch(name)
    assert found is not None, "`main` has looked"
    taught = ":ppo" not in found["options"]
    config = Config(
        env=found["env"], preset=found["preset"],  # pyright: ignore
        algo="l4t" if taught else "ppo", teacher="shipped" if taught else "none",
        dtype="bfloat16" if ":bfloat16" in found["options"] else "float32",
        rollouts="steps", num_envs=int(found["envs"]), **timing.TEACHER_ON,
    )  # fmt: skip
    return timing.block(Trainer.create(config), UPDATES).call()


def work(name: str, rounds: int, pipe: Connection) -> None:
    """A process: makes one program, says so, waits for its turn and sends what it measured, or why it could not."""
    try:
        import jax

        from l4t_jax.reporting import machine

        jax.config.update("jax_enable_compilation_cache", False)
        began = time.perf_counter()
        call, steps = block(name)
        pipe.send({"made_s": time.perf_counter() - began, "device": machine.device_name()})
        pipe.recv()
        samples = timing.in_turns({name: (call, steps)}, rounds)[name]
        metrics = jax.device_get(call())
        success = metrics.get("success") if isinstance(metrics, dict) else None
        pipe.send({
            "steps_per_s": samples.rate, "quartiles": samples.rates, "steps": steps,
            "success": None if success is None else float(success.reshape(-1)[-1]),
            "peak_memory_bytes": timing.peak_memory(),
        })  # fmt: skip
    except Exception as error:  # said beside the others' figures
        pipe.send({"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"})


def measured(names: list[str], settings: Settings) -> dict[str, Any]:
    """The result: of each program, what its process sent."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the processes share the device's memory
    spawn = multiprocessing.get_context("spawn")
    began, running = time.monotonic(), {}
    for name in names:
        here, there = spawn.Pipe()
        process = spawn.Process(target=work, args=(name, settings.rounds, there), daemon=True)
        process.start()
        there.close()
        running[name] = process, here
    found: dict[str, dict[str, Any]] = {}
    for name, (process, pipe) in running.items():
        late = f"not made within {settings.seconds:g} s"
        found[name] = received(pipe, settings.seconds - (time.monotonic() - began), late)
        if "error" in found[name]:
            process.kill()  # or it would go on compiling beside those that are timed
            process.join()
        timing.say(f"{name}: {found[name].get('error', 'made')}")
    for name, (process, pipe) in running.items():
        if "error" not in found[name]:
            with contextlib.suppress(OSError):  # it ended meanwhile: `received` says so
                pipe.send("go")
            found[name] |= received(pipe, settings.seconds, "no answer")
            timing.say(f"{name}: {found[name].get('error') or timing.thousands(found[name]['steps_per_s'])}")
        process.kill()
        process.join()
    device = next((one["device"] for one in found.values() if "device" in one), "unknown device")
    return dict(device=device, versions=timing.versions(), settings=timing.recorded(settings), programs=found)


def received(pipe: Connection, seconds: float, late: str) -> dict[str, Any]:
    """What a process sends, or what became of it."""
    try:
        return pipe.recv() if pipe.poll(max(0.0, seconds)) else {"error": late}
    except (EOFError, OSError):
        return {"error": "its process ended"}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"# Training blocks, {result['device']}", "",
        f"Median of {result['settings']['rounds']}, quartiles in brackets; made: tracing and compiling, all programs "
        "at the same time. " + ", ".join(f"{name} {value}" for name, value in result["versions"].items()) + ".", "",
        "| program | steps a second | made, s | most memory | success at the end |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, one in result["programs"].items():
        if "error" in one:
            lines.append(f"| {name} | {one['error']} | | | |")
            continue
        low, high = (timing.thousands(rate) for rate in one["quartiles"])
        memory = one["peak_memory_bytes"].get("device")
        memory = "" if memory is None else f"{memory / 1e9:.1f} GB"
        success = "" if one["success"] is None else f"{one['success']:.3f}"
        rate = timing.thousands(one["steps_per_s"])
        lines.append(f"| {name} | {rate} ({low} - {high}) | {one['made_s']:.0f} | {memory} | {success} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    names = list(dict.fromkeys(settings.programs.replace(" ", "").split(",")))
    for name in names:
        peer, _, envs = name.rpartition("-")
        if NAME.fullmatch(name) is None and not (peer in PEERS and envs.isdigit()):
            raise SystemExit(
                f"error: no program is named {name}; a name is TASK-PRESET-block-ENVIRONMENTSx1, such as "
                "SimpleDoorKey-fast-block-4096x1, or one of peers.py, such as navix_ppo-4096"
            )
    result = measured(names, settings)
    if settings.json:
        print(json.dumps(result))
    else:
        print(table(result))
    folder = settings.out or (None if settings.json else RESULTS)
    if folder is not None:
        device = re.sub("[^a-z0-9]+", "-", result["device"].lower()).strip("-")
        timing.keep(result, table(result), Path(folder) / f"blocks-{device}")


if __name__ == "__main__":
    main()

"""What training would cost on a TPU or GPU that is not there: `python benchmarks/aot.py --topology v5e:2x2`.

Compiles the real training block (and the programs around it) for a chip by its description, counts what the compiled
text does, loops multiplied out, and estimates environment steps a second from that. Nothing runs on the chip: the
speeds are **estimates**, by the assumptions that stand below the table. It needs the extra `aot`.
"""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # tracing runs here, whatever the programs are compiled for

import dataclasses
import fnmatch
import json
import time
from pathlib import Path
from typing import Any

import aot_table
import hlo
import timing
import tyro
from targets import KERNEL_S, Target

from l4t_jax.config import Preset

RESULTS = Path(__file__).parent / "results" / "aot"
UPDATES = 8  # of a block: what is made once a block, such as its levels, is divided by so many
TURNS = 8  # assumed of every loop whose turns depend on the data
# Assumed of every search for ways and paths. Measured in four updates of SimpleDoorKey, 1,024 environments on a
# CPU: 11 steps a search for ways, 16.5 a search for paths, which take as many as the longest of all maps needs.
STEPS = 16


@dataclasses.dataclass(frozen=True)
class Program:
    """One program to compile.

    Attributes:
        env, preset: the run's.
        envs: environments, all chips together.
        chips: that they are spread over.
        kind: "block" (a training block), one of its stages ("rollout", "labels", "update"), "init" or "evaluation".
    """

    env: str
    envs: int
    chips: int = 1
    preset: Preset = "fast"
    kind: str = "block"

    @property
    def name(self) -> str:
        return f"{self.env}-{self.preset}-{self.kind}-{self.envs}x{self.chips}"


# The smallest first: whoever stops early has most of the table.
PROGRAMS = [
    Program("SimpleDoorKey", 128),
    *(Program("SimpleDoorKey", 4096, kind=kind) for kind in ("rollout", "labels", "update")),
    Program("SimpleDoorKey", 16384, chips=4, kind="update"),
    *(Program("SimpleDoorKey", 4096, preset="paper", kind=kind) for kind in ("rollout", "update")),
    Program("SimpleDoorKey", 1024, kind="init"),
    Program("SimpleDoorKey", 1024, kind="evaluation"),
    Program("SimpleDoorKey", 1024),
    Program("SimpleDoorKey", 4096),
    Program("SimpleDoorKey", 4096, chips=4),
    Program("SimpleDoorKey", 128, preset="paper"),
    Program("DoorKey-8x8", 4096),
    Program("DoorKey-8x8", 4096, chips=4),
    Program("KeyCorridorS3R3", 4096),
    Program("KeyCorridorS3R3", 4096, chips=4),
    Program("SimpleDoorKey", 16384),
    Program("SimpleDoorKey", 4096, preset="paper"),
]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to compile, and for what."""

    topology: str | None = None
    """TPU topology, such as v5e:2x2 (the default) or v6e:2x2."""
    gpu: str | None = None
    """GPU instead of a TPU: h100."""
    programs: str = "*"
    """Names of the programs to compile, with wildcards, commas between; --list shows all."""
    list: bool = False
    """Print the names of the programs and stop."""
    again: bool = False
    """Compile those too that have been compiled before."""
    label: str = "parts"
    """Folder of the programs' results within results/aot, such as before."""
    out: str | None = None
    """Folder for the results instead of benchmarks/results/aot."""
    text: str | None = None
    """Folder to keep the compiled texts in."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


def programs_of(settings: Settings) -> list[Program]:
    """The programs that the settings name."""
    patterns = settings.programs.replace(" ", "").split(",")
    return [one for one in PROGRAMS if any(fnmatch.fnmatch(one.name, pattern) for pattern in patterns)]


def lowered(program: Program, target: Target) -> Any:
    """A program lowered for its target; `.compile()` compiles it."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, SingleDeviceSharding
    from stages import STAGES, stage

    from l4t_jax import parallel
    from l4t_jax.config import Config
    from l4t_jax.evaluation.heldout import Evaluator
    from l4t_jax.teacher import file as teacher_file
    from l4t_jax.training import programs
    from l4t_jax.training.trainer import Trainer

    devices = target.devices(program.chips)
    config = Config(env=program.env, preset=program.preset, rollouts="steps", num_envs=program.envs, warmup_updates=0)
    steps = Trainer.create(config).config.num_steps
    config = dataclasses.replace(config, total_steps=20 * UPDATES * program.envs * steps)
    trainer = dataclasses.replace(Trainer.create(config), compiled_for=target.platform)
    if program.chips > 1:
        trainer = dataclasses.replace(trainer, mesh=Mesh(np.asarray(devices), (parallel.AXIS,)))
    table = teacher_file.to_table(trainer.task, teacher_file.shipped(trainer.task))
    made = {} if program.kind in STAGES else programs.training_programs(trainer, table, UPDATES)
    if program.kind == "evaluation":
        params = made["block"][1][0].params
        evaluator = Evaluator(trainer.players, table, trainer.config.validation_levels)
        function, arguments = evaluator.programs(params, {"test": trainer.config.heldout_levels}, False)["student"]
    elif program.kind in STAGES:
        function, arguments = stage(trainer, table, program.kind)
    else:
        function, arguments = made[program.kind]

    def placed(leaf: Any) -> Any:
        """A shape on the target's device; those of a mesh say where they lie."""
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(sharding, jax.sharding.NamedSharding):
            sharding = SingleDeviceSharding(devices[0])
            if program.chips > 1:
                sharding = jax.sharding.NamedSharding(trainer.mesh, jax.sharding.PartitionSpec())  # pyright: ignore
        return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)

    with jax.default_device(devices[0]):  # kernels in Triton ask which GPU they are for
        return function.lower(*jax.tree.map(placed, arguments)), trainer.steps_per_update


def seconds_of(cost: hlo.Cost, target: Target, chips: int) -> dict[str, float]:
    """What each part of a chip needs for a cost at least, in seconds; the largest is the estimate."""
    chip = target.chip
    exchange = chip.exchange_s(chips, cost.collectives, cost.collective_bytes)
    if target.platform == "gpu":
        parts = {"kernels": cost.seconds}
    else:
        assert chip.clock is not None
        parts = {"cycles": cost.cycles / chip.clock}
    parts |= {"memory": cost.bytes / chip.bandwidth, "products": cost.matmul_flops / chip.flops}
    return {name: value + exchange for name, value in parts.items()}


def counted(text: str, target: Target, updates: int) -> hlo.Cost:
    """The cost of one update (of one call, with `updates=1`) of a compiled text, on one chip."""
    chip = target.chip

    def kernel(size: float, flops: float) -> float:
        return max(KERNEL_S, size / chip.bandwidth, flops / chip.flops)

    cost = hlo.Cost()
    cost.add(hlo.Counter(text, TURNS, STEPS, kernel).total(), 1 / updates)
    return cost


def measured(program: Program, target: Target, keep: Path | None = None) -> dict[str, Any]:
    """Compiles one program and counts it; one that does not fit the chip's memory is a result too."""
    from stages import STAGES

    from l4t_jax.training import compilation

    load, began = timing.load(), time.perf_counter()
    low, steps = lowered(program, target)
    traced = time.perf_counter()
    about = dict(
        **dataclasses.asdict(program), name=program.name, platform=target.platform, topology=target.topology,
        chip=target.chip.name, trace_s=traced - began, load_average=load, versions=timing.versions("libtpu"),
    )  # fmt: skip
    cpu = time.process_time()
    try:
        compiled = low.compile()
    except Exception as error:
        if not compilation.out_of_memory(error):
            raise
        return dict(**about, compile_s=time.perf_counter() - traced, fits=False, error=str(error).splitlines()[0][:300])
    about |= dict(compile_s=time.perf_counter() - traced, compile_cpu_s=time.process_time() - cpu)
    text, stats = compiled.as_text(), compiled.memory_analysis()
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{target.topology.replace(':', '-')}-{program.name}.txt").write_text(text)
    block = program.kind == "block"
    cost = counted(text, target, UPDATES if block else 1)
    needed = compilation.needed_bytes(compiled) + stats.generated_code_size_in_bytes
    about |= dict(
        code_bytes=stats.generated_code_size_in_bytes, temp_bytes=stats.temp_size_in_bytes,
        argument_bytes=stats.argument_size_in_bytes, alias_bytes=stats.alias_size_in_bytes, needed_bytes=needed,
        fits=needed <= target.chip.memory, cost=dataclasses.asdict(cost),
    )  # fmt: skip
    if block or program.kind in STAGES:
        parts = seconds_of(cost, target, program.chips)
        bound = max(parts, key=parts.__getitem__)
        about |= dict(estimate=dict(seconds=parts, bound=bound, steps_per_s=steps / parts[bound]))
    return about


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    chosen = programs_of(settings)
    if settings.list:
        print("\n".join(one.name for one in PROGRAMS))
        return
    try:
        target = Target.of(settings.topology, settings.gpu)
        target.devices(1)
    except (ValueError, ImportError) as error:
        raise SystemExit(f"error: {error}") from None
    if not chosen:
        raise SystemExit(f"error: no program is named {settings.programs}; --list shows all")
    folder = RESULTS if settings.out is None else Path(settings.out)
    found = []
    for program in chosen:
        path = folder / settings.label / f"{target.topology.replace(':', '-')}-{program.name}.json"
        if path.exists() and not settings.again:
            found.append(json.loads(path.read_text()))
            continue
        timing.say(f"{program.name} for {target.topology} ...")
        found.append(measured(program, target, None if settings.text is None else Path(settings.text)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found[-1], indent=1) + "\n")
        timing.say(f"  {aot_table.line(found[-1])}")
    text = aot_table.table(folder, UPDATES, TURNS, STEPS, [one.name for one in PROGRAMS])
    (folder / "table.md").write_text(text)
    print(json.dumps(dict(estimates=True, programs=found)) if settings.json else text)


if __name__ == "__main__":
    main()

"""How fast each stage of training is: `python benchmarks/throughput.py [--env ...] [--json]`.

Every stage of one update as a program of its own, then the training block exactly as a run calls it, with and without
the teacher, for a range of numbers of environments. What is measured and what it means: `benchmarks/README.md`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import timing
import tyro

from l4t_jax import errors, parallel
from l4t_jax.config import PRESETS, Preset

RESULTS = Path(__file__).parent / "results"
STAGES = {
    "env_step": "environment step",
    "observation": "observation",
    "env_step_observation": "step + observation",
    "policy_forward": "policy forward and sampling",
    "rollout": "rollout (all of the above)",
    "teacher_labels": "teacher labels",
    "update": "update (all epochs)",
    "end_to_end": "end to end, teacher on",
    "end_to_end_no_teacher": "end to end, no teacher (PPO)",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    env: str = "SimpleDoorKey"
    """Task."""
    preset: Preset = "fast"
    """Settings to start from: fast or paper; rollouts are of a fixed number of steps."""
    student: str | None = None
    """ego, cnn or lstm; the preset's by default."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number type of the student's matrix products: float32 or bfloat16."""
    envs: str | None = None
    """Numbers of environments, such as 64,256,1024; by default from the preset's up, as memory and --seconds allow."""
    num_steps: int | None = None
    """Steps of a rollout; the preset's by default."""
    updates: int = 4
    """Updates of one call of the training block."""
    repeats: int = 7
    """Samples of each stage; the median is reported, the quartiles beside it."""
    seconds: float = 600.0
    """No further number of environments is begun after this long."""
    cores: int | None = None
    """Keep to so many CPU cores."""
    out: str | None = None
    """Folder for the JSON file, the plot and the table; benchmarks/results by default, none with --json."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


def worlds_of(settings: Settings, default: int, backend: str) -> list[int]:
    """The numbers of environments to measure, the preset's own first: its figures are the headline."""
    if settings.envs is not None:
        return [int(part) for part in settings.envs.replace(" ", "").split(",") if part]
    if backend == "cpu":
        others = [64, 128, 512, 1024, 2048, 4096]
    else:
        others = [1024, 4096, 16384, 65536, 262144, 1048576]
    return [default, *(number for number in others if number != default)]


def matmul_flops(function: Any, *args: Any) -> float:
    """Floating-point operations of the matrix products in a function, loops counted as often as they run.

    Products that nothing reads are left out, as a compiler leaves them out: the gradient of a student's own input.
    """
    import jax
    from jax.interpreters import partial_eval

    def count(jaxpr: Any) -> float:
        total = 0.0
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "dot_general":
                ((left, _), _) = eqn.params["dimension_numbers"]
                contracted = math.prod(eqn.invars[0].aval.shape[axis] for axis in left)
                total += 2.0 * contracted * math.prod(eqn.outvars[0].aval.shape)
            times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
            for value in eqn.params.values():
                for sub in value if isinstance(value, (tuple, list)) else (value,):
                    sub = getattr(sub, "jaxpr", sub)
                    if hasattr(sub, "eqns"):
                        total += times * count(sub)
        return total

    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return count(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


Add = Callable[..., Any]  # (the stage's name, a function, its arguments) -> what the function returns


def run_stages(trainer: Any, table: Any, add: Add) -> None:
    """Every stage of one update, one after the other, each on what those before it made.

    Args:
        trainer: of one seed, on one device.
        table: the teacher's; None: no labels.
        add: takes and calls each of `STAGES`' functions.
    """
    import jax
    import jax.numpy as jnp
    import stages

    from l4t_jax.agents.rollout import where_done
    from l4t_jax.envs import draw_levels
    from l4t_jax.envs.cells import NUM_ACTIONS
    from l4t_jax.envs.visibility import know

    env, config = trainer.env, trainer.config
    steps, number = config.steps, config.num_envs
    key = jax.random.key(0)
    state = jax.jit(trainer.init)(key)
    pool = jax.jit(lambda key: draw_levels(env, key, config.level_pool, "training"))(key)
    walked = (
        state.envs.env_state,
        jax.random.randint(key, (steps, number), 0, NUM_ACTIONS, jnp.int32),
        jax.random.randint(key, (steps, number), 0, config.level_pool),
    )

    def walk(env_state: Any, actions: jax.Array, index: jax.Array, output: Any) -> Any:
        """Random actions, episodes that end replaced from the pool."""

        def step(carry: Any, inputs: Any) -> Any:
            env_state, t = carry
            action, at = inputs
            env_state, out = jax.vmap(env.transition)(env_state, t, action)
            done = out.terminated | out.truncated
            env_state = where_done(done, jax.tree.map(lambda leaf: leaf[at], pool), env_state)
            return (env_state, jnp.where(done, 0, t + 1)), (out.reward, done, output(env_state))

        return jax.lax.scan(step, (env_state, jnp.zeros((number,), jnp.int32)), (actions, index))

    act: Any = trainer.student.apply  # which flax types for every module alike

    def forward(params: Any, carry: Any, known: Any, reset: jax.Array, key: jax.Array) -> Any:
        def step(carry: Any, inputs: Any) -> Any:
            known, reset, key = inputs
            one = jax.tree.map(lambda leaf: leaf[None], known)
            carry, logits, value = act(params, carry, one, reset[None])
            return carry, (jax.random.categorical(key, logits[0]), value[0])

        return jax.lax.scan(step, carry, (known, reset, jax.random.split(key, steps)))

    add("env_step", lambda w, a, i: walk(w, a, i, lambda env_state: ()), *walked)
    add("env_step_observation", lambda w, a, i: walk(w, a, i, jax.vmap(know)), *walked)
    env_states = jax.jit(lambda w, a, i: walk(w, a, i, lambda env_state: env_state)[1][2])(*walked)
    add("observation", jax.vmap(jax.vmap(know)), env_states)
    stage = stages.functions(trainer)
    _, rows = add("rollout", stage["rollout"], state.params, key, state.envs, pool)
    add("policy_forward", forward, state.params, state.envs.carry, rows.memory, rows.reset, key)
    labels = jnp.zeros((steps, number, NUM_ACTIONS))
    if table is not None:
        labels = add("teacher_labels", stage["labels"], table, rows.memory)
    opt_state = jax.jit(trainer.optimizer.init)(state.params)
    add("update", stage["update"], state.params, opt_state, key, rows, labels, state.envs.env_id)


def one_size(settings: Settings, number: int, pairs: bool) -> dict[str, Any]:
    """All stages for one number of environments.

    Args:
        settings: what to measure.
        number: of environments.
        pairs: also train without a teacher, in turns with the block that has one.

    Returns:
        `samples` (stage -> `timing.Samples`), `compile` (stage -> seconds), `bytes` that the block needs, `flops` of
        one environment step, `config`, `parameters`, `matmul` (floating-point operations a second).

    Raises:
        errors.TooLarge: the block does not fit into the device's memory.
    """
    import jax

    from l4t_jax.config import Config
    from l4t_jax.teacher import file as teacher_file
    from l4t_jax.training import compilation
    from l4t_jax.training.trainer import Trainer

    config = Config(
        env=settings.env, preset=settings.preset, student=settings.student, dtype=settings.dtype, num_envs=number,
        rollouts="steps", num_steps=settings.num_steps, **timing.TEACHER_ON,
    )  # fmt: skip
    trainer = Trainer.create(config)
    config, task = trainer.config, trainer.task
    count = config.steps * number
    compile_s: dict[str, dict[str, float]] = {}
    calls: dict[str, timing.Call] = {}
    flops: dict[str, float] = {}

    def add_block(name: str, trainer: Trainer) -> int:
        made = timing.block(trainer.spread(), settings.updates)
        needed, free = compilation.needed_bytes(made.program), compilation.free_bytes()
        if free is not None and needed > free * compilation.HEADROOM:
            raise errors.TooLarge(f"{number} environments need {compilation.in_words(needed)}")
        calls[name], compile_s[name] = made.call(), made.seconds
        return needed

    def add(name: str, function: Any, *args: Any) -> Any:
        program, compile_s[name] = timing.compiled(function, *args)
        calls[name] = (functools.partial(program, *args), count)
        if name in ("rollout", "update"):
            flops[name] = matmul_flops(function, *args) / count
        return program(*args)

    needed = add_block("end_to_end", trainer)
    if pairs:
        add_block("end_to_end_no_teacher", Trainer.create(dataclasses.replace(config, algo="ppo", teacher="none")))
    table = None if task.teacher is None else teacher_file.to_table(task, teacher_file.shipped(task))
    run_stages(trainer, table, add)
    samples = timing.in_turns({name: calls[name] for name in STAGES if name in calls}, settings.repeats)
    params = jax.eval_shape(trainer.init, jax.random.key(0)).params
    return dict(
        samples=samples, compile=compile_s, bytes=needed, flops=flops, config=config,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        matmul=matmul_rate(params, count // config.minibatches, settings.dtype),
    )  # fmt: skip


def matmul_rate(params: Any, rows: int, dtype: str) -> float:
    """Floating-point operations a second of the student's largest matrix product, on a minibatch, all by itself."""
    import jax
    import jax.numpy as jnp

    inputs, outputs = max((leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 2), key=math.prod)
    rows = max(1, min(rows, 2**31 // (4 * max(inputs, outputs))))
    x = jnp.ones((rows, inputs), dtype)
    w = jnp.ones((inputs, outputs), dtype)
    product = jax.jit(jnp.matmul)
    samples = timing.in_turns({"product": (lambda: product(x, w), 2 * rows * inputs * outputs)}, 5)
    return samples["product"].rate


def summarised(found: dict[str, Any], number: int) -> dict[str, Any]:
    """One row of the sweep."""
    samples: dict[str, timing.Samples] = found["samples"]
    whole = samples["end_to_end"].us
    parts = {name: samples[name].us / whole for name in ("rollout", "teacher_labels", "update") if name in samples}
    parts["rest"] = 1.0 - sum(parts.values())
    within = {
        name: samples[name].us / whole
        for name in ("env_step_observation", "policy_forward", "env_step", "observation")
        if name in samples
    }
    return dict(
        num_envs=number,
        stages={name: one.rate for name, one in samples.items()},
        spread={name: one.rates for name, one in samples.items()},
        cpu_us_per_step={name: one.cpu_us for name, one in samples.items()},
        share=parts,
        share_within_rollout=within,
        compile_s=found["compile"],
        needed_bytes=found["bytes"],
    )


def teacher_share(samples: dict[str, timing.Samples]) -> dict[str, Any] | None:
    """(with - without) / with, of the rounds' own pairs: by the clock and in processor time."""
    if "end_to_end_no_teacher" not in samples:
        return None
    on, off = samples["end_to_end"], samples["end_to_end_no_teacher"]
    wall = [(a - b) / a for a, b in zip(on.wall, off.wall, strict=True)]
    cpu = [(a - b) / a for a, b in zip(on.cpu, off.cpu, strict=True)]
    return dict(
        wall=statistics.median(wall), wall_quartiles=list(timing.quartiles(wall)),
        cpu=statistics.median(cpu), cpu_quartiles=list(timing.quartiles(cpu)),
    )  # fmt: skip


def measured(settings: Settings) -> dict[str, Any]:
    """The whole result, as it is printed and kept."""
    import jax

    from l4t_jax.config import Config
    from l4t_jax.reporting import machine
    from l4t_jax.training import compilation
    from l4t_jax.training.trainer import Trainer

    jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured too
    began, load = time.perf_counter(), timing.load()
    default = Trainer.create(Config(env=settings.env, preset=settings.preset)).config.num_envs
    numbers = worlds_of(settings, default, jax.default_backend())  # pyright: ignore
    sweep: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    stopped = None
    for number in numbers:
        if sweep and time.perf_counter() - began > settings.seconds:
            stopped = f"{settings.seconds:g} s were over before {number} environments"
            break
        timing.say(f"{number} environments ...")
        try:
            found = one_size(settings, number, pairs=not sweep)
        except Exception as error:  # memory that ran out ends the sweep, anything else is a bug
            if not sweep or not (isinstance(error, errors.TooLarge) or compilation.out_of_memory(error)):
                raise
            stopped = f"memory: {number} environments do not fit"
            break
        first = first or found
        sweep.append(summarised(found, number))
        timing.say(f"  end to end {timing.thousands(sweep[-1]['stages']['end_to_end'])} steps/s")
    config = first["config"]
    head = sweep[0]
    share = teacher_share(first["samples"])
    flops = sum(first["flops"].values())
    best = max(sweep, key=lambda row: row["stages"]["end_to_end"])
    return dict(
        device=machine.device_name(),
        versions=machine.versions(),
        load_average=[load, timing.load()],
        seconds=time.perf_counter() - began,
        task=config.env, preset=config.preset, student=config.student, dtype=config.dtype, hidden=config.hidden,
        parameters=first["parameters"], num_envs=head["num_envs"], num_steps=config.num_steps, epochs=config.epochs,
        minibatches=config.minibatches, repeats=settings.repeats, cores=settings.cores,
        end_to_end=head["stages"]["end_to_end"],
        stages=head["stages"],
        spread=head["spread"],
        cpu_us_per_step=head["cpu_us_per_step"],
        share=head["share"],
        share_within_rollout=head["share_within_rollout"],
        teacher_share=None if share is None else share["wall"],
        teacher_share_detail=share,
        compile_s=head["compile_s"],
        best=dict(num_envs=best["num_envs"], end_to_end=best["stages"]["end_to_end"]),
        lower_bound=dict(
            matmul_flops_per_step=flops,
            by_stage=first["flops"],
            device_matmul_flops_per_s=first["matmul"],
            us_per_step=flops / first["matmul"] * 1e6,
            share_of_end_to_end=flops / first["matmul"] * head["stages"]["end_to_end"],
        ),
        peak_memory_bytes=timing.peak_memory(),
        sweep=sweep,
        sweep_ended=stopped or "all numbers measured",
    )  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    load = timing.load_words(result)
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    share = result["teacher_share_detail"]
    bound, memory = result["lower_bound"], result["peak_memory_bytes"]
    lines = [
        f"# {result['task']}, {result['preset']}, {result['student']} ({result['dtype']}), {result['device']}",
        "",
        f"{result['num_envs']} environments x {result['num_steps']} steps, {result['epochs']} epochs of "
        f"{result['minibatches']} minibatches, {result['parameters']:,} parameters; median of {result['repeats']}, "
        f"quartiles in brackets; load average before and after: {load}. {versions}.",
        "",
        "| stage | steps a second | CPU µs a step | compile s (CPU s) | share of end to end |",
        "|---|---|---|---|---|",
    ]
    shares = {**result["share_within_rollout"], **result["share"], "end_to_end": 1.0}
    for name, words in STAGES.items():
        if name not in result["stages"]:
            continue
        low, high = result["spread"][name]
        seconds = result["compile_s"][name]
        part = f"{100 * shares[name]:.0f} %" if name in shares else ""
        lines.append(
            f"| {words} | {timing.thousands(result['stages'][name])} "
            f"({timing.thousands(low)} - {timing.thousands(high)}) | {result['cpu_us_per_step'][name]:.3g} "
            f"| {seconds['wall']:.1f} ({seconds['cpu']:.1f}) | {part} |"
        )
    lines.append("")
    if share is not None:
        low, high = share["wall_quartiles"]
        lines.append(
            f"Teacher's share, (with - without) / with in pairs: {100 * share['wall']:.1f} % "
            f"({100 * low:.1f} - {100 * high:.1f}); of processor time {100 * share['cpu']:.1f} %."
        )
    lines += [
        f"Matrix products: {bound['matmul_flops_per_step'] / 1e3:,.0f} kFLOP a step; the device does the student's "
        f"largest one at {bound['device_matmul_flops_per_s'] / 1e9:,.0f} GFLOP/s, so a step takes no less than "
        f"{bound['us_per_step']:.2g} µs. This lower bound is {100 * bound['share_of_end_to_end']:.0f} % of the time.",
        "Peak memory: " + ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in memory.items()) + ".",
        "",
        "| environments | "
        + " | ".join(words for name, words in STAGES.items() if name in result["stages"])
        + " | needs |",
        "|---" * (2 + len(result["stages"])) + "|",
    ]
    for row in sorted(result["sweep"], key=lambda row: row["num_envs"]):
        cells = [
            timing.thousands(row["stages"][n]) if n in row["stages"] else "" for n in STAGES if n in result["stages"]
        ]
        lines.append(f"| {row['num_envs']} | " + " | ".join(cells) + f" | {row['needed_bytes'] / 1e6:,.0f} MB |")
    lines += ["", f"The sweep ended: {result['sweep_ended']}."]
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """Steps a second of each stage against the number of environments, and where the time goes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = sorted(result["sweep"], key=lambda row: row["num_envs"])
    below = dict(loc="upper center", bbox_to_anchor=(0.5, -0.12))
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), width_ratios=(3, 2), layout="constrained")
    for name, words in STAGES.items():
        points = [row for row in rows if name in row["stages"]]
        left.plot([row["num_envs"] for row in points], [row["stages"][name] for row in points], "o-", ms=3, label=words)
        left.fill_between(
            [row["num_envs"] for row in points], *zip(*[row["spread"][name] for row in points], strict=True), alpha=0.15
        )
    left.set(xscale="log", yscale="log", xlabel="environments", ylabel="environment steps a second")
    left.legend(fontsize=7, ncols=3, **below)
    bottom = [0.0] * len(rows)
    for name in ("rollout", "teacher_labels", "update", "rest"):
        heights = [max(row["share"].get(name, 0.0), 0.0) for row in rows]
        right.bar([str(row["num_envs"]) for row in rows], heights, bottom=bottom, label=name.replace("_", " "))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    right.set(xlabel="environments", ylabel="share of end to end")
    right.legend(fontsize=7, ncols=4, **below)
    figure.suptitle(f"{result['task']}, {result['student']} ({result['dtype']}), {result['device']}", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def write(result: dict[str, Any], folder: Path) -> Path:
    """Keeps a result as JSON, table and plot."""
    words = result["device"].partition(":")
    device = words[0] if words[0] == "cpu" else "-".join(words[2].lower().split()[:3])
    cores = f"-{result['cores']}core" if result["cores"] else ""
    stem = folder / f"throughput-{result['task']}-{result['student']}-{result['dtype']}-{device}{cores}"
    timing.keep(result, table(result), stem)
    plot(result, stem.with_suffix(".png"))
    return stem


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    timing.use_cores(settings.cores)
    parallel.cpu_devices(PRESETS[settings.preset]["num_envs"], None)
    result = measured(settings)
    if settings.out is not None or not settings.json:
        stem = write(result, Path(settings.out) if settings.out is not None else RESULTS)
        timing.say(f"wrote {stem}.json, .md and .png")
    print(json.dumps(result) if settings.json else table(result))


if __name__ == "__main__":
    main()

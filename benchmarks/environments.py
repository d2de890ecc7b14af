"""Steps a second of environments of MiniGrid's suite, beside navix's and xland-minigrid's of the same family.

`python benchmarks/environments.py [--json]`, on one core, in one process, in turns, each under `vmap` and `scan` with
random actions. What each does in a step stands in `NOTES`. The peers come with the extra `bench`; one that has no
environment of a family, or cannot be run, is reported as such.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import timing
import tyro

RESULTS = Path(__file__).parent / "results"
TASKS = ("KeyCorridorS3R3", "MultiRoom-N6", "LockedRoom", "ObstructedMaze-Full")
NAVIX = {name: f"Navix-{name}-v0" for name in TASKS}
XLAND = {"LockedRoom": "MiniGrid-LockedRoom"}  # all that it has of these families
POOL = 2048  # levels, as a run has them by default

NOTES = {
    "l4t": "step, view, map with memory (one byte a cell), reward, end; an episode that ends is replaced by a level of "
    f"a pool of {POOL:,}, which was drawn before.",
    "l4t_drawing": "the same, and the pool is drawn anew in every call. A run draws one for every block of updates, "
    "50,000 steps by default.",
    "navix": "env.step with autoreset and its default observation, the whole map, no memory; a reset is computed at "
    "every step, and the step after an end, which ignores its action, is counted.",
    "xland": "env.step with GymAutoResetWrapper; a 7 x 7 view, no memory; six actions, its own rules and limit; a "
    "reset is computed at every step.",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    tasks: str = ",".join(TASKS)
    """Tasks, by our names."""
    num_envs: int = 1024
    """Environments side by side."""
    num_steps: int = 64
    """Steps of one call."""
    rounds: int = 9
    """Turns: each is one sample of every environment."""
    cores: int = 1
    """Keep to so many CPU cores."""
    out: str | None = None
    """Folder for the JSON file and the table; benchmarks/results by default, none with --json."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


def ours(settings: Settings, name: str, drawing: bool) -> timing.Call:
    """Steps of a task as the trainer makes them; `drawing`: with the pool of levels."""
    import jax
    import jax.numpy as jnp

    from l4t_jax.agents.rollout import step_envs, where_done
    from l4t_jax.envs import draw_levels, get_task
    from l4t_jax.envs.navix import make_env
    from l4t_jax.envs.visibility import know
    from l4t_jax.kernels import for_platform
    from l4t_jax.training.compilation import tuned

    env, number = make_env(get_task(name), kernel=for_platform(jax.default_backend())), settings.num_envs
    env_id = jnp.arange(number)
    actions = jax.random.randint(jax.random.key(1), (settings.num_steps, number), 0, env.task.num_actions, jnp.int32)

    def draw(key: jax.Array) -> Any:
        return draw_levels(env, key, POOL, "training")

    def call(state: Any, pool: Any, key: jax.Array) -> Any:
        pool_key, step_key = jax.random.split(key)
        pool = draw(pool_key) if drawing else pool

        def step(state: Any, row: Any) -> Any:
            (env_state, t), (action, key) = state, row
            seen = jax.vmap(know)(env_state)
            env_state, out = step_envs(env, key, env_id, env_state, t, action)
            done = out.terminated | out.truncated
            level = jax.tree.map(lambda leaf: leaf[jax.random.randint(key, (number,), 0, POOL)], pool)
            return (where_done(done, level, env_state), jnp.where(done, 0, t + 1)), (seen, out.reward, done)

        return jax.lax.scan(step, state, (actions, jax.random.split(step_key, settings.num_steps)))

    program = jax.jit(call, compiler_options=tuned())
    pool = jax.jit(draw)(jax.random.key(0))
    start = jax.tree.map(lambda leaf: leaf[env_id % POOL], pool)
    held = [(start, jnp.zeros(number, jnp.int32)), 0]

    def once() -> Any:
        held[1] += 1
        held[0], seen = program(held[0], None if drawing else pool, jax.random.key(held[1]))
        return seen

    return once, settings.num_steps * number


def navix(settings: Settings, name: str) -> timing.Call:
    """Steps of navix's environment of the same name."""
    import jax
    import navix as package

    env = package.make(NAVIX[name])

    def step(state: Any, action: jax.Array) -> Any:
        state = jax.vmap(env.step)(state, action)
        return state, (state.observation, state.reward, state.step_type)

    # The first reset is not timed, so it is hardly optimized: that of MultiRoom takes minutes to compile.
    reset = jax.jit(jax.vmap(env.reset), compiler_options={"xla_backend_optimization_level": 0})
    first = reset(jax.random.split(jax.random.key(0), settings.num_envs))
    # navix's first `info` is weakly typed: every leaf gets the type that a step gives it.
    types = jax.eval_shape(jax.vmap(env.step), first, jax.ShapeDtypeStruct((settings.num_envs,), "int32"))
    start = jax.tree.map(lambda leaf, kept: jax.lax.convert_element_type(leaf, kept.dtype), first, types)
    return peers.stepped(step, start, settings.num_steps, settings.num_envs, peers.ACTIONS)


def xland(settings: Settings, name: str) -> timing.Call:
    """Steps of xland-minigrid's environment of the same family."""
    import jax
    import xminigrid  # pyright: ignore[reportMissingImports]
    from xminigrid.wrappers import GymAutoResetWrapper  # pyright: ignore[reportMissingImports]

    env, params = xminigrid.make(XLAND[name])
    env = GymAutoResetWrapper(env)

    def step(state: Any, action: jax.Array) -> Any:
        state = jax.vmap(env.step, in_axes=(None, 0, 0))(params, state, action)
        return state, (state.observation, state.reward, state.step_type)

    reset = jax.jit(jax.vmap(env.reset, in_axes=(None, 0)))
    start = reset(params, jax.random.split(jax.random.key(0), settings.num_envs))
    return peers.stepped(step, start, settings.num_steps, settings.num_envs, env.num_actions(params))


OURS = ("l4t", "l4t_drawing")
SIDES: dict[str, tuple[Callable[[Settings, str], timing.Call], dict[str, str] | None]] = {
    "l4t": (functools.partial(ours, drawing=False), None),
    "l4t_drawing": (functools.partial(ours, drawing=True), None),
    "navix": (navix, NAVIX),
    "xland": (xland, XLAND),
}


def of_task(settings: Settings, name: str) -> dict[str, Any]:
    """What is measured of one task."""
    calls: dict[str, timing.Call] = {}
    missing: dict[str, str] = {}
    for side, (build, has) in SIDES.items():
        if has is not None and name not in has:
            missing[side] = "has no such environment"
            continue
        timing.say(f"{name}: compiling {side} ...")
        call, why = timing.run_once(functools.partial(build, settings, name), must=side in OURS)
        if call is None:
            missing[side] = why
        else:
            calls[side] = call
    samples = timing.in_turns(calls, settings.rounds)
    pairs = [(mine, side) for mine in OURS for side in samples if side not in OURS]
    return dict(
        **timing.figures(samples, pairs),
        missing=missing,
    )


def measured(settings: Settings) -> dict[str, Any]:
    """The whole result, as it is printed and kept."""
    from l4t_jax.reporting import machine

    names = settings.tasks.replace(" ", "").split(",")
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise SystemExit(f"there is no comparison of {unknown[0]}; there are {', '.join(TASKS)}")
    began, load = time.perf_counter(), timing.load()
    versions = timing.versions("xminigrid")
    tasks = {name: of_task(settings, name) for name in names}
    return dict(
        device=machine.device_name(),
        versions=versions,
        load_average=[load, timing.load()],
        seconds=time.perf_counter() - began,
        settings=timing.recorded(settings),
        tasks=tasks,
        notes=NOTES,
    )


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    s = result["settings"]
    load = timing.load_words(result)
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    lines = [
        f"# Environments, {result['device']}, kept to {s['cores']} core{'' if s['cores'] == 1 else 's'}",
        "",
        f"{s['num_envs']:,} environments x {s['num_steps']} steps; median of {s['rounds']} turns, quartiles in "
        f"brackets, then in processor time; load average before and after: {load}. {versions}.",
        "",
        "| task | side | steps a second | CPU µs a step | l4t over it | with levels drawn |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in result["tasks"].items():
        for side, rate in one["rates"].items():
            cells = [f"`{name}`", f"`{side}`", timing.thousands(rate), f"{one['cpu_us_per_step'][side]:.3g}"]
            for mine in OURS:
                ratio = one["ratios"].get(f"{mine}_over_{side}")
                cells.append("" if ratio is None else _ratio(ratio))
            lines.append(f"| {' | '.join(cells)} |")
        lines += [f"| `{name}` | `{side}` | {why} | | | |" for side, why in one["missing"].items()]
    lines += ["", "What is counted as a step:", ""]
    lines += [f"- `{side}`: {note}" for side, note in result["notes"].items()]
    return "\n".join(lines) + "\n"


def _ratio(one: dict[str, Any]) -> str:
    low, high = one["quartiles"]
    return f"{one['median']:.3g} ({low:.3g} - {high:.3g}); {one['cpu_median']:.3g}"


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    os.environ.setdefault("WANDB_MODE", "disabled")  # navix imports it
    timing.use_cores(settings.cores)
    result = measured(settings)
    if settings.out is not None or not settings.json:
        folder = Path(settings.out) if settings.out is not None else RESULTS
        some = "" if len(result["tasks"]) == len(TASKS) else "-" + "-".join(result["tasks"])
        stem = folder / f"environments{some}-{result['device'].partition(':')[0]}"
        timing.keep(result, table(result), stem)
        timing.say(f"wrote {stem}.json and .md")
    print(json.dumps(result) if settings.json else table(result))


if __name__ == "__main__":
    main()

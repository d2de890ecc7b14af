# next_room.py
from pathlib import Path

import jax.numpy as jnp

from l4t_jax import Task, register_task
from l4t_jax.envs.cells import BALL, BLUE, DOOR_CLOSED, EMPTY_CODE, RED, WALL_CODE, code
from l4t_jax.envs.layout import between, draws
from l4t_jax.envs.state import Layout
from l4t_jax.envs.task import Role


def layout(key):
    """Two rooms, a closed door between them: the agent on the left, a ball on the right."""
    door_y, ball_x, ball_y, agent_x, agent_y, direction = draws(key, 6)  # six random numbers
    cells = jnp.full((9, 7), WALL_CODE, jnp.uint8)  # 9 wide, 7 high, walls everywhere: x first, then y
    cells = cells.at[1:4, 1:6].set(EMPTY_CODE).at[5:8, 1:6].set(EMPTY_CODE)
    cells = cells.at[4, between(door_y, 1, 6)].set(code(DOOR_CLOSED, RED))  # a y from 1 up to and without 6
    cells = cells.at[between(ball_x, 5, 8), between(ball_y, 1, 6)].set(code(BALL, BLUE))
    agent = [between(agent_x, 1, 4), between(agent_y, 1, 6), between(direction, 0, 4)]
    return Layout(cells=cells, agent=jnp.stack(agent).astype(jnp.int8))


# next_room.py, continued
def has_ball(transition):
    """The agent carries a ball after the step."""
    return (transition.next_state.carrying & 15) == BALL


register_task(
    Task(
        name="NextRoom",
        width=9,
        height=7,
        max_steps=80,
        layout=layout,
        success=has_ball,
        text="pick up the ball",
        objects=(Role("ball", (BALL,)), Role("closed door", (DOOR_CLOSED,))),
        skills=("search", "go_to", "pick_up", "open"),
        description="An agent must pick up a ball that lies in the next room, behind a closed door.",
        teacher=str(Path(__file__).with_name("next_room.json")),
    )
)

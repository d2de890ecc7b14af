"""MiniGrid's ObstructedMaze: a blue ball behind locked doors, with keys in boxes and balls before the doors.

Device module. Source: Farama `minigrid/envs/{obstructedmaze,obstructedmaze_v1}.py`. In version 0 of four of the ids a
ball may be set over the box that holds a key, so that a level may have no solution. These are refused; version 1 sets
all balls before the boxes.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import BALL, BLUE, BOX, DIR_X, DIR_Y, DOOR_CLOSED, DOOR_LOCKED, GREEN, GREY, KEY, code
from l4t_jax.envs.layout import between, pick, put
from l4t_jax.envs.registry import refuse_id, register_task
from l4t_jax.envs.roles import ANY_BOX, FITTING_DOORS, FITTING_KEYS, MAZE_SKILLS, OBSTACLES
from l4t_jax.envs.room_grid import RIGHT_SIDE, RoomGrid, paint, shuffled, split_draws
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import picked_code
from l4t_jax.envs.task import Role, Task

TARGET = code(BALL, BLUE)
BLOCKING_BALL = code(BALL, GREEN)
KEY_BOX = code(BOX, GREY)
ROOM_SIZE = 6
SIDE_ROOMS = ((2, 1), (1, 2), (0, 1), (1, 0))  # right, down, left and up of the middle room
CORNERS = ((2, 0), (2, 2), (0, 2), (0, 0))


@dataclasses.dataclass(frozen=True)
class Door:
    """A door of a maze: of which room, on which side, and which of the six shuffled colours it has."""

    room: tuple[int, int]
    side: int
    colour: int
    locked: bool = True


@dataclasses.dataclass(frozen=True)
class Maze:
    """What is the same in all levels of an id.

    Attributes:
        grid: the rooms.
        doors: all doors. The key of a locked one is in its `room`, and so is the ball before it.
        agent: the agent's room.
        targets: the rooms that may hold the blue ball.
        boxes: whether keys are in boxes.
        blocked: whether a ball stands before each locked door.
    """

    grid: RoomGrid
    doors: tuple[Door, ...]
    agent: tuple[int, int]
    targets: tuple[tuple[int, int], ...]
    boxes: bool = True
    blocked: bool = True


def two_rooms(boxes: bool, blocked: bool) -> Maze:
    """The mazes 1Dl, 1Dlh and 1Dlhb: two rooms and one door."""
    door = Door(room=(0, 0), side=RIGHT_SIDE, colour=0)
    return Maze(RoomGrid(ROOM_SIZE, 2, 1), (door,), agent=(0, 0), targets=((1, 0),), boxes=boxes, blocked=blocked)


def quarters(number: int, agent: tuple[int, int], boxes: bool = True, blocked: bool = True) -> Maze:
    """The other mazes: 3 x 3 rooms, with doors in `number` of the four quarters."""
    doors: list[Door] = []
    for i, room in enumerate(SIDE_ROOMS[:number]):
        doors.append(Door(room=(1, 1), side=i, colour=i, locked=False))
        doors += [Door(room=room, side=(i + k) % 4, colour=(i + k) % 6) for k in (-1, 1)]
    return Maze(RoomGrid(ROOM_SIZE, 3, 3), tuple(doors), agent, CORNERS[:number], boxes, blocked)


def obstructed_maze(maze: Maze, key: jax.Array) -> Layout:
    """Draws a level: doors, the balls before them, then keys (one room after the other), the target and the agent."""
    grid, locked = maze.grid, [door for door in maze.doors if door.locked]
    for_places, for_colours, for_keys, rest = split_draws(key, grid.num_walls, 6, len(locked), 3)
    for_room, for_target, for_agent = rest
    places, colours = grid.door_places(for_places), shuffled(for_colours)

    def along(doors: list[Door] | tuple[Door, ...]) -> list[jax.Array]:
        """x and y of each door, and its colour, `int32[len(doors)]` each."""
        walls = jnp.asarray([grid.wall(*door.room, door.side) for door in doors])
        return [*(axis[walls] for axis in places), colours[jnp.asarray([door.colour for door in doors])]]

    x, y, colour = along(maze.doors)
    kinds = jnp.asarray([DOOR_LOCKED if door.locked else DOOR_CLOSED for door in maze.doors])
    cells = paint(grid.cells(), x, y, kinds | colour << 4)
    x, y, colour = along(locked)
    if maze.blocked:
        dx, dy = (jnp.asarray([step[door.side] for door in locked]) for step in (DIR_X, DIR_Y))
        cells = paint(cells, x - dx, y - dy, jnp.full(len(locked), BLOCKING_BALL))
    keys = KEY | colour << 4
    key_at: list[tuple[jax.Array, jax.Array]] = []
    for n, (door, word) in enumerate(zip(locked, for_keys, strict=True)):
        key_at.append(pick(word, grid.free(cells, *door.room)))
        cells = put(cells, key_at[-1][0], key_at[-1][1], KEY_BOX if maze.boxes else keys[n])
    contents = None
    if maze.boxes:
        box_x, box_y = (jnp.stack(axis) for axis in zip(*key_at, strict=True))
        contents = paint(jnp.zeros_like(cells), box_x, box_y, keys)
    target_room = jnp.asarray(maze.targets)[between(for_room, 0, len(maze.targets))]
    cells = put(cells, *pick(for_target, grid.free(cells, target_room[0], target_room[1])), TARGET)
    return Layout(cells, grid.agent(for_agent, cells, *maze.agent), contents=contents)


MAZES = {  # id: the maze, and the number of rooms that MiniGrid's limit counts
    "1Dl-v0": (two_rooms(boxes=False, blocked=False), 2),
    "1Dlh-v0": (two_rooms(boxes=True, blocked=False), 2),
    "1Dlhb-v0": (two_rooms(boxes=True, blocked=True), 2),
    "2Dl-v0": (quarters(1, agent=(2, 1), boxes=False, blocked=False), 4),
    "2Dlh-v0": (quarters(1, agent=(2, 1), blocked=False), 4),
    "2Dlhb-v1": (quarters(1, agent=(2, 1)), 4),
    "1Q-v1": (quarters(1, agent=(1, 1)), 5),
    "2Q-v1": (quarters(2, agent=(2, 1)), 11),
    "Full-v1": (quarters(4, agent=(1, 1)), 25),
}
BLUE_BALL = Role("blue ball", (BALL,), BLUE)

for version, (maze, rooms) in MAZES.items():
    register_task(
        Task(
            name=f"ObstructedMaze-{version[:-3]}",
            family="ObstructedMaze",
            minigrid_id=f"MiniGrid-ObstructedMaze-{version}",
            width=maze.grid.width,
            height=maze.grid.height,
            max_steps=4 * rooms * ROOM_SIZE**2,
            layout=partial(obstructed_maze, maze),
            success=partial(picked_code, TARGET),
            text="pick up the blue ball",
            objects=(FITTING_KEYS, *((ANY_BOX,) if maze.boxes else ()), BLUE_BALL, OBSTACLES, FITTING_DOORS),
            skills=MAZE_SKILLS,
            description=(
                "The agent must find the blue ball behind a locked door and pick it up, with nothing else in hand. "
                "A key opens the locked doors of its colour. Keys may be in boxes, and show when these are opened. An "
                "obstacle stands right before a locked door and must be carried away first."
            ),
            teacher="ObstructedMaze.json",
        )
    )

# Ids that are refused, and why.
REFUSED = {
    f"MiniGrid-ObstructedMaze-{name}-v0": (
        f"MiniGrid-ObstructedMaze-{name}-v0 may draw levels without a solution (a ball over the box with the key): "
        f"use MiniGrid-ObstructedMaze-{name}-v1"
    )
    for name in ("2Dlhb", "1Q", "2Q", "Full")
}
for minigrid_id, why in REFUSED.items():
    refuse_id(minigrid_id, why)

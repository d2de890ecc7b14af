"""The objects of MiniGrid's families as roles, and the skills that plans for them use.

Device module. The symbolic state tells whether each can be walked to, as plans differ where something stands before it.
"""

from __future__ import annotations

from l4t_jax.envs.cells import BALL, BOX, DOOR_CLOSED, DOOR_LOCKED, GOAL, KEY
from l4t_jax.envs.task import DOORS, PORTABLE, Role

KEYS = Role("key", (KEY,), reach=True)
BALLS = Role("ball", (BALL,), reach=True)
BOXES = Role("box", (BOX,), reach=True)
LOCKED_DOORS = Role("locked door", (DOOR_LOCKED,), reach=True)
CLOSED_DOORS = Role("closed door", (DOOR_CLOSED,))
GOALS = Role("goal", (GOAL,), reach=True)

# Mazes of many doors: of keys and doors only those that fit, and what stands right before a locked door.
FITTING_KEYS = Role("key", (KEY,), opens=True)
FITTING_DOORS = Role("locked door", (DOOR_LOCKED,), reach=True, opens=True)
ANY_BOX = Role("box", (BOX,))
OBSTACLES = Role("obstacle", PORTABLE, beside=(DOOR_LOCKED,))

# What a mission points at: bits of `State.targets`.
TARGET_DOOR = Role("target door", DOORS, target=0)
TARGET_OBJECT = Role("target", PORTABLE, target=0, reach=True)

MAZE_SKILLS = ("find", "go_to", "clear", "pick_up", "open", "put_down")
GOAL_SKILLS = ("search", "reach")
ROOM_SKILLS = ("find", "go_to", "reach", "clear", "pick_up", "open", "put_down")

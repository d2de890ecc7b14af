"""The families of tasks, one file each: levels, rules and registration. Importing this registers them all."""

from l4t_jax.envs.families import (
    door_key,
    four_rooms,
    key_corridor,
    locked_room,
    multi_room,
    obstructed_maze,
    unlock,
)

__all__ = [
    "door_key",
    "four_rooms",
    "key_corridor",
    "locked_room",
    "multi_room",
    "obstructed_maze",
    "unlock",
]

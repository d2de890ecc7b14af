"""MiniGrid's WFC: mazes and caves made by wave function collapse, a search over many patterns. Refused by name.

Device module. Source: Farama `minigrid/envs/wfc/config.py`.
"""

from __future__ import annotations

from l4t_jax.envs.registry import refuse_id

NAMES = ("MazeSimple", "DungeonMazeScaled", "RoomsFabric", "ObstaclesBlackdots", "ObstaclesAngular", "ObstaclesHogs3")

for name in NAMES:
    refuse_id(
        f"MiniGrid-WFC-{name}-v0",
        f"MiniGrid-WFC-{name}-v0 is not among the tasks: its levels are made by wave function collapse, which none of "
        "the generators here does",
    )

"""An environment of one's own on Farama's MiniGrid, brought in as it stands and proven equal.

    python -m l4t_jax.run --import docs/extending/own_minigrid_env.py --env minigrid:TidyUp-v0 --algo ppo
    l4t_jax.train(imports="docs/extending/own_minigrid_env.py", env="minigrid:TidyUp-v0", algo="ppo")

Pick up the thing that the mission names; picking up another ends the episode without a reward.
"""

import gymnasium
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Ball, Box, Key
from minigrid.minigrid_env import MiniGridEnv

THINGS = {"ball": Ball, "box": Box, "key": Key}
COLORS = ["red", "green", "blue"]


class TidyUp(MiniGridEnv):
    def __init__(self, size=6, **kwargs):
        space = MissionSpace(lambda color, kind: f"pick up the {color} {kind}", [COLORS, list(THINGS)])
        super().__init__(space, grid_size=size, max_steps=4 * size**2, **kwargs)

    def _gen_grid(self, width, height):
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        things = self._rand_subset([(color, kind) for color in COLORS for kind in THINGS], 3)
        for color, kind in things:
            self.place_obj(THINGS[kind](color))
        self.place_agent()
        self.wanted = things[0]
        self.mission = "pick up the {} {}".format(*self.wanted)

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if action == self.actions.pickup and self.carrying:
            terminated = True
            if (self.carrying.color, self.carrying.type) == self.wanted:
                reward = self._reward()
        return obs, reward, terminated, truncated, info


if "TidyUp-v0" not in gymnasium.registry:
    gymnasium.register("TidyUp-v0", entry_point=TidyUp)

"""Every task a second time, on Farama's `minigrid`: yardstick of the JAX tasks, and what `simulator="minigrid"` runs.

Host module, needs the extra `minigrid`. The package never imports it by default: only the tests and the
evaluation on MiniGrid do. It imports nothing of the package, so that it can be wrong only in its own ways;
rules, layouts and rewards are those of the paper's tasks (arXiv 2311.13373) and agree with episodes recorded
from its released code, step by step (`tests/test_minigrid_twin.py`).

    env = make("LavaDoorKey")                                   # or gymnasium.make("L4T-LavaDoorKey-v0")
    known, _ = env.reset(seed=0)                                # uint8[W, H, 4], x first
    known, reward, terminated, truncated, _ = env.step(2)
    cells, agent = env.layout()                                 # the whole grid, and (x, y, direction)
    known = env.load_layout(cells, agent)                       # a fresh episode on that very level
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.constants import DIR_TO_VEC, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Door, Key, Lava
from minigrid.envs.doorkey import DoorKeyEnv
from minigrid.minigrid_env import MiniGridEnv

EMPTY_CELL = (OBJECT_TO_IDX["empty"], 0, 0)
NO_AGENT = 4  # the direction plane, on every cell but the agent's


class OpenDoorEnv(MiniGridEnv):
    """What the paper's four tasks share: a locked door to open within 150 steps, seen through a 3 x 3 window.

    A toggle that leaves a door open ends the episode well and pays `1 - 0.9 * t / 150`; nothing else pays.
    At t = 150 an episode is truncated, and then may be terminated as well.
    """

    size: int = 10

    def __init__(self, **kwargs: Any):
        super().__init__(
            mission_space=MissionSpace(mission_func=self._gen_mission),
            grid_size=self.size,
            max_steps=150,
            agent_view_size=3,
            **kwargs,
        )

    @staticmethod
    def _gen_mission() -> str:
        return "use the key to open the door"

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        if action == Actions.toggle and self._any_door_open():
            reward, terminated = self._reward(), True
        return obs, reward, terminated, truncated, info

    def _any_door_open(self) -> bool:
        return any(isinstance(cell, Door) and cell.is_open for cell in self.grid.grid)


class RoomEnv(OpenDoorEnv):
    """A walled room of 5..10 by 5..10 cells at (0, 0) of a 10 x 10 map, with one locked door in its wall.

    The cells of the map outside the room are empty floor, and nothing is ever placed there.
    """

    def _gen_grid(self, width: int, height: int) -> None:
        room = self._rand_int(5, width + 1), self._rand_int(5, height + 1)
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, *room)
        door, inside = self._draw_door(room)
        self._furnish(room, door, inside)

    def _furnish(self, room: tuple[int, int], door: tuple[int, int], inside: tuple[int, int]) -> None:
        """Put the door and everything else into the empty room; `inside` is the cell just inside the door."""
        colour = self._rand_color()
        self.put_obj(Door(colour, is_locked=True), *door)
        self.place_agent(size=room)
        self.place_obj(Key(colour), size=room)

    def _draw_door(self, room: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """A cell, no corner, of a wall uniform among the four; and its neighbour inside the room."""
        w, h = room
        side = self._rand_int(0, 4)
        if side < 2:
            y = self._rand_int(1, h - 1)
            return ((0, y), (1, y)) if side == 0 else ((w - 1, y), (w - 2, y))
        x = self._rand_int(1, w - 1)
        return ((x, 0), (x, 1)) if side == 2 else ((x, h - 1), (x, h - 2))


class SimpleDoorKeyEnv(RoomEnv):
    """One locked door and its key, both of a colour uniform over MiniGrid's six."""


def _is_cell(cell: tuple[int, int], env: MiniGridEnv, pos: tuple[int, int]) -> bool:
    """What `place_obj` takes as `reject_fn`, once it is given the cell."""
    return pos == cell


class LavaDoorKeyEnv(RoomEnv):
    """SimpleDoorKey and one cell of lava, never just inside the door; a step on it ends the episode at 0."""

    def _furnish(self, room: tuple[int, int], door: tuple[int, int], inside: tuple[int, int]) -> None:
        super()._furnish(room, door, inside)
        self.place_obj(Lava(), size=room, reject_fn=partial(_is_cell, inside))


class ColoredDoorKeyEnv(RoomEnv):
    """A blue door, a blue key and a red one that does not fit; neither lies just inside the door."""

    def _furnish(self, room: tuple[int, int], door: tuple[int, int], inside: tuple[int, int]) -> None:
        self.put_obj(Door("blue", is_locked=True), *door)
        self.place_agent(size=room)
        for colour in ("blue", "red"):
            self.place_obj(Key(colour), size=room, reject_fn=partial(_is_cell, inside))

    @staticmethod
    def _gen_mission() -> str:
        return "use the key of the door's colour to open the door"


class DivergedDoorKeyEnv(OpenDoorEnv):
    """A 20 x 20 room, two locked doors in opposite walls, one key for both in the central 2 x 2 cells."""

    size = 20

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        colour = self._rand_color()
        if self._rand_bool():
            doors = [(0, self._rand_int(1, height - 1)), (width - 1, self._rand_int(1, height - 1))]
        else:
            doors = [(self._rand_int(1, width - 1), 0), (self._rand_int(1, width - 1), height - 1)]
        for door in doors:
            self.put_obj(Door(colour, is_locked=True), *door)
        self.place_obj(Key(colour), top=(width // 2 - 1, height // 2 - 1), size=(2, 2))
        self.place_agent()

    @staticmethod
    def _gen_mission() -> str:
        return "use the key to open either door"


class KnownMapObservation(gym.Wrapper):
    """Shows an allocentric map with memory, `uint8[W, H, 4]`, x first, in place of MiniGrid's window.

    Planes: object, colour, state (MiniGrid's indices; all 0 where never seen in this episode) and direction
    (4 everywhere but on the agent's cell, which has 0..3). What was seen once stays known and is shown as it
    is now. The agent's own cell shows what it carries, else empty floor.

    `reset(options={"layout": cells, "agent": (x, y, direction)})` starts on that level, not on a drawn one.
    """

    env: MiniGridEnv  # pyright: ignore[reportIncompatibleVariableOverride] (it wraps no other)

    def __init__(self, env: MiniGridEnv):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(0, 255, (env.width, env.height, 4), np.uint8)
        self._seen = np.zeros((env.width, env.height), bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        options = dict(options or {})
        cells, agent = options.pop("layout", None), options.pop("agent", None)
        if (cells is None) != (agent is None):
            raise ValueError("the options 'layout' and 'agent' go together")
        # A level is drawn even where one is given: MiniGrid's own reset clears what the last episode left.
        _, info = self.env.reset(seed=seed, options=options)
        if cells is not None:
            self._set_level(np.asarray(cells), agent)
        self._seen[:] = False
        return self._look(), info

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._look(), float(reward), terminated, truncated, info

    def load_layout(self, cells: np.ndarray, agent: tuple[int, int, int]) -> np.ndarray:
        """Start an episode on a given level.

        Args:
          cells: `uint8[W, H, 3]`, the whole grid in MiniGrid's encoding, x first, without the agent.
          agent: x, y and direction (0 right, 1 down, 2 left, 3 up).

        Returns: the first observation, `uint8[W, H, 4]`.

        Raises: ValueError if the grid has another shape or the agent cannot stand there.
        """
        return self.reset(options={"layout": cells, "agent": agent})[0]

    def layout(self) -> tuple[np.ndarray, tuple[int, int, int]]:
        """The grid as it is now, `uint8[W, H, 3]` without the agent, and the agent's (x, y, direction)."""
        x, y = self.env.agent_pos
        return self.env.grid.encode(), (int(x), int(y), int(self.env.agent_dir))

    def _set_level(self, cells: np.ndarray, agent: Any) -> None:
        env = self.env
        x, y, direction = (int(v) for v in agent)
        if cells.shape != (env.width, env.height, 3):
            raise ValueError(f"a layout of shape {cells.shape}, where {(env.width, env.height, 3)} was expected")
        if not (0 <= x < env.width and 0 <= y < env.height and 0 <= direction < 4):
            raise ValueError(f"no place for an agent: (x, y, direction) = {(x, y, direction)}")
        grid, _ = Grid.decode(cells)
        cell = grid.get(x, y)
        if cell is not None and not cell.can_overlap():
            raise ValueError(f"the agent cannot stand at {(x, y)}: a {cell.type} is there")
        env.grid, env.agent_pos, env.agent_dir = grid, (x, y), direction
        if env.render_mode == "human":
            env.render()

    def _look(self) -> np.ndarray:
        """Remember what the agent sees from where it stands, and show all it knows."""
        env = self.env
        _, visible = env.gen_obs_grid()  # (v, v), the agent in the middle of the last row, looking up
        across, down = np.nonzero(visible)
        ahead, right = env.agent_view_size - 1 - down, across - env.agent_view_size // 2
        (fx, fy), (px, py) = DIR_TO_VEC[env.agent_dir], env.agent_pos
        x, y = px + ahead * fx - right * fy, py + ahead * fy + right * fx  # the agent's right is (-fy, fx)
        on_map = (x >= 0) & (x < env.width) & (y >= 0) & (y < env.height)
        self._seen[x[on_map], y[on_map]] = True

        known = np.full((env.width, env.height, 4), NO_AGENT, np.uint8)
        known[..., :3] = env.grid.encode(self._seen)
        carried = env.carrying.encode() if env.carrying else EMPTY_CELL
        known[px, py] = (*carried, env.agent_dir)
        return known


ENVS: dict[str, Callable[..., MiniGridEnv]] = {
    "SimpleDoorKey": SimpleDoorKeyEnv,
    "LavaDoorKey": LavaDoorKeyEnv,
    "ColoredDoorKey": ColoredDoorKeyEnv,
    "DivergedDoorKey": DivergedDoorKeyEnv,
    # Farama's own, with its 7 x 7 window and 10 * size^2 steps.
    **{f"DoorKey-{size}x{size}": partial(DoorKeyEnv, size=size) for size in (5, 6, 8, 16)},
}
ALIASES = {"DoorKey": "SimpleDoorKey"}


def make(task_name: str, *, render_mode: str | None = None) -> KnownMapObservation:
    """The named task on MiniGrid; a wrong name raises ValueError with the near matches."""
    name = ALIASES.get(task_name, task_name)
    if name not in ENVS:
        known = [*ENVS, *ALIASES]
        near = difflib.get_close_matches(task_name, known, n=3, cutoff=0.4) or known
        raise ValueError(f"no task {task_name!r}; did you mean {' or '.join(near)}?")
    return KnownMapObservation(ENVS[name](render_mode=render_mode))


def register_envs() -> None:
    """Make every task known to `gymnasium.make` as `L4T-<task>-v0`. Done on import; again does no harm."""
    for name in ENVS:
        env_id = f"L4T-{name}-v0"
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=f"{__name__}:make", kwargs={"task_name": name})


register_envs()

"""A Gymnasium environment of the user's, looked at from outside: its levels, its state and its steps as our arrays.

Host module, needs the extra `minigrid`. Whatever the environment's own code raises comes out as one sentence.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l4t_jax.envs.cells import BOX, COLOURS, EMPTY, LAVA, NUM_ACTIONS
from l4t_jax.envs.state import Layout
from l4t_jax.envs.targets import PLACE
from l4t_jax.envs.task import LARGEST_MAP
from l4t_jax.errors import CannotImport, UnknownTask, did_you_mean
from l4t_jax.evaluation.sights import encode_one, view_of

NAMED = re.compile(rf"\b(?:({'|'.join(COLOURS)}) )?(key|ball|box|door|object)\b")
INSTRUCTIONS = {  # of BabyAI: how they end well, and badly where they are strict
    "GoToInstr": ("target_faced", "lava_entered"),
    "OpenInstr": ("target_opened", "door_toggled_unsuccessfully"),
    "PickupInstr": ("target_picked", "pickup_unsuccessful"),
    "PutNextInstr": ("target_put_next", "pickup_carrying"),
}
MENTIONS = 2  # things of a mission that are marked


class Snapshot(NamedTuple):
    """An environment's state in our codes; NumPy arrays, no batch axis. See `envs.state.State`."""

    cells: np.ndarray
    agent: np.ndarray
    carrying: np.ndarray
    targets: np.ndarray
    carried_targets: np.ndarray
    contents: np.ndarray


def level_of(now: Snapshot) -> Layout:
    """The level that an episode starts on; the mission is left out."""
    parts: Any = now.cells, now.agent, None, now.targets, now.contents, now.carrying
    return Layout(*parts)


class Step(NamedTuple):
    """What the environment's own `step` gave.

    Attributes:
        view: `uint8[v, v]` cell codes of its image, by cells ahead and cells from the left.
        mission: in words, blanks as one.
    """

    view: np.ndarray
    mission: str
    reward: float
    terminated: bool
    truncated: bool


class Original:
    """One environment.

    Args:
        gym_id: as it is registered with Gymnasium.

    Raises:
        UnknownTask: no environment of that id is registered.
        CannotImport: it cannot be made, or is none that can be brought in.
    """

    def __init__(self, gym_id: str) -> None:
        self.id = gym_id
        self.env = _make(gym_id)
        self.marks: dict[int, int] = {}
        self._places: list[tuple[int, int, int]] = []
        self._kept: list[Any] = []
        self.reset(0)
        env = self.env
        self.width, self.height, self.max_steps = int(env.width), int(env.height), env.max_steps
        self.view, self.see_through = int(env.agent_view_size), bool(env.see_through_walls)
        self.num_actions = int(getattr(env.action_space, "n", 0))
        self._declared = self.declared()
        self._check()

    def _check(self) -> None:
        import gymnasium

        if not (3 <= self.width <= LARGEST_MAP and 3 <= self.height <= LARGEST_MAP):
            self.refuse(f"its map has {self.width} x {self.height} cells; each side must have 3 to {LARGEST_MAP}")
        if self.view % 2 == 0 or not 3 <= self.view <= 15:
            self.refuse(f"its view is {self.view} cells wide; it must be an odd number from 3 to 15")
        if not 1 <= self.num_actions <= NUM_ACTIONS:
            self.refuse(f"its action space is {self.env.action_space}; it must have 1 to {NUM_ACTIONS} actions")
        if self.max_steps < 1:
            self.refuse(f"its max_steps is {self.max_steps}; it must be at least 1")
        limit = gymnasium.registry[self.id].max_episode_steps
        if limit is not None and limit < self.max_steps:
            self.refuse(
                f"it is registered with max_episode_steps={limit}, less than its own max_steps={self.max_steps}; "
                "give it one limit, max_steps"
            )

    def refuse(self, why: str) -> Any:
        """Raises `CannotImport`."""
        raise CannotImport(f"{self.id} cannot be brought in: {why}")

    @contextlib.contextmanager
    def _own_code(self, doing: str) -> Iterator[None]:
        """Whatever the environment raises while it does something, as a sentence; what it prints is not shown."""
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except CannotImport:
            raise
        except Exception as error:
            self.refuse(f"{doing} raised {said(error)}")

    def reset(self, seed: int) -> str:
        """Starts an episode on the level that its generator draws with a seed; the mission."""
        with self._own_code(f"reset(seed={seed})"):
            self.env.reset(seed=seed)
        env = self.env
        if (env.grid.width, env.grid.height) != (env.width, env.height):
            self.refuse(
                f"its grid has {env.grid.width} x {env.grid.height} cells and should have {env.width} x {env.height}"
            )
        if hasattr(self, "max_steps"):
            for name, now in (("width", env.width), ("height", env.height), ("max_steps", env.max_steps)):
                if now != getattr(self, name):
                    self.refuse(f"its {name} changes from level to level ({getattr(self, name)}, then {now})")
            if self.declared() != self._declared:
                self.refuse("what its instructions ask for changes from level to level")
        self._mark()
        return " ".join(str(env.mission).split())

    def _mark(self) -> None:
        """Finds the objects that the mission names; bits follow them, and their first places are kept."""
        self.marks, self._places, self._kept = {}, [], []
        cells = [(i, cell) for i, cell in enumerate(self.env.grid.grid) if cell is not None]
        carried = self.env.carrying
        if carried is not None and carried.contains is not None:
            self.refuse("the agent starts with a box in hand that holds something")
        for bit, matches in enumerate(_mentioned(self.env)):
            for i, cell in cells:
                if matches(cell):
                    y, x = divmod(i, self.env.width)
                    self.marks[id(cell)] = self.marks.get(id(cell), 0) | 1 << bit
                    self._places.append((x, y, 1 << PLACE + bit))
                    self._kept.append(cell)
            if carried is not None and matches(carried):
                self.refuse("the agent carries from the start what the mission names")

    def snapshot(self) -> Snapshot:
        """The state as it is now."""
        env = self.env
        cells = np.full(env.width * env.height, EMPTY, np.uint8)
        targets, contents = np.zeros_like(cells), np.zeros_like(cells)
        for i, cell in enumerate(env.grid.grid):
            if cell is not None:
                cells[i] = self._code(cell)
                targets[i] = self.marks.get(id(cell), 0)
                if cell.contains is not None:
                    contents[i] = self._content(cell)
        shape = (env.height, env.width)
        cells, targets, contents = (flat.reshape(shape).T for flat in (cells, targets, contents))
        for x, y, bits in self._places:
            targets[x, y] |= bits
        carried = env.carrying
        return Snapshot(
            cells,
            np.asarray([*env.agent_pos, env.agent_dir]).astype(np.int8),
            np.uint8(0 if carried is None else self._code(carried)),  # pyright: ignore[reportArgumentType]
            targets,
            np.uint8(0 if carried is None else self.marks.get(id(carried), 0)),  # pyright: ignore[reportArgumentType]
            contents,
        )

    def _code(self, cell: Any) -> int:
        kind, colour, state = (int(value) for value in cell.encode())
        if not (EMPTY < kind <= LAVA and 0 <= colour < len(COLOURS) and 0 <= state <= 2 and (not state or kind == 4)):
            self.refuse(f"its levels hold a {type(cell).__name__}, which is not one of MiniGrid's kinds of objects")
        return encode_one(kind, colour, state)

    def _content(self, cell: Any) -> int:
        if self._code(cell) & 15 != BOX:
            self.refuse(f"its levels hold a {cell.type} with something inside; only a box can hold something")
        if cell.contains.contains is not None:
            self.refuse("its levels hold a box in a box with something inside; a box in a box must be empty")
        return self._code(cell.contains)

    def level(self, seed: int) -> tuple[Layout, str]:
        """The level that its generator draws with a seed, as NumPy arrays, and its mission."""
        mission = self.reset(seed)
        return level_of(self.snapshot()), mission

    def step(self, action: int) -> Step:
        """Takes a step."""
        with self._own_code(f"step({action})"):
            seen, reward, terminated, truncated, _ = self.env.step(action)
            return self._seen(seen, float(reward), bool(terminated), bool(truncated))
        raise AssertionError

    def first_look(self) -> Step:
        """What it shows before the first step."""
        with self._own_code("gen_obs()"):
            return self._seen(self.env.gen_obs(), 0.0, False, False)
        raise AssertionError

    def _seen(self, seen: Any, *ending: Any) -> Step:
        image = np.asarray(seen["image"]) if isinstance(seen, dict) and "image" in seen else np.zeros(0)
        if image.shape != (self.env.agent_view_size, self.env.agent_view_size, 3):
            self.refuse("its observation is not MiniGrid's (image, direction, mission)")
        return Step(view_of(image[None])[0], " ".join(str(seen.get("mission", "")).split()), *ending)

    def declared(self) -> tuple[str, str] | None:
        """The rules, of success and failure, that BabyAI's instruction names on this level; None without one.

        Raises:
            CannotImport: the instruction joins several.
        """
        instruction = getattr(self.env, "instrs", None)
        if instruction is None:
            return None
        for cls in type(instruction).__mro__:
            if cls.__name__ in INSTRUCTIONS:
                success, strict = INSTRUCTIONS[cls.__name__]
                return success, strict if getattr(instruction, "strict", False) else "lava_entered"
        return self.refuse(f"its instructions join several ({type(instruction).__name__}); no rule here covers that")

    def own_parts(self) -> str:
        """What of it is not MiniGrid's own and could be why it differs, in words; "" if nothing is."""
        from minigrid.core.world_object import WorldObj
        from minigrid.minigrid_env import MiniGridEnv

        told = []
        for name in ("step", "gen_obs", "gen_obs_grid", "_reward", "reset"):
            owner = next(cls for cls in type(self.env).__mro__ if name in vars(cls))
            if owner is not MiniGridEnv:
                told.append(f"{owner.__name__} defines its own {name}() ({_where(getattr(owner, name))})")
        kinds = {type(cell) for cell in (*self.env.grid.grid, self.env.carrying) if cell is not None}
        for kind in sorted(kinds, key=lambda kind: kind.__name__):
            if kind.__module__ != WorldObj.__module__:
                told.append(f"{kind.__name__} is its own kind of object ({_where(kind)})")
        return "; ".join(told)

    def sources(self) -> list[Path]:
        """The files that its class and those above it come from, MiniGrid's own left out."""
        found = []
        for cls in type(self.env).__mro__:
            if cls.__module__.split(".")[0] not in ("minigrid", "gymnasium", "builtins", "abc", "typing"):
                with contextlib.suppress(TypeError, OSError):
                    found.append(Path(inspect.getfile(cls)))
        return sorted({path for path in found if path.is_file()})


def _make(gym_id: str) -> Any:
    """The environment without its wrappers, not reset."""
    try:
        import gymnasium
        from minigrid.minigrid_env import MiniGridEnv
    except ModuleNotFoundError as error:
        raise CannotImport(f"{gym_id} needs the extra 'minigrid': {error.name} is not installed") from error
    if gym_id not in gymnasium.registry:
        hint = did_you_mean(gym_id, gymnasium.registry, "`imports` names the file that registers it", most=2, alike=0.6)
        raise UnknownTask(f"Gymnasium knows no environment {gym_id!r}; {hint}")
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env = gymnasium.make(gym_id, disable_env_checker=True).unwrapped
    except Exception as error:
        raise CannotImport(f"{gym_id} cannot be made: {said(error)}") from error
    if not isinstance(env, MiniGridEnv):
        raise CannotImport(f"{gym_id} is not built on minigrid's MiniGridEnv but on {type(env).__mro__[0].__name__}")
    return env


def _mentioned(env: Any) -> list[Any]:
    """For what the mission names first and second: whether an object is one of them."""
    instruction = getattr(env, "instrs", None)
    if instruction is not None:  # BabyAI's: the verifier says which objects are meant
        parts = [getattr(instruction, name, None) for name in ("desc", "desc_move", "desc_fixed")]
        found = [list(part.obj_set) for part in parts if part is not None]
        return [lambda cell, objects=objects: any(cell is one for one in objects) for objects in found]
    named = NAMED.findall(str(env.mission).lower())[:MENTIONS]
    return [
        lambda cell, colour=colour, kind=kind: (
            (cell.type == kind or (kind == "object" and cell.type in ("key", "ball", "box")))
            and colour in ("", cell.color)
        )
        for colour, kind in named
    ]


def said(error: BaseException) -> str:
    """An error in one line: what it is, what it says, and where it was raised."""
    words = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "l4t_jax" not in frame.filename]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}{f': {words}' if words else ''}{where}"


def _where(thing: Any) -> str:
    """The file and line where a class or a function is defined."""
    try:
        return f"{Path(inspect.getfile(thing)).name}, line {inspect.getsourcelines(thing)[1]}"
    except (TypeError, OSError):
        return str(getattr(thing, "__module__", "elsewhere"))

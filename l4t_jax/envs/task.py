"""What a task is: its levels, when it ends, and what plans can name in it.

Device module. A `Task` is a frozen description; `navix.GridTask` runs one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax

from l4t_jax.envs.cells import BALL, BOX, DONE, DOOR_CLOSED, DOOR_LOCKED, DOOR_OPEN, KEY, NUM_ACTIONS
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.state import Layout, State, Transition
from l4t_jax.envs.success import lava_entered

DOORS = (DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED)
PORTABLE = (KEY, BALL, BOX)
MINIGRID = "MiniGrid-"  # how MiniGrid's ids begin
LARGEST_MAP = 32  # cells a side: a column of a map is one word of 32 bits
Predicate = Callable[[Transition], jax.Array]


@dataclasses.dataclass(frozen=True)
class Role:
    """What an object is to the task: a thing that plans can name. Of several that match, skills mean the nearest.

    Attributes:
        name: as it stands in sentences and plans, such as "key" or "blue key".
        kinds: the kinds of cell it may be (`cells.KEY`, ...).
        colour: its colour, or None where any colour will do.
        target: the bit of `State.targets` that marks it, or None where no mission points at it.
        nth: which of the matching cells it is, counted in scan order (x first); None means all of them.
        is_same_as: roles that share this word are states of one object, so at most one of them is there at a time.
        reach: whether the symbolic state tells one that can be walked to from one that something stands in front of.
        opens: of doors, whether it means only those that the held key opens, while one is held; of keys, only those
            that open a locked door seen.
        mission_colour: the field of the mission that gives its colour, or None where none does.
        beside: it means only objects right beside a cell of one of these kinds; of any where this is empty.
        needs: the name of an object of the task that must have been seen before this one is known for what it is.
    """

    name: str
    kinds: tuple[int, ...]
    colour: int | None = None
    target: int | None = None
    nth: int | None = None
    is_same_as: str | None = None
    reach: bool = False
    opens: bool = False
    mission_colour: int | None = None
    beside: tuple[int, ...] = ()
    needs: str | None = None

    @property
    def meant(self) -> Role:
        """The role without what does not change which cells it means, of any number."""
        return dataclasses.replace(self, name="", nth=None, is_same_as=None, reach=False)

    @property
    def portable(self) -> bool:
        """Whether it can be carried."""
        return set(self.kinds) <= set(PORTABLE)


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, complete: what `register_task` takes.

    Attributes:
        name: as on the command line.
        width, height: cells of the map, walls included; at most `LARGEST_MAP` each.
        max_steps: an episode is truncated after this many steps.
        layout: a random key -> one level.
        success: whether a step ends the episode well.
        failure: whether a step ends it badly. Lava and the goal end an episode in any case.
        penalty: the reward of a step that ends it badly by `failure`.
        objects: what plans can name; sentences name portable things first, then the others, in this order.
        mission: how drawn missions are coded and said; None where the mission is always `text`.
        text: the mission in MiniGrid's words, where it is not drawn.
        view: width of the square window the agent sees, odd; MiniGrid's own is 7, the paper's 3.
        see_through: walls and closed doors do not block the view.
        num_actions: actions that exist; those above act as turning left does.
        pickup_toggles: the action pickup does what toggle does.
        idle: the action of a plan that has nothing left to do; done ends the episodes of some tasks badly.
        before_step: a random key and the state -> the state, before the agent acts: what moves by itself. It may also
            take from `seen` and `last_seen` what an agent is to forget, if it can tell so from what it knows alone.
        rename_colours: whether sentences speak of color1, color2, ... by first appearance instead of real colours.
        avoid_lava: whether skills walk around lava; the reference's walk through it.
        skills: names of the skills that plans may use.
        description: the task in one or two sentences, as an LLM is told.
        teacher: the task's own teacher file: a name among the package's, or a path; None without one.
        family, minigrid_id: of MiniGrid, where it is one of its environments; the id is a name of the task too.
        aliases: other names for it.
        distinct_levels: how many levels there are, where its family has fewer than 1,000: training, validation and test
            then share them. None where there are more, and each belongs to one split.
    """

    name: str
    width: int
    height: int
    max_steps: int
    layout: Callable[[jax.Array], Layout]
    success: Predicate
    failure: Predicate = lava_entered
    penalty: float = 0.0
    objects: tuple[Role, ...] = ()
    mission: Mission | None = None
    text: str = ""
    view: int = 7
    see_through: bool = False
    num_actions: int = NUM_ACTIONS
    pickup_toggles: bool = False
    idle: int = DONE
    before_step: Callable[[jax.Array, State], State] | None = None
    rename_colours: bool = False
    avoid_lava: bool = True
    skills: tuple[str, ...] = ("explore", "go_to", "pick_up", "drop", "open")
    description: str = ""
    teacher: str | None = None
    family: str = ""
    minigrid_id: str | None = None
    aliases: tuple[str, ...] = ()
    distinct_levels: int | None = None

    def __post_init__(self) -> None:
        if not (3 <= self.width <= LARGEST_MAP and 3 <= self.height <= LARGEST_MAP):
            raise ValueError(
                f"task {self.name}: a map is 3 to {LARGEST_MAP} cells wide and high, not {self.width} x {self.height}"
            )
        if self.view % 2 == 0 or not 3 <= self.view <= 15:
            raise ValueError(f"task {self.name}: the view must be odd and from 3 to 15, not {self.view}")
        if self.max_steps < 1:
            raise ValueError(f"task {self.name}: max_steps must be at least 1, not {self.max_steps}")
        if not 1 <= self.num_actions <= NUM_ACTIONS:
            raise ValueError(f"task {self.name}: num_actions must be from 1 to {NUM_ACTIONS}, not {self.num_actions}")
        if len({role.name for role in self.objects}) != len(self.objects):
            raise ValueError(f"task {self.name}: two objects have the same name")
        for role in self.objects:
            if role.needs is not None and role.needs not in {other.name for other in self.objects if other != role}:
                raise ValueError(f"task {self.name}: {role.name} needs {role.needs}, which is no other object of it")
            if role.mission_colour is not None and self.mission is None:
                raise ValueError(
                    f"task {self.name}: {role.name} takes its colour from the mission, but the task draws none"
                )

    @property
    def versioned_names(self) -> list[str]:
        """Its names with a version, as navix and Gymnasium want them: MiniGrid's own, else v0."""
        own = f"{self.name}-v0" if self.minigrid_id is None else self.minigrid_id.removeprefix(MINIGRID)
        return [*(f"{name}-v0" for name in self.aliases), own]

    def say(self, mission: Sequence[int] | None) -> str:
        """The mission of an episode in MiniGrid's words; its values where it is drawn, else None."""
        return self.text if self.mission is None or mission is None else self.mission.say(mission)

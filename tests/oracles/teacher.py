"""The reference's teacher in plain Python: the oracle that the bit-packed device teacher is tested against.

Written from the description of the reference system alone (LLM4Teach, arXiv 2311.13373: what it remembers and
says, its five skills, its walk along a plan, its soft mixture), validated on traces recorded by running that
system. Loops and dictionaries only. It imports nothing of the project; tests import it.

A memory map `obs` is `uint8[W, H, 4]`, x first: object, colour, state in MiniGrid's indices (all 0 where never
seen), then the agent's direction (4 everywhere but in the agent's cell). The agent's cell shows what it
carries, else empty floor.
"""

import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

UNSEEN, EMPTY, WALL, DOOR, KEY, BALL, BOX, GOAL, LAVA = 0, 1, 2, 4, 5, 6, 7, 8, 9
OPEN = 0  # a door's state; 1 closed, 2 locked
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # direction 0 right, 1 down, 2 left, 3 up

OBJECTS = {  # every role a plan of the task may name, in the order of the recorded traces
    "SimpleDoorKey": ("key", "door"),
    "LavaDoorKey": ("key", "door"),
    "ColoredDoorKey": ("blue key", "red key", "blue door"),
    "DivergedDoorKey": ("key", "door1", "door2"),
}

Cell = tuple[int, int]
State = tuple[tuple[str, ...], str | None]  # (sees, holds)
Skill = Sequence[str]  # ("go_to", "key"), ("explore",), ("noop",)
Table = Mapping[State, Sequence[tuple[float, Sequence[Skill]]]]  # state -> (probability, skills) of each plan


def agent_pose(obs: np.ndarray) -> tuple[int, int, int]:
    """The agent's (x, y, direction)."""
    ((x, y),) = np.argwhere(obs[:, :, 3] != 4).tolist()
    return x, y, int(obs[x, y, 3])


# Skills


def room_bounds(obs: np.ndarray) -> tuple[int, int]:
    """(bx, by): the room ends before these. Given by the first neighbours that are both wall or door."""
    width, height = obs.shape[:2]

    def solid(x: int, y: int) -> bool:
        return obs[x, y, 0] in (WALL, DOOR)

    inner = [(x, y) for x in range(1, width - 1) for y in range(1, height - 1)]  # x-major
    bx = next((x + 1 for x, y in inner if solid(x, y) and solid(x, y + 1)), width)
    by = next((y + 1 for x, y in inner if solid(x, y) and solid(x + 1, y)), height)
    return bx, by


def explore(obs: np.ndarray, h: int = 1) -> int | None:
    """The action of `explore` for a view of half-width `h`; None where nothing is left to look for."""
    width, height = obs.shape[:2]
    x, y, direction = agent_pose(obs)
    ahead = STEPS[direction]
    left = STEPS[(direction - 1) % 4]

    def content(step: Cell) -> int:
        cx, cy = x + step[0], y + step[1]
        if not (0 <= cx < width and 0 <= cy < height):
            return WALL  # a room is walled, so no trace says: the edge of the map is taken for a wall
        return int(obs[cx, cy, 0])

    if content(ahead) in (KEY, BALL, BOX):
        return RIGHT if content(left) in (WALL, DOOR, KEY, BALL, BOX) else LEFT

    bx, by = room_bounds(obs)
    unseen_ahead = unseen_left = unseen_right = unseen_behind = False
    for ux, uy in np.argwhere(obs[:bx, :by, 0] == UNSEEN).tolist():
        forwards = (ux - x) * ahead[0] + (uy - y) * ahead[1]
        leftwards = (ux - x) * left[0] + (uy - y) * left[1]
        unseen_ahead |= forwards > h
        unseen_left |= leftwards > h
        unseen_right |= -leftwards > h
        unseen_behind |= 1 - forwards > h  # measured from the cell ahead
    if unseen_ahead:
        return FORWARD
    if unseen_left:
        return LEFT
    if unseen_right:
        return RIGHT
    if unseen_behind:
        return LEFT
    return None


def passable(obs: np.ndarray, x: int, y: int) -> bool:
    """Whether `go_to` walks through this cell. Through lava too: the teacher is imperfect by design."""
    kind, state = int(obs[x, y, 0]), int(obs[x, y, 2])
    return kind in (EMPTY, GOAL, LAVA) or (kind == DOOR and state == OPEN)


def go_to(obs: np.ndarray, place: Cell) -> tuple[set[int], int | None]:
    """Every action that starts a shortest path to where `place` is directly ahead, and that path's length.

    Breadth first over (x, y, direction), each turn or step one. `(set(), 0)` where satisfied, `(set(), None)`
    where there is no path.
    """
    width, height = obs.shape[:2]

    def arrived(node: tuple[int, int, int]) -> bool:
        x, y, direction = node
        return (x + STEPS[direction][0], y + STEPS[direction][1]) == tuple(place)

    def successors(node: tuple[int, int, int]) -> Iterator[tuple[int, tuple[int, int, int]]]:
        x, y, direction = node
        yield LEFT, (x, y, (direction - 1) % 4)
        yield RIGHT, (x, y, (direction + 1) % 4)
        fx, fy = x + STEPS[direction][0], y + STEPS[direction][1]
        if 0 <= fx < width and 0 <= fy < height and passable(obs, fx, fy):
            yield FORWARD, (fx, fy, direction)

    start = agent_pose(obs)
    distance = {start: 0}
    first_actions: dict[tuple[int, int, int], set[int]] = {start: set()}
    queue = deque([start])
    shortest: int | None = None
    actions: set[int] = set()
    while queue:
        node = queue.popleft()
        if shortest is not None and distance[node] > shortest:
            break
        if arrived(node):
            shortest = distance[node]
            actions |= first_actions[node]
            continue
        for action, successor in successors(node):
            if successor not in distance:
                distance[successor] = distance[node] + 1
                first_actions[successor] = set()
                queue.append(successor)
            if distance[successor] == distance[node] + 1:
                first_actions[successor] |= {action} if node == start else first_actions[node]
    return actions, shortest


# What the teacher sees, remembers and says


def name_cells(task: str, obs: np.ndarray) -> tuple[dict[str, Cell], str | None]:
    """Where each named object of the memory map lies (keys, then doors, each x-major); and what is held."""
    agent = agent_pose(obs)[:2]
    keys: dict[str, Cell] = {}
    doors: dict[str, Cell] = {}
    holds: str | None = None
    for x, y in np.argwhere((obs[:, :, 0] == KEY) | (obs[:, :, 0] == DOOR)).tolist():  # x-major
        kind, color = int(obs[x, y, 0]), int(obs[x, y, 1])
        prefix = f"{COLORS[color]} " if task == "ColoredDoorKey" else ""
        if kind == KEY and (x, y) == agent:
            holds = f"{prefix}key"
        elif kind == KEY:
            keys[f"{prefix}key"] = (x, y)
        else:
            number = str(len(doors) + 1) if task == "DivergedDoorKey" else ""
            doors[f"{prefix}door{number}"] = (x, y)
    return keys | doors, holds


def symbolic_state(task: str, obs: np.ndarray) -> State:
    """(sees, holds) with the objects' own names: (('key', 'door'), None), (('red key',), 'blue key')."""
    cells, holds = name_cells(task, obs)
    return tuple(cells), holds


def sentence(task: str, obs: np.ndarray) -> str:
    """What the teacher is told, colours not yet renamed: 'Agent sees <key>, <door>, holds <nothing>.'"""
    sees, holds = symbolic_state(task, obs)
    seen = ", ".join(f"<{name}>" for name in sees) or "<nothing>"
    return f"Agent sees {seen}, holds <{holds or 'nothing'}>."


def rename(sees: Sequence[str], holds: str | None) -> tuple[State, dict[str, str]]:
    """The state with colours called color1, color2 by first appearance, and the map back to the colours."""
    new_names: dict[str, str] = {}

    def renamed(name: str) -> str:
        color, _, role = name.rpartition(" ")
        if color not in COLORS:
            return name
        return f"{new_names.setdefault(color, f'color{len(new_names) + 1}')} {role}"

    new_sees = tuple(renamed(name) for name in sees)
    new_holds = None if holds is None else renamed(holds)
    return (new_sees, new_holds), {new: color for color, new in new_names.items()}


@dataclass
class Memory:
    """Where each object last lay in the memory map; one that is carried keeps its place. New at each reset."""

    task: str
    places: dict[str, Cell] = field(default_factory=dict)

    def update(self, obs: np.ndarray) -> None:
        cells, _ = name_cells(self.task, obs)
        self.places.update(cells)


# From plans to a distribution over actions


@dataclass(frozen=True)
class PlanActions:
    """What one plan asks for: any one of `actions`; several only where `go_to target` decides and is tied."""

    probability: float
    actions: frozenset[int]
    target: str | None = None


def load_tables(path: str | Path) -> dict[str, Table]:
    """The teacher tables of a JSON file, by task. A task's name in a table's place stands for its table."""
    raw = json.loads(Path(path).read_text())["tables"]
    tables = {}
    for task, entries in raw.items():
        while isinstance(entries, str):
            entries = raw[entries]
        tables[task] = {
            (tuple(entry["sees"]), entry["holds"]): [(plan["p"], plan["skills"]) for plan in entry["plans"]]
            for entry in entries
        }
    return tables


def walk(
    obs: np.ndarray, skills: Sequence[Skill], places: Mapping[str, Cell], h: int = 1
) -> tuple[set[int], str | None]:
    """The actions that a plan (in the objects' own names) may give, and the `go_to` target that decides."""
    for skill, *objects in skills:
        if skill == "explore":
            action = explore(obs, h)
            if action is not None:
                return {action}, None
            continue
        if skill == "noop" or objects[0] not in places:
            return {DONE}, None
        if skill == "go_to":
            actions, distance = go_to(obs, places[objects[0]])
            if distance is None:
                return {DONE}, None
            if distance > 0:
                return actions, objects[0]
            continue
        return {{"pick_up": PICK_UP, "drop": DROP, "open": TOGGLE}[skill]}, None
    return {DONE}, None


def plan_actions(task: str, obs: np.ndarray, memory: Memory, table: Table, h: int = 1) -> list[PlanActions]:
    """What each recorded plan for the present state asks for. `memory` must have been updated with `obs`."""
    state, colors = rename(*symbolic_state(task, obs))
    plans = []
    for probability, skills in table[state]:
        real = [[" ".join(colors.get(word, word) for word in part.split(" ")) for part in skill] for skill in skills]
        actions, target = walk(obs, real, memory.places, h)
        plans.append(PlanActions(probability, frozenset(actions), target))
    return plans


def teacher_distributions(task: str, obs: np.ndarray, memory: Memory, table: Table, h: int = 1) -> list[np.ndarray]:
    """Every soft distribution (float64[7]) that some tie-break gives, one optimal action a `go_to` target.

    One element where nothing is tied. The first element takes the lowest action of each tie.
    """
    plans = plan_actions(task, obs, memory, table, h)
    ties = {plan.target: sorted(plan.actions) for plan in plans if plan.target is not None}
    distributions = []
    for choice in itertools.product(*ties.values()):
        chosen = dict(zip(ties, choice, strict=True))
        distribution = np.zeros(7)
        for plan in plans:
            action = min(plan.actions) if plan.target is None else chosen[plan.target]
            distribution[action] += plan.probability
        distributions.append(distribution)
    return distributions

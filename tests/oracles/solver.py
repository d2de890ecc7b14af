"""Solutions of levels: an expert that knows the whole map, in plain Python, with its own copy of MiniGrid's rules.

It walks to what the task wants. Where no way is free it takes the way with the fewest hindrances and removes the first
of them: a locked door by fetching its key (out of its box, if it is in one), a thing by carrying it off.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

EMPTY, WALL, FLOOR, DOOR_OPEN, KEY, BALL, BOX, GOAL, LAVA = 1, 2, 3, 4, 5, 6, 7, 8, 9
DOOR_CLOSED, DOOR_LOCKED = 11, 12
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
RED, BLUE = 0, 2
PLACE = 4  # the first bit of targets that marks a place
THINGS, DOORS = (KEY, BALL, BOX), (DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED)
WALKABLE = (EMPTY, FLOOR, DOOR_OPEN, GOAL)
Cell = tuple[int, int]


class Stuck(Exception):
    """The expert knows no way."""


class Expert:
    """Plays one level; `actions` is what it did."""

    def __init__(self, cells: np.ndarray, agent: np.ndarray, contents: np.ndarray | None, avoid: Iterable[Cell] = ()):
        self.cells = np.array(cells)
        self.contents = np.zeros_like(self.cells) if contents is None else np.array(contents)
        self.x, self.y, self.d = (int(v) for v in agent)
        self.carrying, self.inside = 0, 0
        self.avoid = set(avoid)
        self.actions: list[int] = []

    # MiniGrid's rules

    def kind(self, cell: Cell) -> int:
        """What is on a cell; a wall beyond the map."""
        inside = 0 <= cell[0] < self.cells.shape[0] and 0 <= cell[1] < self.cells.shape[1]
        return int(self.cells[cell]) & 15 if inside else WALL

    def front(self) -> Cell:
        return self.x + STEPS[self.d][0], self.y + STEPS[self.d][1]

    def do(self, action: int) -> None:
        self.actions.append(action)
        ahead = self.front()
        kind = self.kind(ahead)
        code = WALL if kind == WALL else int(self.cells[ahead])
        if action in (LEFT, RIGHT):
            self.d = (self.d + (1 if action == RIGHT else 3)) % 4
        elif action == FORWARD and kind in WALKABLE:
            self.x, self.y = ahead
        elif action == PICKUP and not self.carrying and kind in THINGS:
            self.carrying, self.inside = code, int(self.contents[ahead])
            self.cells[ahead], self.contents[ahead] = EMPTY, 0
        elif action == DROP and self.carrying and kind == EMPTY:
            self.cells[ahead], self.contents[ahead] = self.carrying, self.inside
            self.carrying = self.inside = 0
        elif action == TOGGLE and kind in DOORS:
            fits = self.carrying & 15 == KEY and self.carrying >> 4 == code >> 4
            if kind != DOOR_LOCKED or fits:
                self.cells[ahead] = code & 0xF0 | (DOOR_CLOSED if kind == DOOR_OPEN else DOOR_OPEN)
        elif action == TOGGLE and kind == BOX:
            self.cells[ahead] = self.contents[ahead] or EMPTY
            self.contents[ahead] = 0

    # Ways

    def walk(self, arrived: Callable[[int, int, int], bool]) -> bool:
        """Takes the shortest way to a pose, through closed doors; whether there is one."""
        start = (self.x, self.y, self.d)
        before: dict[tuple[int, int, int], tuple[tuple[int, int, int], tuple[int, ...]]] = {}
        queue, found = [(0, start)], {start: 0}
        while queue:
            cost, pose = heapq.heappop(queue)
            if cost > found[pose]:
                continue
            x, y, d = pose
            if arrived(x, y, d):
                way: list[int] = []
                while pose != start:
                    pose, done = before[pose]
                    way[:0] = done
                for action in way:
                    self.do(action)
                return True
            ahead = x + STEPS[d][0], y + STEPS[d][1]
            moves = [((x, y, (d + 3) % 4), (LEFT,)), ((x, y, (d + 1) % 4), (RIGHT,))]
            kind = self.kind(ahead)
            if kind in (*WALKABLE, DOOR_CLOSED) and ahead not in self.avoid:
                moves.append(((*ahead, d), (TOGGLE, FORWARD) if kind == DOOR_CLOSED else (FORWARD,)))
            for new, done in moves:
                total = cost + len(done)
                if total < found.get(new, 1 << 30):
                    found[new], before[new] = total, (pose, done)
                    heapq.heappush(queue, (total, new))
        return False

    def face(self, targets: set[Cell], depth: int = 0) -> None:
        """Goes to a target and looks at it; what is in the way is removed."""
        for _ in range(40):
            if self.walk(lambda x, y, d: (x + STEPS[d][0], y + STEPS[d][1]) in targets):
                return
            self.clear(self.hindrance(targets), depth + 1)
        raise Stuck("no end of hindrances")

    def hindrance(self, targets: set[Cell]) -> Cell:
        """The first thing or locked door on the way to a target that has the fewest."""
        start = (self.x, self.y)
        before: dict[Cell, Cell] = {}
        queue, found = [(0, start)], {start: 0}
        while queue:
            cost, cell = heapq.heappop(queue)
            if cost > found[cell]:
                continue
            if cell in targets:
                way = [cell]
                while way[-1] != start:
                    way.append(before[way[-1]])
                hard = [c for c in way[-2:0:-1] if self.kind(c) in (*THINGS, DOOR_LOCKED)]
                if not hard:
                    raise Stuck("the way is free and cannot be walked")
                return hard[0]
            for dx, dy in STEPS:
                new = cell[0] + dx, cell[1] + dy
                kind = self.kind(new)
                if kind in (WALL, LAVA) or new in self.avoid:
                    continue
                total = cost + (100 if kind in THINGS else 300 if kind == DOOR_LOCKED else 1)
                if total < found.get(new, 1 << 30):
                    found[new], before[new] = total, cell
                    heapq.heappush(queue, (total, new))
        raise Stuck("there is no way")

    def clear(self, cell: Cell, depth: int) -> None:
        """Removes a hindrance to which the way is free."""
        if depth > 12:
            raise Stuck("too many things to do first")
        if self.kind(cell) == DOOR_LOCKED:
            self.unlock(cell, depth)
        else:
            self.put_down()
            self.take({cell}, depth)  # it is put down when hands are needed: it may be the key of the next door

    def unlock(self, door: Cell, depth: int = 0) -> None:
        key = KEY | int(self.cells[door]) & 0xF0
        if self.carrying != key:
            self.put_down()
            places = {c for c in np.ndindex(self.cells.shape) if key in (self.cells[c], self.contents[c])}
            if not places:
                raise Stuck("the key is lost")
            self.face(places, depth + 1)
            self.put_down()  # what was carried off on the way
            self.face(places, depth + 1)
            if self.kind(self.front()) == BOX:
                self.do(TOGGLE)
            self.do(PICKUP)
        self.face({door}, depth + 1)
        if self.carrying == key:  # else it was put down to clear the way: the caller asks again
            self.do(TOGGLE)

    def take(self, cells: set[Cell], depth: int = 0) -> None:
        """Picks one of these things up, hands being freed first."""
        self.face(cells, depth)
        self.put_down()
        self.face(cells, depth)
        self.do(PICKUP)

    def put_down(self) -> None:
        """Drops what is carried on a near cell where it cuts no way."""
        if not self.carrying:
            return
        whole = self.around(None)
        places = [c for c in whole if self.kind(c) == EMPTY and c != (self.x, self.y) and c not in self.avoid]
        places.sort(key=lambda c: abs(c[0] - self.x) + abs(c[1] - self.y))
        cuts_none = [c for c in places if len(self.around(c)) == len(whole) - 1]
        off_doors = [c for c in cuts_none if not {self.kind((c[0] + dx, c[1] + dy)) for dx, dy in STEPS} & set(DOORS)]
        for cell in (*off_doors, *cuts_none, *places):
            if self.walk(lambda x, y, d, cell=cell: (x + STEPS[d][0], y + STEPS[d][1]) == cell):
                self.do(DROP)
                return
        raise Stuck("no room to put it down")

    def around(self, blocked: Cell | None) -> set[Cell]:
        """The cells that are connected with the agent's, doors being open and things in the way."""
        found, queue = {(self.x, self.y)}, deque([(self.x, self.y)])
        while queue:
            x, y = queue.popleft()
            for dx, dy in STEPS:
                new = x + dx, y + dy
                if new not in found and new != blocked and self.kind(new) in (*WALKABLE, *DOORS):
                    found.add(new)
                    queue.append(new)
        return found


def solve(family: str, cells: np.ndarray, agent: np.ndarray, targets=None, contents=None) -> list[int] | None:
    """Actions that end an episode of a family well, from the fields of its level; None if the expert knows none."""

    def marked(bit: int) -> set[Cell]:
        return {(int(x), int(y)) for x, y in np.argwhere(targets >> bit & 1)}

    def of(kind: int, *colours: int) -> set[Cell]:
        hit = (cells & 15 == kind) & (np.isin(cells >> 4, colours) if colours else True)
        return {(int(x), int(y)) for x, y in np.argwhere(hit)}

    expert = Expert(cells, agent, contents)
    try:
        if family == "Unlock":
            (door,) = of(DOOR_LOCKED)
            while expert.kind(door) == DOOR_LOCKED:
                expert.unlock(door)
        elif family in ("UnlockPickup", "BlockedUnlockPickup", "KeyCorridor", "ObstructedMaze"):
            wanted = {"KeyCorridor": (BALL,), "ObstructedMaze": (BALL, BLUE)}.get(family, (BOX,))
            expert.take(of(*wanted))
        elif family in ("GoToDoor", "GoToObject"):
            expert.face(marked(0))
            expert.do(DONE)
        elif family == "Fetch":
            expert.take(marked(0))
        elif family == "PutNear":
            expert.take(marked(0))
            ((tx, ty),) = marked(PLACE)
            near = {(x, y) for x in range(tx - 1, tx + 2) for y in range(ty - 1, ty + 2)}
            expert.face({cell for cell in near if expert.kind(cell) == EMPTY and cell != (expert.x, expert.y)})
            expert.do(DROP)
        elif family == "Memory":
            middle = cells.shape[1] // 2
            good, bad = ({(x, y + (1 if y < middle else -1)) for x, y in marked(bit)} for bit in (0, 1))
            expert.avoid = bad
            if not expert.walk(lambda x, y, d: (x, y) in good):
                return None
        elif family == "RedBlueDoors":
            for colour in (RED, BLUE):
                expert.face(of(DOOR_CLOSED, colour))
                expert.do(TOGGLE)
        else:
            expert.face(of(GOAL))
            expert.do(FORWARD)
    except Stuck:
        return None
    return expert.actions

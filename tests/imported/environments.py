"""Environments as users write them, registered with Gymnasium: `WITHIN` the rules, and others, each with why not."""

from __future__ import annotations

import gymnasium as gym
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall, WorldObj
from minigrid.minigrid_env import MiniGridEnv

KINDS = {"key": Key, "ball": Ball, "box": Box}


class Room(MiniGridEnv):
    """A walled room with a goal somewhere in it."""

    said = "reach the goal"

    def __init__(self, size=6, width=None, height=None, max_steps=60, space=None, **kwargs):
        space = space or MissionSpace(mission_func=lambda: "anything")
        size = None if width else size
        super().__init__(space, size, width, height, max_steps=max_steps, **kwargs)

    def _gen_grid(self, width, height):
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        self.mission = self.said
        self.furnish(width, height)
        self.place_agent()

    def furnish(self, width, height):
        self.place_obj(Goal())


class Lavas(Room):
    """Wider than high, with lava."""

    def furnish(self, width, height):
        self.grid.vert_wall(width // 2, 1, height - 2, Lava)
        self.grid.set(width // 2, self._rand_int(1, height - 1), None)
        self.place_obj(Goal(), top=(width // 2 + 1, 0))


class BurningLava(Lavas):
    """Lava that costs."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if terminated and isinstance(self.grid.get(*self.agent_pos), Lava):
            reward = -1
        return obs, reward, terminated, truncated, info


class TwoRooms(Room):
    """A locked door, its key, and a goal behind it."""

    said = "use the key to open the door and then get to the goal"

    def furnish(self, width, height):
        self.grid.vert_wall(width // 2, 0)
        color = self._rand_color()
        self.put_obj(Door(color, is_locked=True), width // 2, self._rand_int(1, height - 1))
        self.place_obj(Key(color), size=(width // 2, height))
        self.place_obj(Goal(), top=(width // 2 + 1, 0))

    def place_agent(self):
        super().place_agent(size=(self.width // 2, self.height))


class KeyInBox(TwoRooms):
    """The key is in a box, beside one that is empty; the door alone is to be opened."""

    said = "open the door"

    def furnish(self, width, height):
        super().furnish(width, height)
        for i, cell in enumerate(self.grid.grid):
            if isinstance(cell, Key):
                self.put_obj(Box("yellow", contains=cell), i % width, i // width)
        self.place_obj(Box("yellow"), size=(width // 2, height))

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        ahead = self.grid.get(*self.front_pos)
        if action == self.actions.toggle and isinstance(ahead, Door) and ahead.is_open:
            terminated, reward = True, self._reward()
        return obs, reward, terminated, truncated, info


class PickUp(Room):
    """One of three things is to be picked up; another ends nothing."""

    strict = False

    def furnish(self, width, height):
        things = []
        while len(things) < 3:
            thing = (self._rand_elem(sorted(KINDS)), self._rand_color())
            if thing not in things:
                things.append(thing)
                self.place_obj(KINDS[thing[0]](thing[1]))
        self.wanted = things[0]
        self.mission = f"please pick up the {self.wanted[1]} {self.wanted[0]}"

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if self.carrying is not None and action == self.actions.pickup:
            if (self.carrying.type, self.carrying.color) == self.wanted:
                terminated, reward = True, self._reward()
            elif self.strict:
                terminated = True
        return obs, reward, terminated, truncated, info


class PickUpStrict(PickUp):
    """Another ends the episode."""

    strict = True


class SayDone(PickUp):
    """Done before the thing; done elsewhere ends the episode."""

    def step(self, action):
        obs, reward, terminated, truncated, info = MiniGridEnv.step(self, action)
        if action == self.actions.done:
            terminated, ahead = True, self.grid.get(*self.front_pos)
            if ahead and (ahead.type, ahead.color) == self.wanted:
                reward = self._reward()
        return obs, reward, terminated, truncated, info


class Doors(Room):
    """Four doors in the walls of an inner room; the one of the mission's colour is to be opened."""

    def furnish(self, width, height):
        colors = self._rand_subset(COLOR_NAMES, 4)
        places = [(2, 3), (width - 3, 3), (3, 2), (3, height - 3)]
        self.grid.wall_rect(2, 2, width - 4, height - 4)
        for color, place in zip(colors, places, strict=True):
            self.put_obj(Door(color), *place)
        self.place_obj(Ball("grey"))
        self.wanted = self._rand_elem(colors)
        self.mission = f"open the {self.wanted} door"

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        ahead = self.grid.get(*self.front_pos)
        opened = action == self.actions.toggle and isinstance(ahead, Door) and ahead.is_open
        if opened and ahead.color == self.wanted:
            terminated, reward = True, self._reward()
        return obs, reward, terminated, truncated, info


class ManyRooms(Room):
    """As large as can be."""

    def furnish(self, width, height):
        for at in range(6, width - 2, 6):
            self.grid.vert_wall(at, 0)
            self.grid.horz_wall(0, at)
        for i in range(6, width - 2, 6):
            for j in range(3, height - 1, 6):
                self.put_obj(Door(self._rand_color()), i, j)
                self.put_obj(Door(self._rand_color(), is_open=True), j, i)
        self.place_obj(Goal())


class Tiles(Room):
    """Floor tiles in colours, no goal: the tile is the place to be."""

    def furnish(self, width, height):
        self.place_obj(Floor(self._rand_color()))
        self.place_obj(Ball("grey"))

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        moved = self.agent_pos != self.last_pos
        if moved and isinstance(self.grid.get(*self.agent_pos), Floor):
            terminated, reward = True, self._reward()
        self.last_pos = self.agent_pos
        return obs, reward, terminated, truncated, info

    def reset(self, **kwargs):
        found = super().reset(**kwargs)
        self.last_pos = self.agent_pos
        return found


class ThreeActions(Room):
    """Turns and steps alone."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.action_space = gym.spaces.Discrete(3)


class OneLevel(Room):
    """Always the same level."""

    def furnish(self, width, height):
        self.put_obj(Goal(), width - 2, height - 2)

    def place_agent(self):
        self.agent_pos, self.agent_dir = (1, 1), 0


# --- beyond the rules -----------------------------------------------------------------------------------------------


class StepCost(Room):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward - 0.01, terminated, truncated, info


class FlatReward(Room):
    def _reward(self):
        return 1


class Wind(Room):
    """Balls that are blown about."""

    def furnish(self, width, height):
        super().furnish(width, height)
        self.ball = Ball("blue")
        self.place_obj(self.ball)

    def step(self, action):
        result = super().step(action)
        if self.carrying is not self.ball and self.ball.cur_pos is not None:
            self.grid.set(*self.ball.cur_pos, None)
            self.place_obj(self.ball)
        return result


class Slippery(Room):
    """Now and then another action is taken."""

    def step(self, action):
        return super().step(self._rand_int(0, 3) if self._rand_float(0, 1) < 0.2 else action)


class Curtain(WorldObj):
    """Walked through, and not seen through."""

    def __init__(self):
        super().__init__("wall", "red")

    def can_overlap(self):
        return True

    def see_behind(self):
        return False


class Curtains(Room):
    def furnish(self, width, height):
        super().furnish(width, height)
        for _ in range(3):
            self.place_obj(Curtain())


class Switch(Room):
    """A box that opens the wall: a step changes what is far away."""

    def furnish(self, width, height):
        self.put_obj(Goal(), 1, 1)
        self.put_obj(Wall(), 2, 1)
        self.put_obj(Wall(), 1, 2)
        self.place_obj(Box("red"))

    def step(self, action):
        result = super().step(action)
        if action == self.actions.toggle:
            self.grid.set(2, 1, None)
        return result


class TwoVisits(Room):
    """Two goals' worth of tiles, in order: what a step cannot tell from its state."""

    def furnish(self, width, height):
        self.seen = set()
        for color in ("red", "blue"):
            self.place_obj(Floor(color))

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        tile = self.grid.get(*self.agent_pos)
        if isinstance(tile, Floor):
            self.seen.add(tile.color)
            if len(self.seen) == 2:
                terminated, reward = True, self._reward()
        return obs, reward, terminated, truncated, info


class Crash(Room):
    def step(self, action):
        if action == self.actions.drop:
            raise RuntimeError("nothing to drop\nhere")
        return super().step(action)


class Growing(Room):
    def reset(self, **kwargs):
        found = super().reset(**kwargs)
        self.max_steps = 50 + int(self.agent_pos[0])
        return found


class Vectors(Room):
    def gen_obs(self):
        return super().gen_obs()["image"].ravel()


class MovingMission(PickUp):
    def step(self, action):
        if self.step_count == 5:
            self.mission = "go home"
        return super().step(action)


class Numbers(Room):
    """A mission with a number of 40."""

    def furnish(self, width, height):
        super().furnish(width, height)
        self.mission = f"this is level {self._rand_int(0, 40)}"


class Fog(Room):
    """The agent sees less than others would."""

    def gen_obs_grid(self, agent_view_size=None):
        grid, seen = super().gen_obs_grid(agent_view_size)
        seen[2] = False
        return grid, seen


class Endless(Room):
    """Never cut off."""

    def step(self, action):
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, False, info


class NoReward(Room):
    def _reward(self):
        return 0


class Broken(Room):
    def furnish(self, width, height):
        raise AssertionError("no room for a goal")


class NotOne(gym.Env):
    pass


WITHIN = {
    "MyRoom-v0": (Room, {}),
    "MyLava-v0": (Lavas, dict(width=9, height=5)),
    "MyBurningLava-v0": (BurningLava, dict(width=9, height=5, agent_view_size=5)),
    "MyTwoRooms-v0": (TwoRooms, dict(size=7, max_steps=200)),
    "MyKeyInBox-v0": (KeyInBox, dict(size=7, max_steps=150)),
    "MyPickUp-v0": (PickUp, {}),
    "MyPickUpStrict-v0": (PickUpStrict, dict(see_through_walls=True)),
    "MySayDone-v0": (SayDone, dict(agent_view_size=3)),
    "MyDoors-v0": (Doors, dict(size=9)),
    "MyManyRooms-v0": (ManyRooms, dict(size=32, max_steps=400, agent_view_size=9)),
    "MyTiles-v0": (Tiles, {}),
    "MyThreeActions-v0": (ThreeActions, dict(size=5)),
    "MyOneLevel-v0": (OneLevel, dict(size=5)),
}  # fmt: skip
REFUSED = {
    "MyStepCost-v0": (StepCost, {}, r"it pays -0\.01 at step \d+ .*and goes on.*StepCost defines its own step"),
    "MyFlatReward-v0": (FlatReward, {}, r"the reward is 1 and would be 0\.\d+ .*FlatReward defines its own _reward"),
    "MyWind-v0": (Wind, {}, r"at step \d+ .*the cell \(\d+, \d+\) holds .* draws random numbers; Wind .* own step"),
    "MySlippery-v0": (Slippery, {}, r"the agent is at .*and would be at .*draws random numbers"),
    "MyCurtains-v0": (Curtains, {}, r"Curtain is its own kind of object \(environments.py, line \d+\)"),
    "MySwitch-v0": (Switch, {}, r"the cell \(2, 1\) holds nothing and would hold a grey wall.*Switch .* own step"),
    "MyTwoVisits-v0": (TwoVisits, {}, r"no rule known here ends its episodes well exactly where its step\(\) does"),
    "MyCrash-v0": (Crash, {}, r"step\(4\) raised RuntimeError: nothing to drop here \(environments.py, line \d+\)"),
    "MyGrowing-v0": (Growing, {}, r"its max_steps changes from level to level"),
    "MyVectors-v0": (Vectors, {}, r"its observation is not MiniGrid's"),
    "MyMovingMission-v0": (MovingMission, {}, r"the mission is 'go home' and would be 'please pick up"),
    "MyFog-v0": (Fog, {}, r"the agent has not seen the cell \(\d+, \d+\) and would have.*Fog .* own gen_obs_grid"),
    "MyEndless-v0": (Endless, {}, r"at step 60 .*the episode is not cut off and would be.*Endless .* own step"),
    "MyNumbers-v0": (Numbers, {}, r"its missions have \d\d different words at one place"),
    "MyNoReward-v0": (NoReward, {}, r"no episode ended with a reward in .* rule is not known; set `success` to one of"),
    "MyBroken-v0": (Broken, {}, r"reset\(seed=0\) raised AssertionError: no room for a goal"),
    "MyHuge-v0": (Room, dict(size=40), r"its map has 40 x 40 cells; each side must have 3 to 32"),
    "MyBigView-v0": (Room, dict(agent_view_size=17), r"its view is 17 cells wide"),
    "MyNotOne-v0": (NotOne, {}, r"MyNotOne-v0 is not built on minigrid's MiniGridEnv"),
    "MyNoArgument-v0": (Room, dict(sise=5), r"MyNoArgument-v0 cannot be made: TypeError"),
}  # fmt: skip

for _id, (_class, _kwargs, *_) in (WITHIN | REFUSED).items():
    if _id not in gym.registry:
        gym.register(_id, entry_point=_class, kwargs=_kwargs)
if "MyTwoLimits-v0" not in gym.registry:
    gym.register("MyTwoLimits-v0", entry_point=Room, max_episode_steps=20)

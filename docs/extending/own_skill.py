"""A skill that takes an object: walk to it and pick it up, in one step of a plan.

    python -m l4t_jax.run --import docs/extending/own_skill.py --env FetchDoorKey
    l4t_jax.train(imports="docs/extending/own_skill.py", env="FetchDoorKey")

Its teacher is `fetch_door_key.json`. LLMs are told of the skill; hierarchical RL (`--algo hrl`) has it as an option.
"""

import dataclasses
from pathlib import Path

import jax.numpy as jnp

from l4t_jax import get_task, register_task
from l4t_jax.envs.cells import DONE, PICKUP
from l4t_jax.skills.base import SATISFIED, Skill, register_skill
from l4t_jax.skills.objects import known, way_to


class Fetch(Skill):
    """Walks to an object and picks it up; plans say it as "fetch <key>"."""

    name = "fetch"
    sentence = "walk to OBJECT and pick it up"  # as an LLM is told
    takes_object = True

    def makes_sense(self, role, holds):
        """Whether a plan may ask for it: of something that can be carried, with empty hands."""
        return role.portable and holds is None

    def held_after(self, role, holds):
        """What the agent then holds, so that the next step of a plan can count on it."""
        return role.name

    def search(self, scene, role):
        """The shortest paths that `act` reads; the searches of all skills and environments are run as one."""
        return way_to(scene, role)

    def act(self, scene, role, path):
        """An action for each map of the batch; SATISFIED hands over to the plan's next step, DONE ends the plan."""
        fetched = scene.carries(scene.task.objects[role])
        action = jnp.where(fetched, SATISFIED, path.first_action(PICKUP))  # PICKUP where the object is right ahead
        return jnp.where(known(scene, role), action, DONE)


register_skill(Fetch())
register_task(
    dataclasses.replace(
        get_task("SimpleDoorKey"),
        name="FetchDoorKey",
        aliases=(),
        skills=("explore", "fetch", "go_to", "open"),
        teacher=str(Path(__file__).with_name("fetch_door_key.json")),
    )
)

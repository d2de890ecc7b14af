"""What a page computes: the rules of a task, a student and its teacher as functions of one environment.

Host module that makes pure, jittable functions. They are the package's own, for one environment at a time; the page
runs what JAX makes of them (`stablehlo.lower`). Each takes and gives a dict of pytrees.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l4t_jax.agents.controllers import draw
from l4t_jax.agents.policy import student_policy
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.navix import GridTask, make_env
from l4t_jax.envs.state import Layout, State
from l4t_jax.envs.task import Task
from l4t_jax.envs.visibility import know
from l4t_jax.evaluation.playing import teacher_logits
from l4t_jax.kernels import PORTABLE
from l4t_jax.student import Student
from l4t_jax.teacher.policy import TeacherTable, teacher_output


class Program(NamedTuple):
    """A function of a dict, and what it takes as shapes and dtypes."""

    function: Callable[[dict[str, Any]], dict[str, Any]]
    inputs: dict[str, Any]


def environment(task: Task) -> GridTask:
    """The environment that a page runs."""
    return make_env(task, kernel=PORTABLE)


def layout_of(level: State) -> dict[str, jax.Array]:
    """A level as the program `begin` takes it.

    Args:
        level: a state at the start of an episode; leading axes are batch axes.
    """
    parts = {name: getattr(level, name) for name in Layout._fields}
    return {name: part for name, part in parts.items() if part is not None}


def programs(student: Student, table: TeacherTable | None) -> dict[str, Program]:
    """The programs of a student and its teacher, by name.

    - `begin`: a level (`layout_of`) -> the `state` at the start of an episode.
    - `observe`: a `state`, whether the episode starts (`start`), what the student remembers (`carry`) and its
      parameters (`weights`) -> its `carry` after, its `logits` and `probability` `float32[7]`. With a teacher, also its
      `distribution` `float32[7]` over actions, zeros where it has no plan, the `teacher_logits` that it acts by, the
      `symbolic` state and the `row` of the table for it.
    - `choose`: `logits`, a random word `bits`, and whether to take the most probable action (`greedy`) -> an `action`.
    - `step`: a `state`, the steps `t` before this one, an `action`, and a random `key` where things move by themselves
      -> the next `state`, the `reward`, and whether the step led to `success`, `terminated`, `truncated`.

    Args:
        student: the student; it computes in float32 here.
        table: the teacher; None without one.
    """
    env = environment(student.task)
    state = jax.eval_shape(env.initial, jax.random.key(0))
    network = student.network.clone(dtype=jnp.float32)
    number, word, truth = (jax.ShapeDtypeStruct((), dtype) for dtype in (jnp.int32, jnp.uint32, jnp.bool_))
    scores = jax.ShapeDtypeStruct((NUM_ACTIONS,), jnp.float32)

    def begin(given: dict[str, Any]) -> dict[str, Any]:
        return dict(state=env.begin(Layout(**given["level"])))

    def observe(given: dict[str, Any]) -> dict[str, Any]:
        policy = student_policy(network, given["weights"], student.observation.of(env))
        carry, logits = policy(given["carry"], _batch(given["state"]), given["start"][None])
        seen = dict(carry=carry, logits=logits[0], probability=jax.nn.softmax(logits[0]))
        if table is None:
            return seen
        said = _of_one(teacher_output(env.task, table, _batch(know(given["state"])), env.kernel))
        distribution, symbolic = said.distribution, said.state
        logits = teacher_logits(distribution)
        return dict(seen, distribution=distribution, teacher_logits=logits, symbolic=symbolic, row=table.row[symbolic])

    def choose(given: dict[str, Any]) -> dict[str, Any]:
        return dict(action=draw(given["bits"][None], given["logits"][None], given["greedy"])[0])

    def step(given: dict[str, Any]) -> dict[str, Any]:
        key = jax.random.wrap_key_data(given["key"]) if "key" in given else None
        state, outcome = env.transition(given["state"], given["t"], given["action"], key)
        return dict(
            state=state, reward=outcome.reward, success=outcome.success, terminated=outcome.terminated,
            truncated=outcome.truncated,
        )  # fmt: skip

    key = {} if env.task.before_step is None else dict(key=jax.ShapeDtypeStruct((2,), jnp.uint32))
    carry = jax.eval_shape(lambda: network.initial_carry(1))
    return dict(
        begin=Program(begin, dict(level=layout_of(state))),
        observe=Program(observe, dict(state=state, start=truth, carry=carry, weights=student.params)),
        choose=Program(choose, dict(logits=scores, bits=word, greedy=truth)),
        step=Program(step, dict(state=state, t=number, action=number, **key)),
    )


def _batch(tree: Any) -> Any:
    """One environment as a batch of one."""
    return jax.tree.map(itemgetter(None), tree)


def _of_one(tree: Any) -> Any:
    """The one of a batch of one."""
    return jax.tree.map(itemgetter(0), tree)

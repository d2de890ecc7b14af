"""The programs of a run: made, compiled side by side, and held against the memory that is free.

Host module.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax import extensions
from l4t_jax.config import MAY_CHANGE, Config, Settings
from l4t_jax.envs.registry import is_brought_in
from l4t_jax.errors import TooLarge
from l4t_jax.evaluation.heldout import Evaluator, run_key
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.training import compilation
from l4t_jax.training.kept import Kept
from l4t_jax.training.trainer import Trainer

# How far a CPU's programs are optimized that run once (`compilation.compile_all`). Without optimization "init" and
# "picture" compile in a third of the time; with a little "levels" does in half for tasks whose levels are hard to draw,
# and is as fast.
OPTIMIZED = {"init": 0, "levels": 1, "picture": 0}


def initial_state(trainer: Trainer, seed: Any, params: Any = None) -> Any:
    """The `TrainState` before the first update, leading axis seeds; `params` as in `training_programs`."""
    return trainer.init_seeds(jax.random.split(run_key(seed, "training"), trainer.config.num_seeds), params)


def training_programs(
    trainer: Trainer, table: TeacherTable | None, longest: int, params: Any = None
) -> dict[str, tuple[Any, tuple]]:
    """The programs that make a state (from the seed) and that run a block of updates.

    Args:
        trainer: the run's.
        table: the teacher, or its shapes; None without one.
        longest: the most updates of a block.
        params: the students' first parameters, or their shapes; None for random ones.

    Returns:
        "block" and "init" (which takes `params` too, where there are any), each with its arguments' shapes, for
        `compilation.compile_all`.
    """

    def init(seed: Any, params: Any = None) -> Any:
        return initial_state(trainer, seed, params)

    def block(state: Any, table: TeacherTable | None, count: Any) -> Any:
        return trainer.train_seeds(state, table, longest, count)

    number = jax.ShapeDtypeStruct((), jnp.int32)
    start = (number,) if params is None else (number, jax.eval_shape(lambda: params))
    state = trainer.specs(jax.eval_shape(init, *start))
    return {
        "block": (
            jax.jit(block, donate_argnums=0, compiler_options=compilation.tuned(trainer.platform)),
            (state, trainer.specs(table), number),
        ),
        "init": (jax.jit(init), start),
    }


def compile_run(
    trainer: Trainer, table: TeacherTable | None, evaluator: Evaluator, longest: int, first: Any = None
) -> dict[str, Any]:
    """Compiles all programs of a run.

    Args:
        trainer, table, longest: see `training_programs`; `first` is its `params`.
        evaluator: the run's.

    Returns:
        name -> compiled program; "picture", which is needed last, may still be compiling.

    Raises:
        TooLarge: one needs more memory than is free. What surely does not fit is refused before it is compiled.
    """
    config, room = trainer.config, _Room()
    kept = _kept(trainer, table, evaluator, longest, first)
    compiled = None if kept is None else kept.load()
    if compiled is None:
        compiled = _compiled(trainer, table, evaluator, longest, first, room, kept)
    sizes = {
        name: compilation.needed_bytes(one) * trainer.sharing_memory
        for name, one in compiled.items()
        if name != "picture"  # one environment
    }
    largest = max(sizes, key=sizes.__getitem__)
    if largest in ("block", "init"):
        room.check(sizes[largest], *_fewer_envs(config))
    else:
        room.check(sizes[largest], "evaluating needs", "fewer `validation_levels`, `heldout_levels` or `num_seeds`")
    return compiled


def _kept(trainer: Trainer, table: TeacherTable | None, evaluator: Evaluator, longest: int, first: Any) -> Kept | None:
    """Where a run's programs are kept; None where some of its code or of its levels is not the package's own."""
    config = trainer.config
    if config.imports or extensions.loaded() or is_brought_in(config.env):
        return None
    decides = {name: value for name, value in dataclasses.asdict(config).items() if name not in (*MAY_CHANGE, "seed")}
    given = jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), (table, first, evaluator.given))
    devices = None if trainer.mesh is None else trainer.mesh.devices.size
    learned = None if trainer.learned is None else trainer.learned.name
    return Kept.of({**decides, "": (longest, given, devices, learned, evaluator.chunk, evaluator.watch)})


def _compiled(
    trainer: Trainer, table: TeacherTable | None, evaluator: Evaluator, longest: int, first: Any,
    room: _Room, kept: Kept | None,
) -> dict[str, Any]:  # fmt: skip
    """The programs of `compile_run`; what surely does not fit is refused before."""
    config = trainer.config
    # The observations of one rollout are the least that a block needs.
    one = jax.eval_shape(lambda key: jax.vmap(trainer.env.initial)(key[None]), jax.random.key(0))
    seen = jax.tree.leaves(jax.eval_shape(trainer.observation.of(trainer.env), one))
    room.check(trainer.rows_at_a_time * sum(leaf.size * leaf.dtype.itemsize for leaf in seen), *_fewer_envs(config))
    made = training_programs(trainer, table, longest, first)
    params = made["block"][1][0].params
    copies = 4 * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params))  # gradients and Adam's moments too
    room.check(copies, f"a student of `hidden={config.hidden}` needs", "a smaller `hidden` or fewer `num_seeds`")
    levels = {"validation": config.validation_levels, "test": config.heldout_levels}
    evaluation = evaluator.programs(params, levels, pictures=True)
    return compilation.compile_all(made | evaluation, later=("picture",), kept=kept, optimized=OPTIMIZED)


def _fewer_envs(config: Settings) -> tuple[str, str]:
    """What needs the memory, and the remedy."""
    return f"`num_envs={config.num_envs}` needs", "fewer `num_envs`, `num_steps` or `num_seeds`"


class _Room:
    """The memory that is free, of which a program may take `compilation.HEADROOM`."""

    def __init__(self) -> None:
        self.free = compilation.free_bytes()

    def check(self, needed: int, what: str, remedy: str) -> None:
        """Raises `TooLarge`: "WHAT at least ... of memory and ... are free; try REMEDY", unless `needed` bytes fit."""
        if self.free is not None and needed > self.free * compilation.HEADROOM:
            raise TooLarge(
                f"{what} at least {compilation.in_words(needed)} of memory and {compilation.in_words(self.free)} are "
                f"free; try {remedy}"
            )


@contextlib.contextmanager
def memory_errors(config: Config) -> Iterator[None]:
    """Memory that ran out after all, as a sentence."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not compilation.out_of_memory(error):
            raise
        raise TooLarge(
            f"the device's memory ran out with `num_envs={config.num_envs}`; try fewer `num_envs`, `num_steps` or "
            "`num_seeds`"
        ) from error

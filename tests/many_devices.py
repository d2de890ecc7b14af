"""What `test_devices` runs in a process of its own with four CPU devices: one config on 1, 2 and 4 of them.

    python tests/many_devices.py '{"algo": "l4t", ...}' 1 2 4

Prints one JSON object: devices -> the metrics of each update, and digests of what must be the same bit for bit.
"""

import hashlib
import json
import sys
from typing import Any

import jax
import numpy as np

from l4t_jax.config import Config
from l4t_jax.evaluation import heldout
from l4t_jax.teacher import file
from l4t_jax.training import checkpoint, compilation, programs
from l4t_jax.training.trainer import Trainer

UPDATES = 2


def digest(tree: Any) -> str:
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(checkpoint.to_host(tree))]
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()[:16]


def on(number: int, settings: dict[str, Any], saved: Any = None) -> tuple[dict[str, Any], Any]:
    """The first updates on so many devices, from a saved state or the seed's own; and the state they begin with."""
    trainer = Trainer.create(Config(**settings, devices=number, total_steps=10**6)).spread()
    assert (1 if trainer.mesh is None else trainer.mesh.size) == number
    table = None
    if trainer.algorithm.uses_teacher:
        table = trainer.put(file.to_table(trainer.task, file.shipped(trainer.task)))
    made = programs.training_programs(trainer, table, 1)
    shapes = made["block"][1][0]
    measured = heldout.Evaluator(trainer.players, table, 12, watch=True)
    made |= measured.programs(shapes.params, {"validation": 12}, pictures=False)
    if number > 1:
        del made["init"]
    compiled = compilation.compile_all(made)
    measured.use(compiled)
    if saved is None:
        saved = checkpoint.to_host(compiled["init"](np.int32(3)))
    state = trainer.put(checkpoint.from_host(saved, shapes))
    found: dict[str, Any] = {"students": digest(measured.students(state.params, 3, "validation", 12))}
    found["others"] = digest(measured.others(3, "validation", 12))
    metrics = []
    for _ in range(UPDATES):
        state, one = compiled["block"](state, table, np.int32(1))
        metrics.append({name: np.asarray(value)[:, 0].tolist() for name, value in one.items()})
        found.setdefault("environments", digest(state.envs.replace(carry=())))  # a carry is rounded
    copies = [shard.data for shard in jax.tree.leaves(state.params)[0].addressable_shards]
    found["copies agree"] = all((np.asarray(copy) == np.asarray(copies[0])).all() for copy in copies)
    again, _ = compiled["block"](trainer.put(checkpoint.from_host(saved, shapes)), table, np.int32(1))
    twin, _ = compiled["block"](trainer.put(checkpoint.from_host(saved, shapes)), table, np.int32(1))
    found["twice the same"] = digest(again) == digest(twin)
    found["metrics"] = metrics
    return found, saved


def main() -> None:
    settings = json.loads(sys.argv[1])
    saved, found = None, {}
    for number in map(int, sys.argv[2:]):
        found[number], saved = on(number, settings, saved)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

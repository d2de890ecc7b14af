"""Many devices: environments spread over a mesh, and what it takes for a run to be the same on any number of them.

Imports nothing of the package but the errors of `config`. A program runs on every device on its own share of the
environments (`jax.shard_map`); what is needed of all environments (gradients, means) is summed over the mesh by name.
A environment's random numbers come from its own number (`per_env_keys`), so they do not depend on which device it lies
on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from l4t_jax.config import ConfigError

AXIS = "environments"  # the mesh's one axis
FEWEST_WORLDS = 32  # environments that a CPU device is worth starting for
MOST_ON_CPU = 64  # CPU devices that are made, if there are not more cores: each starts threads


# --- within a program ----------------------------------------------------------------------------------------------


def per_env_keys(key: jax.Array, number: jax.Array) -> jax.Array:
    """A random key for each environment, of its number: `int32[N]` -> `key[N]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, number)


def per_env_bits(key: jax.Array, number: jax.Array, words: int) -> jax.Array:
    """Random words for each environment, of its number: `int32[N]` -> `uint32[N, words]`."""
    return jax.vmap(lambda key: jax.random.bits(key, (words,)))(per_env_keys(key, number))


def mean(tree: Any, axis: str | None) -> Any:
    """The mean over devices of arrays of one type, in one sum; themselves without an axis."""
    if axis is None:
        return tree
    flat, back = ravel_pytree(tree)
    return back(jax.lax.pmean(flat, axis))


def sum_of(tree: Any, axis: str | None) -> Any:
    """The sum over devices of numbers, in one sum, `float32`."""
    tree = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)
    if axis is None:
        return tree
    flat, back = ravel_pytree(tree)
    return back(jax.lax.psum(flat, axis))


def shard(rows: Any, axis: str | None) -> Any:
    """This device's part of rows that every device has, leading axis; the last device's may repeat the last row."""
    if axis is None:
        return rows
    total = jax.tree.leaves(rows)[0].shape[0]
    own = -(-total // jax.lax.axis_size(axis))
    index = jnp.minimum(jax.lax.axis_index(axis) * own + jnp.arange(own), total - 1)
    return jax.tree.map(lambda leaf: leaf[index], rows)


def all_gather(parts: Any, total: int, axis: str | None, rows: int = 0) -> Any:
    """Inverse of `share`, on every device: axis `rows` of the parts joined, and its first `total` kept."""
    if axis is None:
        return parts

    def join(leaf: jax.Array) -> jax.Array:
        at = rows % leaf.ndim
        return jax.lax.slice_in_dim(jax.lax.all_gather(leaf, axis, axis=at, tiled=True), 0, total, axis=at)

    return jax.tree.map(join, parts)


def on_each(mesh: Mesh | None, function: Callable[..., Any], args: Any = None, out: Any = None) -> Callable[..., Any]:
    """`function` as a program that runs on every device of the mesh; itself without one.

    Args:
        mesh: from `make_mesh`.
        function: may sum over `AXIS`.
        args, out: `PartitionSpec`s of its arguments and its result, as `jax.shard_map` takes them; by default every
            device gets all of the arguments, and gives all of the result.
    """
    if mesh is None:
        return function
    specs = PartitionSpec() if args is None else args
    # What is replicated is so by construction (sums over the mesh): jax's own proof of it wants every constant marked.
    return jax.shard_map(
        function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec() if out is None else out, check_vma=False
    )


# --- around it -----------------------------------------------------------------------------------------------------


def make_mesh(units: int, wanted: int | None = None, what: str = "--num-envs") -> Mesh | None:
    """The mesh to spread environments over; None for a single device.

    Args:
        units: how many parts the environments can be cut into without cutting one: the devices must divide it.
        wanted: number of devices; by default as many as there are and divide `units` (on many hosts: all).
        what: the setting behind `units`, for the message.

    Raises:
        ConfigError: there are not so many devices, or they do not divide `units`; the message names numbers that do.
    """
    there = jax.devices()
    fitting = [number for number in range(1, len(there) + 1) if units % number == 0]
    if wanted is None:
        wanted = len(there) if jax.process_count() > 1 else fitting[-1]
    if wanted < 1:
        raise ConfigError(f"--devices must be at least 1, not {wanted}")
    if wanted > len(there):
        raise ConfigError(
            f"--devices {wanted}: there are {len(there)} ({there[0].platform}); --devices {fitting[-1]} would do"
        )
    if units % wanted:
        near = max(1, round(units / wanted)) * wanted
        also = f", or --devices {max(n for n in fitting if n <= wanted)}" if jax.process_count() == 1 else ""
        raise ConfigError(f"{wanted} devices must divide {what} {units}; {near} would do{also}")
    if jax.process_count() > 1 and wanted != len(there):
        raise ConfigError(f"on many hosts a run takes all devices: --devices {len(there)}, not {wanted}")
    return None if wanted == 1 else Mesh(np.asarray(there[:wanted]), (AXIS,))


def specs(mesh: Mesh | None, tree: Any, axes: Any) -> Any:
    """The shapes of `tree` as they lie on the mesh, to compile for: `ShapeDtypeStruct`s.

    Args:
        mesh: from `make_mesh`.
        tree: arrays or their shapes.
        axes: a prefix of `tree` of `PartitionSpec`s.
    """
    if mesh is None:
        return tree

    def leaf(x: Any, spec: PartitionSpec) -> Any:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    return _by_place(leaf, tree, axes)


def put(mesh: Mesh | None, tree: Any, axes: Any) -> Any:
    """Puts arrays on the mesh, wherever they are now; every host has the same. `axes` as for `specs`."""
    if mesh is None:
        return tree

    def leaf(x: Any, spec: PartitionSpec) -> Any:
        sharding = NamedSharding(mesh, spec)
        if jax.process_count() == 1:
            return jax.device_put(x, sharding, may_alias=False)  # a block overwrites what it is given
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(leaf(jax.random.key_data(x), spec))
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index].copy())

    return _by_place(leaf, tree, axes)


def _by_place(leaf: Callable[[Any, PartitionSpec], Any], tree: Any, axes: Any) -> Any:
    """Maps `leaf(x, spec)` over a tree, of whose `PartitionSpec`s `axes` is a prefix."""
    return jax.tree.map(
        lambda spec, part: jax.tree.map(lambda x: leaf(x, spec), part),
        axes, tree, is_leaf=lambda x: isinstance(x, PartitionSpec),
    )  # fmt: skip


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_devices(env_states: int, wanted: int | None) -> None:
    """Has jax make `wanted` CPU devices, or as many as pay off: one a core, but none for fewer than `FEWEST_WORLDS`.

    For a command, before jax is first used (importing navix uses it). What the user set stays (`JAX_NUM_CPU_DEVICES`,
    `XLA_FLAGS`); an accelerator, where there is one, is used all the same. Of many processes each makes its part, and
    those of a batch system one each.
    """
    said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if said or "JAX_NUM_CPU_DEVICES" in os.environ or _joined is None:
        return
    most = cores() if wanted is None else max(cores(), MOST_ON_CPU)  # `make_mesh` refuses what is beyond
    number = min(most, (env_states // FEWEST_WORLDS if wanted is None else wanted) // _joined)
    with contextlib.suppress(RuntimeError):  # jax was used already, in a notebook say: its devices stay as they are
        jax.config.update("jax_num_cpu_devices", max(number, 1))


# --- many hosts ----------------------------------------------------------------------------------------------------

_joined: int | None = 1  # processes of this run, None where jax found them out by itself


def join(asked: bool) -> None:
    """Joins the other processes of the run, for a command, before jax is first used.

    Where `JAX_COORDINATOR_ADDRESS` (HOST:PORT of the first process), `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID` say how,
    and on a TPU pod; if `asked`, also where jax finds it out by itself (SLURM, Open MPI, Kubernetes).

    Raises:
        ConfigError: nothing says how, or the others do not answer.
    """
    global _joined
    by_hand = "JAX_NUM_PROCESSES" in os.environ
    if not (asked or by_hand or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")):
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        settings: dict[str, Any] = {}
        if by_hand:
            settings = dict(
                coordinator_address=os.environ["JAX_COORDINATOR_ADDRESS"],
                num_processes=int(os.environ["JAX_NUM_PROCESSES"]), process_id=int(os.environ["JAX_PROCESS_ID"]),
                cluster_detection_method="deactivate",
            )  # fmt: skip
        jax.distributed.initialize(**settings)
    except KeyError as error:
        raise ConfigError(
            f"{error.args[0]} is not set: many processes need JAX_COORDINATOR_ADDRESS (HOST:PORT of the first), "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID (0, 1, ...)"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"the processes of this run cannot be joined ({str(error).splitlines()[0]}); set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or leave --distributed out"
        ) from error
    _joined = settings.get("num_processes")


def is_main() -> bool:
    """Whether this is the process that writes and prints: the first, or the only one."""
    return jax.process_index() == 0


def broadcast(flag: bool) -> bool:
    """What the first process says, for decisions that look at a clock, a signal or a disk; all must ask."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(flag)))


def everywhere(x: jax.Array) -> Any:
    """An array that is spread over many hosts, whole on each of them; all must ask. Others as they are."""
    if not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated:
        return x
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(x, tiled=True)

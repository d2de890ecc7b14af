"""The mesh of devices that the environments are spread over, and what lies where on it.

Host code around device programs; imports nothing of the package but the errors.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from l4t_jax.errors import ConfigError
from l4t_jax.parallel import processes

AXIS = "environments"  # the mesh's one axis
FEWEST_ENVS = 32  # parallel environments that a CPU device is worth starting for
MOST_ON_CPU = 64  # CPU devices that are made where there are fewer cores: each starts threads


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


def make_mesh(units: int, wanted: int | None = None, what: str = "`num_envs`") -> Mesh | None:
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
        raise ConfigError(f"`devices` must be at least 1, not {wanted}")
    if wanted > len(there):
        raise ConfigError(
            f"`devices={wanted}`: there are {len(there)} ({there[0].platform}); `devices={fitting[-1]}` would do"
        )
    if units % wanted:
        near = max(1, round(units / wanted)) * wanted
        also = f", or `devices={max(n for n in fitting if n <= wanted)}`" if jax.process_count() == 1 else ""
        raise ConfigError(f"{wanted} devices must divide {what} {units}; {near} would do{also}")
    if jax.process_count() > 1 and wanted != len(there):
        raise ConfigError(f"on many hosts a run takes all devices: `devices={len(there)}`, not {wanted}")
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
    """Has jax make `wanted` CPU devices, or as many as pay off: one a core, but none for fewer than `FEWEST_ENVS`.

    For a command, before jax is first used (importing navix uses it). What the user set stays (`JAX_NUM_CPU_DEVICES`,
    `XLA_FLAGS`); an accelerator, where there is one, is used all the same. Of many processes each makes its part, and
    those of a batch system one each.
    """
    joined = processes.joined()
    said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if said or "JAX_NUM_CPU_DEVICES" in os.environ or joined is None:
        return
    most = cores() if wanted is None else max(cores(), MOST_ON_CPU)  # `make_mesh` refuses what is beyond
    number = min(most, (env_states // FEWEST_ENVS if wanted is None else wanted) // joined)
    with contextlib.suppress(RuntimeError):  # jax was used already, in a notebook say: its devices stay as they are
        jax.config.update("jax_num_cpu_devices", max(number, 1))

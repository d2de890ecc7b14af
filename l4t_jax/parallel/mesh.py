"""The mesh of devices that the environments are sharded over, and the placement of arrays on it.

Host code around device programs. Imports only the errors from `l4t_jax`.
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
FEWEST_ENVS = 32  # a CPU device pays off from this many parallel environments on
MOST_ON_CPU = 64  # most CPU devices on request where there are fewer cores, because each starts threads


def on_each(mesh: Mesh | None, function: Callable[..., Any], args: Any = None, out: Any = None) -> Callable[..., Any]:
    """`function` as a program that runs on every device of the mesh; without a mesh, `function` itself.

    Args:
        mesh: from `make_mesh`.
        function: may sum over `AXIS`.
        args, out: `PartitionSpec`s of its arguments and its result, as in `jax.shard_map`. By default both are
            replicated.
    """
    if mesh is None:
        return function
    specs = PartitionSpec() if args is None else args
    # Replicated values are equal by construction (sums over the mesh). jax's check would need a mark on every constant.
    return jax.shard_map(
        function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec() if out is None else out, check_vma=False
    )


def make_mesh(units: int, wanted: int | None = None, what: str = "`num_envs`") -> Mesh | None:
    """The mesh to shard environments over; None for a single device.

    Args:
        units: number of indivisible groups of environments; the number of devices must divide it.
        wanted: number of devices; by default the largest available number that divides `units` (on many hosts: all).
        what: the setting behind `units`, for the message.

    Raises:
        ConfigError: there are fewer devices, or their number does not divide `units`; the message names one that does.
    """
    there = jax.devices()
    fitting = [number for number in range(1, len(there) + 1) if units % number == 0]
    if wanted is None:
        wanted = len(there) if jax.process_count() > 1 else fitting[-1]
    if wanted < 1:
        raise ConfigError(f"`devices` must be at least 1, not {wanted}")
    if wanted > len(there):
        raise ConfigError(
            f"`devices={wanted}` is too many: there are {len(there)} ({there[0].platform}); try `devices={fitting[-1]}`"
        )
    if units % wanted:
        near = max(1, round(units / wanted)) * wanted
        also = f", or `devices={max(n for n in fitting if n <= wanted)}`" if jax.process_count() == 1 else ""
        raise ConfigError(f"{wanted} devices must divide {what} {units}; {near} would do{also}")
    if jax.process_count() > 1 and wanted != len(there):
        raise ConfigError(f"on many hosts a run takes all devices: `devices={len(there)}`, not {wanted}")
    return None if wanted == 1 else Mesh(np.asarray(there[:wanted]), (AXIS,))


def specs(mesh: Mesh | None, tree: Any, axes: Any) -> Any:
    """The shapes and shardings of `tree` on the mesh, for compiling: `ShapeDtypeStruct`s.

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
    """Puts arrays on the mesh, from any device or host; every host passes the same values. `axes` as for `specs`."""
    if mesh is None:
        return tree

    def leaf(x: Any, spec: PartitionSpec) -> Any:
        sharding = NamedSharding(mesh, spec)
        if jax.process_count() == 1:
            return jax.device_put(x, sharding, may_alias=False)  # a block donates its arguments
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(leaf(jax.random.key_data(x), spec))
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index].copy())

    return _by_place(leaf, tree, axes)


def _by_place(leaf: Callable[[Any, PartitionSpec], Any], tree: Any, axes: Any) -> Any:
    """Maps `leaf(x, spec)` over a tree; `axes` is a prefix of it with a `PartitionSpec` for each part."""
    return jax.tree.map(
        lambda spec, part: jax.tree.map(lambda x: leaf(x, spec), part),
        axes, tree, is_leaf=lambda x: isinstance(x, PartitionSpec),
    )  # fmt: skip


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_devices(env_states: int, wanted: int | None) -> None:
    """Makes jax create `wanted` CPU devices; by default one per core, with at least `FEWEST_ENVS` environments each.

    A command calls this before jax is first used (importing navix uses jax). The user's own `JAX_NUM_CPU_DEVICES` and
    `XLA_FLAGS` take precedence. An accelerator is still used if there is one. Several processes share the number
    between them; in a batch system each process makes one.
    """
    joined = processes.joined()
    said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if said or "JAX_NUM_CPU_DEVICES" in os.environ or joined is None:
        return
    most = cores() if wanted is None else max(cores(), MOST_ON_CPU)  # `make_mesh` refuses more
    number = min(most, (env_states // FEWEST_ENVS if wanted is None else wanted) // joined)
    with contextlib.suppress(RuntimeError):  # jax was used already, as in a notebook
        jax.config.update("jax_num_cpu_devices", max(number, 1))

"""The processes of a run on many hosts: joining them, and exchanging values between them.

Host code. Imports only the errors from `l4t_jax`.
"""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

from l4t_jax.errors import ConfigError

_joined: int | None = 1  # number of processes of this run; None if jax found them by itself


def joined() -> int | None:
    """The number of processes that `join` joined, 1 without it; None if jax found them by itself."""
    return _joined


def join(asked: bool) -> None:
    """Joins the other processes of the run. A command calls this before jax is first used.

    It joins them if `JAX_COORDINATOR_ADDRESS` (HOST:PORT of the first process), `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID` are set, and on a TPU pod. If `asked`, it also joins them where jax finds them by itself (SLURM,
    Open MPI, Kubernetes).

    Raises:
        ConfigError: a variable is missing, or the other processes do not answer.
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
        elif _sees_its_own_gpu():
            settings = dict(local_device_ids=[0])
        jax.distributed.initialize(**settings)
    except KeyError as error:
        raise ConfigError(
            f"{error.args[0]} is not set: many processes need JAX_COORDINATOR_ADDRESS (HOST:PORT of the first), "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID (0, 1, ...)"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"the processes of this run cannot be joined ({str(error).splitlines()[0]}); set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or leave `distributed` out"
        ) from error
    _joined = settings.get("num_processes")


def _sees_its_own_gpu() -> bool:
    """Whether SLURM shows this task one GPU, its own, and not all of its node's.

    jax takes the task's number on its node for its GPU's, which is right only where each task sees all GPUs
    (github.com/jax-ml/jax, issues 23452 and 28194).
    """
    return "SLURM_LOCALID" in os.environ and os.environ.get("CUDA_VISIBLE_DEVICES", ",").count(",") == 0


def is_main() -> bool:
    """Whether this process is the first (or only) one, which writes and prints."""
    return jax.process_index() == 0


def broadcast(flag: bool) -> bool:
    """The first process's value, for decisions by a clock, a signal or a disk. All processes must call it."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(flag)))


def everywhere(x: jax.Array) -> Any:
    """An array that is sharded over many hosts, gathered on each of them. All processes must call it.

    Other values are returned unchanged.
    """
    if not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated:
        return x
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(x, tiled=True)

"""Chips that programs are compiled for without being there, and what a roofline estimate takes them to do.

Host module of `aot.py`. The figures are the makers': of a TPU its peak of bfloat16 products, its main memory and the
clock that follows from the peak; of a GPU those that XLA's own description of it has.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from typing import Any

# What `libtpu` asks a machine that has no TPU for.
WITHOUT_A_TPU = dict(
    TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost", TPU_ACCELERATOR_TYPE="v5litepod-8",
    ALLOW_MULTIPLE_LIBTPU_LOAD="1",
)  # fmt: skip
MISSING = "needs the extra aot: uv pip install -p .venv -c requirements.txt -e '.[aot]'"
KERNEL_S = 4e-6  # the least that a GPU takes for one kernel, launching it included


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator.

    Attributes:
        flops: of matrix products a second, in bfloat16 (TPU) or TF32 (GPU), which is what jax makes of `float32` there.
        memory: bytes of main memory.
        bandwidth: bytes a second of main memory.
        clock: cycles a second, to make seconds of the cycles that a TPU's compiler counts; None for a GPU.
        link: bytes a second that a chip sends to its neighbours, all links together, one way.
        link_s: seconds that a message to a neighbour takes at least.
        machine: chips that are linked so; 0 for any number.
        between: bytes a second of one chip to another machine.
        description: XLA's own of a GPU.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    link: float
    link_s: float
    clock: float | None = None
    description: str = ""
    machine: int = 0
    between: float = 0.0

    def exchange_s(self, chips: int, sums: float, size: float) -> float:
        """Seconds of so many sums over chips, `size` bytes of each chip in all.

        Messages go along both axes of a square torus and back (TPU), or up and down a tree (GPU).
        """
        if chips <= 1:
            return 0.0
        messages = 4 * (math.sqrt(chips) - 1) if self.clock else 2 * math.ceil(math.log2(chips))
        within = not self.machine or chips <= self.machine
        return sums * messages * self.link_s + 2 * (chips - 1) / chips * size / (self.link if within else self.between)


V5E = Chip("TPU v5e", flops=197e12, memory=16e9, bandwidth=819e9, link=200e9, link_s=1e-6, clock=1.5e9)
V6E = Chip("TPU v6e", flops=918e12, memory=32e9, bandwidth=1640e9, link=448e9, link_s=1e-6, clock=1.75e9)
TPUS = {"v5e": V5E, "v6e": V6E}

H100 = Chip(
    "H100 SXM", flops=495e12, memory=84942979072, bandwidth=3352320000000, link=450e9, link_s=3e-6,
    machine=8, between=50e9,
    description="""
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 shared_memory_per_block_optin: 232448
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84942979072
  cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
""",
)  # fmt: skip
GPUS = {"h100": H100}


@dataclasses.dataclass(frozen=True)
class Target:
    """Chips of one kind that a program is compiled for.

    Attributes:
        platform: "tpu" or "gpu", as jax says it.
        topology: such as "v5e:2x2", or the GPU's name.
        chip: one of them.
    """

    platform: str
    topology: str
    chip: Chip

    @classmethod
    def of(cls, topology: str | None, gpu: str | None) -> Target:
        """From the command's options; raises `ValueError` with what would be right."""
        if gpu is not None:
            if gpu.lower() not in GPUS:
                raise ValueError(f"`--gpu` knows {', '.join(GPUS)}, not {gpu}")
            return cls("gpu", gpu.lower(), GPUS[gpu.lower()])
        topology = topology or "v5e:2x2"
        generation = topology.partition(":")[0]
        if generation not in TPUS:
            raise ValueError(f"`--topology` must begin with {' or '.join(TPUS)}, such as v5e:2x2; not {topology}")
        return cls("tpu", topology, TPUS[generation])

    def devices(self, number: int) -> list[Any]:
        """So many of its chips, as jax names them; nothing can run on them.

        Raises:
            ImportError: the compiler is not installed; the message names the extra.
        """
        return _devices(self, max(number, 4) if self.platform == "gpu" else 0)[:number]


@functools.cache
def _devices(target: Target, number: int) -> list[Any]:
    from jax.experimental import topologies

    try:
        if target.platform == "gpu":
            found = topologies.get_topology_desc(
                platform="cuda", target_config=target.chip.description, topology=f"1x1x{number}"
            )
        else:
            for name, value in WITHOUT_A_TPU.items():
                os.environ.setdefault(name, value)
            found = topologies.get_topology_desc(platform="tpu", topology_name=target.topology)
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) or "not installed" in str(error):
            raise ImportError(f"compiling for {target.topology} {MISSING}") from error
        raise
    return list(found.devices)

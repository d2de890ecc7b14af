"""What the commands of docs/devices.md come to on a TPU pod and in a SLURM job, as far as it shows without either.

The environments are made up after Google's and SLURM's documentation; jax finds in them where the first process is, how
many there are, which this one is and which GPU is its own.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import pytest
from jax._src.clusters import ClusterEnv, cloud_tpu_cluster, cluster

from l4t_jax import parallel
from l4t_jax.config import Config
from l4t_jax.errors import ConfigError
from l4t_jax.parallel import processes
from l4t_jax.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Found:
    """What a process was started with."""

    address: str
    processes: int
    process: int
    devices: list[int] | None


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Found]:
    """What `parallel.join` starts jax with, found as jax finds it; nothing is started."""
    found: list[Found] = []

    def initialize(**given: Any) -> None:
        names = ("coordinator_address", "num_processes", "process_id", "local_device_ids", "cluster_detection_method")
        values = ClusterEnv.auto_detect_unset_distributed_params(
            *(given.get(name) for name in names), initialization_timeout=1
        )
        found.append(Found(*values))

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(processes, "_joined", 1)
    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: ("", 404))
    monkeypatch.setattr(cloud_tpu_cluster.socket, "gethostbyname", lambda name: name)
    for name in ("TPU_SKIP_MDS_QUERY", "TPU_WORKER_HOSTNAMES", "CUDA_VISIBLE_DEVICES", "JAX_NUM_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    return found


def slurm(monkeypatch: pytest.MonkeyPatch, process: int, local: int, visible: str, nodes: str = "gpu[07-08]") -> None:
    given = dict(
        SLURM_JOB_ID="4096", SLURM_STEP_NODELIST=nodes, SLURM_NTASKS="8", SLURM_PROCID=str(process),
        SLURM_LOCALID=str(local), SLURM_STEP_NUM_NODES="2", CUDA_VISIBLE_DEVICES=visible,
    )  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def test_a_slurm_task_that_sees_all_gpus_of_its_node_takes_the_one_of_its_number(
    joined: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm(monkeypatch, process=6, local=2, visible="0,1,2,3")
    parallel.join(True)
    assert joined == [Found("gpu07:61440", 8, 6, [2])]  # port: the job's number, modulo 2**12, from 61440 on


def test_a_slurm_task_that_sees_one_gpu_takes_it(joined: list[Found], monkeypatch: pytest.MonkeyPatch) -> None:
    slurm(monkeypatch, process=3, local=3, visible="0", nodes="gpu07")
    parallel.join(True)
    assert joined == [Found("gpu07:61440", 8, 3, [0])]


def test_without_the_option_a_slurm_task_is_a_run_of_its_own(
    joined: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm(monkeypatch, process=3, local=3, visible="0,1,2,3")
    parallel.join(False)
    assert joined == [] and processes.joined() == 1


@pytest.mark.parametrize("endpoints", ["w0,w1,w2,w3", "a:0:w0,b:1:w1,c:2:w2,d:3:w3"])
def test_a_worker_of_a_v5e_16_pod_finds_the_three_others(
    joined: list[Found], monkeypatch: pytest.MonkeyPatch, endpoints: str
) -> None:
    """Sixteen chips, four to a host; a TPU VM says so in its metadata and not in its environment."""
    metadata = {"agent-worker-number": "2", "worker-network-endpoints": endpoints, "tpu-env": ""}
    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: (metadata[key], 200))
    for module in (cloud_tpu_cluster, cluster):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", True)
    parallel.join(False)
    assert joined == []  # why the command says `distributed`
    parallel.join(True)
    assert joined == [Found("w0:8482", 4, 2, None)]  # all chips of its host are its own


def test_a_pod_whose_environment_names_its_hosts_is_joined_by_itself(
    joined: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "w0,w1,w2,w3")
    monkeypatch.setenv("TPU_WORKER_ID", "1")
    for module in (cloud_tpu_cluster, cluster):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cloud_tpu_cluster.GceTpuCluster, "is_env_present", lambda: False)
    parallel.join(False)
    assert joined == [Found("w0:8482", 4, 1, None)]


def test_the_commands_of_the_page_divide_their_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """4,096 environments over the 16 chips of a pod and the 4 GPUs of a job; on many hosts all devices are taken."""
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
    (pod,) = re.findall(r"`gcloud .*?--command='[^']*'`", page)
    (job,) = re.findall(r"`srun [^`]*`", page)
    assert "--distributed" in pod and "--distributed" in job
    assert "--ntasks-per-node 4 --gres gpu:4" in job
    for command, devices in ((pod, 16), (job, 4)):
        envs = int(re.findall(r"--num-envs (\d+)", command)[0])
        trainer = Trainer.create(Config(env="DoorKey", num_envs=envs))
        assert trainer.config.num_envs % devices == 0
        monkeypatch.setattr(jax, "devices", lambda devices=devices: jax.local_devices()[:1] * devices)
        monkeypatch.setattr(jax, "process_count", lambda: 4)
        with pytest.raises(ConfigError, match=f"all devices: `devices={devices}`"):
            parallel.make_mesh(envs, devices // 2)

"""Names the device and the package versions, which a run's figures depend on.

Host module.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
from importlib import metadata
from pathlib import Path

import jax

from l4t_jax import parallel


def device_name() -> str:
    """The device's name, such as "cpu: AMD EPYC 7763, 2 cores"."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return f"{device.platform}: {device.device_kind}"
    name = _of_cpu("model name") or platform.processor() or platform.machine()
    return f"cpu: {name}, {parallel.cores()} cores"


def instructions() -> str:
    """The instructions that the CPU has, such as "... avx2 avx512f ..."; empty where the system does not say."""
    return _of_cpu("flags", "Features")


def _of_cpu(*fields: str) -> str:
    """What Linux says of the first CPU in the first of these fields; empty where it does not say."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith(fields)).partition(":")[2].strip()
    return ""


def code() -> str:
    """A digest of the package's Python files, in hexadecimal digits."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Package name -> version, for the packages that a run's figures depend on."""
    from l4t_jax import __version__

    found = {"l4t_jax": __version__, "python": platform.python_version()}
    for name in ("jax", "jaxlib", "flax", "optax", "navix", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found

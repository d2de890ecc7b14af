"""Compiling a run's programs: apart from running them, side by side, kept on disk, and measured against the memory.

Host module. Nothing here knows what the programs do.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from l4t_jax.training.kept import Kept

HEADROOM = 0.9  # share of the free memory that a program may take: the runtime and the host need some too


def keep_compiled() -> None:
    """Lets jax keep compiled programs on disk, so that the next run starts at once.

    A folder that is already set (`JAX_COMPILATION_CACHE_DIR`, `jax.config`) stays; else it is `l4t_jax` in the user's
    cache folder. Where that cannot be written, nothing is kept.
    """
    if jax.config.jax_compilation_cache_dir is not None or not jax.config.jax_enable_compilation_cache:
        return
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "l4t_jax" / "programs"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def tuned(platform: str | None = None) -> dict[str, Any]:
    """Compiler options of a program that runs for long: on a CPU, vectors as wide as it has.

    XLA takes 256 bits of 512 by itself. A CPU without wider vectors takes no notice.

    Args:
        platform: that the program is compiled for; jax's own by default.
    """
    return {"xla_cpu_prefer_vector_width": 512} if (platform or jax.default_backend()) == "cpu" else {}


def compile_all(
    programs: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]], later: Collection[str] = (),
    kept: Kept | None = None, optimized: Mapping[str, int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Compiles jitted functions side by side.

    Args:
        programs: name -> (jitted function, its arguments or their shapes). The longest to compile first.
        later: the names of those that run last. They are not waited for: they are compiled while the others run
            already, and whoever calls one waits until it is.
        kept: where to look for them before, and to keep them after, beside the run.
        optimized: name -> how far XLA optimizes a program on a CPU, 0 to 3; the others as far as it does by itself.
            For those that take longer to compile than they run.

    Returns:
        name -> compiled function; of the later ones, a function that calls it.
    """
    pool = ThreadPoolExecutor(max_workers=max(2, min(len(programs), os.cpu_count() or 1)))
    compiled = _compiled if kept is None else kept.compiled
    levels = (optimized or {}) if jax.default_backend() == "cpu" else {}

    def options(name: str) -> dict[str, Any] | None:
        return {"xla_backend_optimization_level": levels[name]} if name in levels else None

    try:
        # Tracing is Python and goes one by one; compiling is not, and starts as soon as a program is traced.
        with _nothing_collected():
            waiting = {
                name: pool.submit(compiled, name, function.lower(*args), options(name))
                for name, (function, args) in programs.items()
            }
        if kept is not None:  # the last in the queue, behind all that it waits for
            pool.submit(kept.store, {name: one.result for name, one in waiting.items()})
        ready = {name: _when_ready(one) if name in later else one.result() for name, one in waiting.items()}
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)  # who presses Ctrl-C does not wait for a compiler
        raise
    pool.shutdown(wait=False)
    return ready


def _compiled(name: str, lowered: Any, options: dict[str, Any] | None) -> Any:
    return lowered.compile(options)


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Without Python's search for cycles of garbage: it takes a sixth of the tracing, and finds next to nothing."""
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searches:
            gc.enable()


def _when_ready(compiling: Future[Callable[..., Any]]) -> Callable[..., Any]:
    return lambda *args: compiling.result()(*args)


def needed_bytes(compiled: Any) -> int:
    """Bytes of device memory that a compiled program needs while it runs; 0 where the device does not say."""
    stats = compiled.memory_analysis()
    if stats is None:
        return 0
    return int(
        stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes - stats.alias_size_in_bytes
    )


def free_bytes() -> int | None:
    """Bytes of memory that a run may take on the first device; None where that cannot be told."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else int(limit) - int(stats.get("bytes_in_use", 0))
    limits = [limit for limit in (_available(), _cgroup_left(), _address_space_left()) if limit is not None]
    return min(limits, default=None)


def _available() -> int | None:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with contextlib.suppress(OSError, ValueError):  # not Linux: all there is, and no word on what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _cgroup_left() -> int | None:
    """What the control group (a container, a batch system) still allows, version 2 or 1."""
    left: int | None = None
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            root = Path("/sys/fs/cgroup") / controllers
            limit, used = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
            )
            for folder in (root / path.lstrip("/"), *(root / path.lstrip("/")).parents):
                if not folder.is_relative_to(root):
                    break
                with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                    here = int((folder / limit).read_text()) - int((folder / used).read_text())
                    left = here if left is None else min(left, here)
    return left


def _address_space_left() -> int | None:
    """What `ulimit -v` still allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    with contextlib.suppress(OSError, ValueError):
        return soft - resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
    return soft


def in_words(number: float) -> str:
    """Bytes for a person, such as "1.5 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.0f} TB"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    text = str(error)
    return isinstance(error, MemoryError) or any(
        sign in text for sign in ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "bad_alloc")
    )

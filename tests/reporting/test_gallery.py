"""The gallery in the docs has every family and every task, and its pictures are there and small."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from l4t_jax import errors
from l4t_jax.envs import get_task, list_tasks
from l4t_jax.reporting import gallery

DOCS = Path(__file__).parents[2] / "docs"
PARTS = Path(__file__).parents[2] / "benchmarks" / "results" / "ladder" / "parts"
MOST_BYTES = 1_500_000
SIDE = gallery.SIDE


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "gallery.md").read_text()


def test_the_page_is_what_the_command_writes_today(page: str) -> None:
    """Every task, with its size, its limit, its symbolic states, whether it has a teacher, and its result."""
    assert page == gallery.page(gallery.learned(PARTS)), "`python -m l4t_jax.tasks gallery --results ...` writes it"


def test_a_row_has_the_result_of_its_task(page: str) -> None:
    part = json.loads((PARTS / "KeyCorridorS6R3-l4t.json").read_text())
    found = f"{part['success']['value']:.3f} ({part['greedy']['value']:.3f}), {part['total_steps']:,} steps"
    (row,) = (line for line in page.splitlines() if line.startswith("| `KeyCorridorS6R3` |"))
    assert row.endswith(f"| yes | {found} |")
    (row,) = (line for line in page.splitlines() if line.startswith("| `KeyCorridorS3R1` |"))
    assert row.endswith("| yes | - |")


@pytest.mark.parametrize("content", ["{", '{"task": "Unlock"}', "[]"])
def test_what_is_no_part_of_the_ladder_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "Unlock-l4t.json").write_text(content)
    with pytest.raises(errors.ConfigError, match=r"Unlock-l4t\.json is no part of the ladder's results"):
        gallery.learned(tmp_path)
    with pytest.raises(errors.ConfigError, match=r"there is no folder .*nowhere with results"):
        gallery.learned(tmp_path / "nowhere")


def test_the_page_has_every_family_with_its_tasks_and_its_missions(page: str) -> None:
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", page, flags=re.MULTILINE))
    assert sections.keys() == gallery.families().keys()
    for family, tasks in gallery.families().items():
        for task in tasks:
            row = f"| `{task.name}` | {task.width} x {task.height} | {task.max_steps} | "
            assert row in sections[family], f"{task.name}: `python -m l4t_jax.tasks gallery` writes the page"
        assert f"![{family}](gallery/{family}.png)" in sections[family]
        assert ("share them" in sections[family]) == (tasks[0].distinct_levels is not None)
    assert "- Mission: pick up the {colour} ball\n" in sections["KeyCorridor"]
    assert "- Mission: none\n" in sections["Playground"]


def test_the_pictures_are_there_and_small() -> None:
    paths = sorted((DOCS / "gallery").iterdir())
    assert {path.stem for path in paths} == gallery.families().keys()
    assert sum(path.stat().st_size for path in paths) < MOST_BYTES
    for path in paths:
        with Image.open(path) as image:
            assert max(image.size) <= SIDE and len(image.getcolors(SIDE**2) or []) > 4


def test_a_family_is_written_with_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"Empty": [get_task(name) for name in list_tasks() if get_task(name).family == "Empty"]}
    monkeypatch.setattr(gallery, "families", lambda: own)
    page, picture = gallery.write(tmp_path, {})
    assert page.read_text().count("\n| `Empty-") == 6 and "Few levels" in page.read_text()
    with Image.open(picture) as image:
        assert image.size == (240, 240)

"""The examples of the documentation, run as they stand there."""

import re
from pathlib import Path

import pytest

from l4t_jax import networks
from l4t_jax.skills import library

DOCS = Path(__file__).parents[1] / "docs"


def example(page: str, heading: str) -> str:
    """The Python block under a heading of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    return code


@pytest.mark.parametrize(
    ("page", "heading", "said"),
    [
        ("extending.md", "A task", "the teacher reaches the goal on 100% of 64 boards"),
        ("extending.md", "A skill", "patrolling opens the door on "),
        ("extending.md", "A student", "report.html"),
        ("teachers.md", "A backend of one's own", ""),
    ],
)
@pytest.mark.usefixtures("own_tasks")
def test_an_example_of_the_documentation_runs(
    page: str, heading: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "STUDENTS", dict(networks.STUDENTS))
    monkeypatch.setattr(library, "_OWN", {})
    exec(compile(example(page, heading), f"{page}: {heading}", "exec"), {"__name__": "example"})
    assert said in capsys.readouterr().out


def test_every_page_is_reached_from_the_readme_or_the_design() -> None:
    linked = "".join((DOCS.parent / name).read_text() for name in ("README.md", "docs/design.md"))
    assert [page.name for page in DOCS.glob("*.md") if page.name not in linked] == []


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS.parent / "benchmarks" / "README.md", *DOCS.glob("*.md")):
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"

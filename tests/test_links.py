"""Links between the pages: each leads to a file or folder of the repository, and to a heading that is there."""

import re
from pathlib import Path

import pytest
from docs_commands import PAGES, ROOT

LINK = re.compile(r'(?:\]\(|(?:src|srcset|href)=")([^)"\s]+)')
EVERY = ("CHANGELOG.md", "docs/from-0.1.md", *PAGES)


def written(text: str) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them and mkdocs.yml asks for them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    made: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        made.append(f"{slug}-{made.count(slug)}" if slug in made else slug)
    return set(made)


def dead(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(written(page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize("name", EVERY)
def test_no_link_of_a_page_is_dead(name: str) -> None:
    assert dead(ROOT / name) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "two.md").write_text("# Two\n\n## How (`--it` works)\n\n## Two\n")
    (tmp_path / "one.md").write_text(
        "[a](two.md) [b](two.md#how---it-works) [c](two.md#two-1) [d](#one) <img src='x'>\n\n# One\n\n"
        '[e](three.md) [f](two.md#how) [g](#two) <img src="no.png"> `[h](code.md)`\n'
    )
    assert dead(tmp_path / "one.md") == ["three.md", "two.md#how", "#two", "no.png"]

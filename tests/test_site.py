"""The site of the documentation: it builds without a warning, its links lead somewhere, the reference is whole."""

import importlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from docs_commands import ROOT

import l4t_jax

REFERENCE = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_reference_has_all_public_names_and_only_such_as_exist() -> None:
    assert len(REFERENCE) == len(set(REFERENCE)) > 30
    named = {name.rpartition(".")[2] for name in REFERENCE if name.rpartition(".")[2] != "errors"}
    named |= set(vars(importlib.import_module("l4t_jax.errors")))
    assert [name for name in l4t_jax.__all__ if name not in named and name != "__version__"] == []
    for name in REFERENCE:
        module, _, last = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ImportError:
            assert hasattr(importlib.import_module(module), last), name


class _Page(HTMLParser):
    """The anchors of a built page, and what it links to within the site."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src", "srcset") and value and not re.match(r"[a-z]+:|//", value):
                self.links.append(unquote(value))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mkdocs", "mkdocstrings"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_link_of_the_site_is_dead(site: Path) -> None:
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    del pages[site / "demo.html"]  # it has no links, and is no page of mkdocs
    found = []
    for page, parsed in pages.items():
        for link in parsed.links:
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                found.append(f"{page.relative_to(site)}: {link}")
    assert found == []
    assert len(pages) > 25


def test_the_reference_shows_the_docstrings(site: Path) -> None:
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("l4t_jax.api.train", "l4t_jax.envs.task.Role", "l4t_jax.skills.base.Skill.act"):
        assert f'id="{name}"' in text, name
    assert "the folder of a run that was stopped or killed" in text

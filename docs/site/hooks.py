"""Hooks of the site: what pages link to outside `docs` is in the site too, and their links lead there.

The pages link each other by their paths in the repository, so that links work where the repository is looked at. In the
site README.md is the first page, `docs/X` is X, and everything else keeps its path.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")  # outside docs
LINK = re.compile(r'(\]\(|(?:src|srcset|href)=")([^)"\s#]+)')  # Markdown's and HTML's


def place(path: str) -> str:
    """Where a file of the repository is in the site."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/")


def origin(uri: str) -> str:
    """Where a page of the site is in the repository; inverse of `place`."""
    if uri == "index.md":
        return "README.md"
    inside = f"docs/{uri}"
    return inside if (ROOT / inside).exists() else uri


def linked(page: str, link: str) -> str | None:
    """The file or folder of the repository that a page's link leads to; None where it is an address, or nothing."""
    if "://" in link or link.startswith("mailto:"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    return path if path != "." and not path.startswith("..") and (ROOT / path).exists() else None


def style() -> str:
    """The colours of code, for a light and for a dark page."""
    modes = {"light": "default", "dark": "github-dark"}
    return "\n".join(
        HtmlFormatter(style=name).get_style_defs(f"[data-bs-theme={mode}] .highlight") for mode, name in modes.items()
    )


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the pages outside `docs`, and what any page links to; of a folder, a page that lists it."""
    files.append(File.generated(config, "pygments.css", content=style()))
    inside = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    wanted = dict.fromkeys(PAGES)
    for page in (*inside, *PAGES):
        text = (ROOT / page).read_text(encoding="utf-8")
        wanted |= dict.fromkeys(path for _, link in LINK.findall(text) if (path := linked(page, link)))
    for path in wanted:
        if (ROOT / path).is_dir():
            names = sorted(one.name for one in (ROOT / path).iterdir() if one.is_file())
            text = "\n".join([f"# {path}", "", *(f"- [{name}]({name})" for name in names)])
            files.append(File.generated(config, f"{place(path)}/files.md", content=text))
            wanted_here = [f"{path}/{name}" for name in names]
        else:
            wanted_here = [path]
        for one in wanted_here:
            if files.get_file_from_path(place(one)) is None:
                files.append(File.generated(config, place(one), abs_src_path=str(ROOT / one)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Turns a page's links into those of the site."""
    uri = page.file.src_uri
    here = origin(uri)

    def moved(match: re.Match[str]) -> str:
        path = linked(here, match[2])
        if path is None:
            return match[0]
        target = f"{place(path)}/files.md" if (ROOT / path).is_dir() else place(path)
        return match[1] + posixpath.relpath(target, posixpath.dirname(uri) or ".")

    return LINK.sub(moved, markdown)

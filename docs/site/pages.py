"""Pages of the site that lie outside `docs/` in the repository, and the links that lead to them.

A link from a page of `docs/` to one of these files works on both: as it stands where the repository is browsed, and
rewritten on the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "results/commands.md",
    "benchmarks/RESULTS.md": "results/figures.md",
}
LINK = re.compile(r"(\]\()(?!https?://|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    for path, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    place = page.file.src_uri
    source = {page: path for path, page in OUTSIDE.items()}.get(place, f"docs/{place}")  # where the repository has it

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2]))
        on_site = OUTSIDE.get(target, target.removeprefix("docs/"))
        return found[1] + posixpath.relpath(on_site, posixpath.dirname(place) or ".")

    return LINK.sub(moved, markdown)

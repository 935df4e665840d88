"""Where the pages of the documentation are, seen from a report: the built site, or else their sources."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[3]


def doc_links(out: Path, pages: dict[str, str]) -> dict[str, str]:
    """The addresses of pages, by the text of the link; empty where this is no checkout of the project.

    pages  the text of a link to the name of its page
    """
    found = {}
    for text, page in pages.items():
        places = (ROOT / "build" / "site" / f"{page}.html", ROOT / "docs" / f"{page}.md")
        place = next((p for p in places if p.is_file()), None)
        if place is not None:
            found[text] = Path(os.path.relpath(place, out.resolve())).as_posix()
    return found

"""Self-contained HTML reports: one file, nothing loaded from elsewhere, no script but that of sliders.

    report = Report("A VAE of digits", "Trained for three minutes.")
    report.headline("95.1 nats", "test -log p(x)", "94.8 to 95.4, n = 359")
    report.section("Samples", "Drawn from the prior.").figure(sheet(pictures), "64 samples, seed 1")
    report.write(Path("report.html"))

All text is escaped; `backticks` become code and blank lines part paragraphs.
"""

from __future__ import annotations

import base64
import io
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape as escape_markup
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from PIL import Image

from morphogen.core.errors import DataError
from morphogen.core.printable import printable
from morphogen.report.tables import number

Picture = Any  # a PIL image, a matplotlib Figure, or the bytes or path of a PNG or GIF
_NUMERIC = re.compile(r"^[-+]?(\d[\d,]*(\.\d+)?|\.\d+)(e[-+]?\d+)?( ?%)?$")
LONG = 4  # cells in a row, at most, that a narrow screen has room for
WIDE = 2.0  # width over height of a picture that has a row to itself
_FIGURE_PIXELS_PER_CSS_PIXEL = 160 / 96  # matplotlib figures are drawn at 160 pixels an inch


@dataclass(frozen=True)
class Card:
    """A picture with a title and a sentence; `leads_to` is the title of a section of the page, or empty."""

    picture: Picture
    title: str
    text: str
    leads_to: str = ""


class Report:
    """A page that grows from top to bottom; each method returns the report, so calls can be chained."""

    def __init__(self, title: str, summary: str = "", *, language: str = "en", refresh_s: int | None = None) -> None:
        self.title, self.summary, self.language = title, summary, language
        self.refresh_s = refresh_s  # the page loads itself again so often
        self._headlines: list[str] = []
        self._body: list[str] = []
        self._in_section = False

    def headline(self, value: str, label: str, note: str = "") -> Self:
        """A number for the head of the page: what it is below it, its interval and n as the note."""
        note = f'<dd class="note">{inline(note)}</dd>' if note else ""
        self._headlines.append(f'<div><dt>{inline(label)}</dt><dd class="value">{escape(value)}</dd>{note}</div>')
        return self

    def section(self, title: str, text: str = "") -> Self:
        """A new section with a heading."""
        if self._in_section:
            self._body.append("</section>")
        self._in_section = True
        self._body.append(f'<section id="{anchor(title)}">\n<h2>{inline(title)}</h2>')
        return self.text(text)

    def text(self, text: str) -> Self:
        """Paragraphs."""
        self._body += [f"<p>{inline(part.strip())}</p>" for part in re.split(r"\n\s*\n", text) if part.strip()]
        return self

    def code(self, text: str) -> Self:
        """A block of code or commands, as it is."""
        self._body.append(f"<pre><code>{escape(text.strip())}</code></pre>")
        return self

    def figure(self, picture: Picture, caption: str) -> Self:
        """A picture with its caption, which is also its text for those who cannot see it."""
        return self.figures([(picture, caption)])

    def figures(self, pictures: Iterable[tuple[Picture, str]]) -> Self:
        """Pictures side by side where the window is wide enough; a very wide one has a row to itself."""
        parts = []
        for picture, caption in pictures:
            image, wide = _image(picture, caption)
            parts.append(
                f'<figure class="{"wide" if wide else "narrow"}"><div class="plate">{image}</div>'
                f"<figcaption>{inline(caption)}</figcaption></figure>"
            )
        self._body.append('<div class="figures">\n' + "\n".join(parts) + "\n</div>")
        return self

    def cards(self, cards: Iterable[Card], *, small: bool = False) -> Self:
        """Pictures side by side, each with a title, a sentence, and the section that it leads to."""
        parts = []
        for card in cards:
            image, _ = _image(card.picture, card.title)
            title = (
                f'<a href="#{anchor(card.leads_to)}">{inline(card.title)}</a>' if card.leads_to else inline(card.title)
            )
            parts.append(
                f'<figure class="card"><div class="plate">{image}</div>'
                f"<figcaption><strong>{title}</strong> {inline(card.text)}</figcaption></figure>"
            )
        self._body.append(f'<div class="cards{" small" if small else ""}">\n' + "\n".join(parts) + "\n</div>")
        return self

    def element(self, markup: str) -> Self:
        """An element that was made here, such as a slider."""
        self._body.append(markup)
        return self

    def links(self, links: Mapping[str, str]) -> Self:
        """Links to other pages, by their text."""
        said = " · ".join(f'<a href="{escape(to)}">{inline(text)}</a>' for text, to in links.items())
        self._body.append(f'<p class="links">{said}</p>')
        return self

    @contextmanager
    def folded(self, title: str) -> Iterator[Self]:
        """What is added inside is shown after a click on the title."""
        self._body.append(f"<details>\n<summary>{inline(title)}</summary>")
        yield self
        self._body.append("</details>")

    def append(self, other: Report) -> Self:
        """All that another report has in its body."""
        if self._in_section:
            self._body.append("</section>")
        self._body += other._body
        self._in_section = other._in_section
        return self

    def svg(self, drawing: str, caption: str) -> Self:
        """An <svg> element that was drawn here, with its caption."""
        self._body.append(
            f'<div class="figures">\n<figure class="wide"><div class="plate">{drawing}</div>'
            f"<figcaption>{inline(caption)}</figcaption></figure>\n</div>"
        )
        return self

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> Self:
        """A table. Numbers are set by `tables.number`; a column whose cells are all numbers is aligned right."""
        cells = [[number(cell) for cell in row] for row in rows]
        for row in cells:
            if len(row) != len(headers):
                raise DataError(f"a table of {len(headers)} columns got a row of {len(row)}: {row!r}.")
        numeric = [
            bool(cells) and all(_NUMERIC.match(row[i]) or row[i] == "–" for row in cells) for i in range(len(headers))
        ]
        style = [' class="number"' if flag else "" for flag in numeric]
        # On a narrow screen, rows of many cells are shown as blocks, and each cell says what it is.
        long = ' class="long"' if len(headers) > LONG else ""
        labels = [f' data-label="{escape(text.replace("`", ""))}"' if long else "" for text in headers]
        head = "".join(f'<th scope="col"{style[i]}>{inline(text)}</th>' for i, text in enumerate(headers))
        body = "\n".join(
            "<tr>" + "".join(f"<td{label}{style[i]}>{inline(row[i])}</td>" for i, label in enumerate(labels)) + "</tr>"
            for row in cells
        )
        title = f"<caption>{inline(caption)}</caption>" if caption else ""
        self._body.append(
            f'<div class="scroll"><table{long}>{title}<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )
        return self

    def html(self) -> str:
        """The whole page."""
        css = _file("theme.css")
        summary = "".join(
            f'<p class="summary">{inline(part.strip())}</p>'
            for part in re.split(r"\n\s*\n", self.summary)
            if part.strip()
        )
        headlines = f'<dl class="headlines">{"".join(self._headlines)}</dl>' if self._headlines else ""
        body = "\n".join(self._body) + ("\n</section>" if self._in_section else "")
        again = "" if self.refresh_s is None else f'<meta http-equiv="refresh" content="{self.refresh_s}">\n'
        script = f"<script>\n{_file('sliders.js')}</script>\n" if 'class="slider"' in body else ""
        return (
            f'<!DOCTYPE html>\n<html lang="{escape(self.language)}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"{again}<title>{escape(self.title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n"
            f"<header>\n<h1>{inline(self.title)}</h1>\n{summary}\n{headlines}\n</header>\n<main>\n{body}\n</main>\n"
            f"<footer>Made by morphogen {escape(version('morphogen'))}.</footer>\n{script}</body>\n</html>\n"
        )

    def write(self, path: Path) -> Path:
        """Write the page: `path` holds the whole of it or what it held before. Returns `path`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part{os.getpid()}")
        try:
            part.write_text(self.html(), encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path


def anchor(title: str) -> str:
    """The id of the section of this title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def embedded(picture: Picture) -> str:
    """A picture as an address that holds all of it."""
    return _embedded(picture)[0]


def escape(text: str) -> str:
    """Escape markup and unsafe characters of foreign text for HTML."""
    return escape_markup(printable(text))


def inline(text: str) -> str:
    """Foreign text for HTML: escaped, with `code` between backticks."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(text))


def _file(name: str) -> str:
    return (files("morphogen.report") / name).read_text(encoding="utf-8")


def _image(picture: Picture, caption: str) -> tuple[str, bool]:
    """An img element with the picture inside it, and whether that is wide."""
    uri, width, height, ratio = _embedded(picture)
    alt = escape(caption.replace("`", ""))
    image = f'<img src="{uri}" width="{round(width / ratio)}" height="{round(height / ratio)}" alt="{alt}">'
    return image, width > WIDE * height


def _embedded(picture: Picture) -> tuple[str, int, int, float]:
    """A data address, width and height in pixels, and how many of them are one of the page's."""
    ratio = 1.0
    if isinstance(picture, Image.Image):
        out = io.BytesIO()
        picture.save(out, "PNG", optimize=True)
        data = out.getvalue()
    elif isinstance(picture, bytes):
        data = picture
    elif isinstance(picture, str | Path):
        data = Path(picture).read_bytes()
    else:
        from morphogen.report.canvas import png  # matplotlib only where a plot has already brought it in

        data, ratio = png(picture), _FIGURE_PIXELS_PER_CSS_PIXEL
    mime, width, height = _size(data)
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}", width, height, ratio


def _size(data: bytes) -> tuple[str, int, int]:
    """Media type, width and height of a PNG or a GIF, from its first bytes."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return "image/png", width, height
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return "image/gif", width, height
    raise DataError("a report takes PNG and GIF pictures; these bytes are neither.")

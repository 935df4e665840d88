"""The report as it grows: first what models of the package draw, then chapter by chapter, then the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from morphogen.quickstart import judging
from morphogen.quickstart.chapter import WHITE, Chapter, Trained
from morphogen.quickstart.doc_links import doc_links
from morphogen.quickstart.welcome import shipped_portraits, write_welcome
from morphogen.report.html import Card, Report
from morphogen.report.sheets import sheet
from morphogen.report.tables import duration

TITLE = "Four ways to make pictures"
SUMMARY = (
    "First, a model of the package draws what words say. The four below it were trained just now on this machine, on"
    " cartoon portraits and on handwritten digits."
)
WAITING = "Training goes on: this page loads itself again and fills, chapter by chapter."
REFRESH_S = 5
GUIDE = {"Getting started": "getting-started", "Choosing a family": "choosing-a-family", "Questions": "faq"}


class Page:
    """`out`/report.html, written again after each part; it loads itself again in a browser until it is whole."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._welcome, self._chapters, self._end = Report(""), Report(""), Report("")
        self._cards: list[Card] = []

    def begin(self) -> None:
        """Draw with the models of the package."""
        write_welcome(self._welcome)
        self._write(whole=False)

    def add(self, chapter: Chapter, trained: Mapping[str, Trained]) -> None:
        """A chapter whose models are trained: its card on the first screen, and its section."""
        from morphogen import api

        portraits = trained[chapter.of_portraits.name]
        drawn = api.load(self._out / chapter.of_portraits.name).sample(9, seed=1).pixels
        sentence = f"{chapter.sentence} Trained for {duration(portraits.seconds)}."
        self._cards.append(
            Card(sheet(drawn, columns=3, scale=2, gap=10, background=WHITE), chapter.title, sentence, chapter.title)
        )
        self._chapters.section(chapter.title, chapter.sentence)
        short = _short_of_time(chapter, trained)
        if short:
            self._chapters.text(short)
        if portraits.steps < chapter.of_portraits.enough:
            self._chapters.figure(*shipped_portraits())
        chapter.write(self._chapters, self._out)
        standing = sorted({warning for one in trained.values() for warning in one.warnings})
        if standing:
            with self._chapters.folded("Warnings of the trainings"):
                self._chapters.text("\n\n".join(standing))
        self._chapters.links(doc_links(self._out, {f"Read on: {chapter.title.lower()}": chapter.page}))
        self._write(whole=False)

    def judge(self, judged: Sequence[judging.Found], left_out: Sequence[str]) -> None:
        """The numbers."""
        judging.write_judgment(self._end, judged, left_out)

    def end(self, commands: Sequence[str], took: float) -> None:
        """What to do next, and the whole page."""
        self._end.section("Next", f"All of this took {duration(took)}. Some things to try:")
        self._end.code("\n".join(commands)).links(doc_links(self._out, GUIDE))
        self._write(whole=True)

    def _write(self, whole: bool) -> None:
        report = Report(TITLE, SUMMARY, refresh_s=None if whole else REFRESH_S).append(self._welcome)
        if self._cards:
            report.cards(self._cards)
        if not whole:
            report.text(WAITING)
        report.append(self._chapters).append(self._end).write(self._out / "report.html")


def _short_of_time(chapter: Chapter, trained: Mapping[str, Trained]) -> str:
    """What was cut short, in words, or nothing."""
    cut = [
        f"{one.label}: {trained[one.name].steps:,} steps, about {one.enough:,} make good pictures"
        for one in chapter.trainings
        if trained[one.name].steps < one.enough
    ]
    return f"Time was short, so expect less of these: {'; '.join(cut)}." if cut else ""

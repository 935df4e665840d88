"""The model card: a description of an artifact in words, generated from its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from morphogen.core.printable import one_line
from morphogen.core.privacy import PrivacyGuarantee

_LIMITS = (
    "The model knows nothing beyond the records it was trained on, and repeats their errors and biases."
    " What is not listed under Evaluation and Audit was not measured. Samples may resemble training records."
)


def card(
    spec: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]], audits: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Markdown from the content of spec.json, the evaluations and the results of audits, the oldest first."""
    data, provenance = spec["data"], spec["provenance"]
    title = _plain(f"{spec['family']} trained on {data['name']}")
    state = "" if provenance.get("complete", True) else "\n**Training was interrupted; this model is not finished.**\n"
    sections = [
        f"# {title}\n{state}",
        _section("Data", _data(data)),
        _section("Model", {"family": spec["family"], **spec["spec"]}),
        _section("Training", _given({**spec["recipe"], **{n: v for n, v in provenance.items() if n != "privacy"}})),
        _privacy(PrivacyGuarantee.stored(provenance)),
        _results("Evaluation", evaluations, "Not evaluated yet: `morphogen evaluate MODEL --data SOURCE`."),
        _results("Audit", audits, "Not audited yet: `morphogen audit MODEL --data SOURCE --out DIR`."),
        _usage(),
        f"## Limits\n\n{_LIMITS}\n",
    ]
    return "\n".join(section for section in sections if section)


def _privacy(promise: PrivacyGuarantee | None) -> str:
    """The guarantee of a private training in one sentence, and what was spent; nothing for other models."""
    if promise is None:
        return ""
    rows = [
        (_plain(item.what), f"{item.epsilon:.4g}", f"{item.delta:.3g}", str(item.rounds)) for item in promise.ledger
    ]
    spent = _table(["use of the records", "epsilon", "delta", "rounds"], rows)
    sentence = promise.sentence()
    return f"## Privacy\n\n{_plain(sentence[0].upper() + sentence[1:])}\n\n{spent}"


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    text = data.get("text") or {}
    read = text.get("vocabulary", 0)
    return {
        "name": data["name"],
        "source": data["source"] or "not stated",
        "license": data["license"] or "not stated (a source says it: SOURCE:license=...)",
        "records": ", ".join(f"{n} {split}" for split, n in data["splits"].items()) or "not stated",
        "shape": " x ".join(str(n) for n in data["shape"]),
        "kind": data["kind"] + (f", {data['levels']} levels" if data["levels"] else ""),
        **_table_of(data.get("table")),
        "classes": len(data["classes"]) or "none",
        "captions": f"{read} different tokens, at most {text['longest']} a text" if read else "none",
        "fingerprint": data["fingerprint"] or "not stated",
    }


def _table_of(table: Mapping[str, Any] | None) -> dict[str, Any]:
    """The columns of a table: how many of each type, and what is said about some; no value of a record."""
    if table is None:
        return {}
    columns = table["columns"]
    kinds = Counter(column["type"] for column in columns)
    missing = sum(column["missing"] for column in columns) / len(columns)
    found = {
        "columns": f"{len(columns)}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        "missing cells": f"{missing:.1%}",
        "target": table["target"] or "none",
        "rows belong together by": table["group"] or "nothing",
        "rules": table["rules"],
        "columns left out": ", ".join(gone["name"] for gone in table["left_out"]) or "none",
    }
    return found if table["rules"] else {name: value for name, value in found.items() if name != "rules"}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != []}


def _section(title: str, values: Mapping[str, Any]) -> str:
    return f"## {title}\n\n" + _table(["", ""], _flat(values))


def _results(title: str, entries: Sequence[Mapping[str, Any]], none: str) -> str:
    if not entries:
        return f"## {title}\n\n{none}\n"
    parts = [f"## {title}\n"]
    for entry in entries:
        result = {name: value for name, value in _given(entry["result"]).items() if name != "name"}
        parts.append(_plain(f"### {entry['name']} ({str(entry['written'])[:10]})") + "\n")
        parts.append(_table(["", ""], _flat(result)))
    return "\n".join(parts)


def _usage() -> str:
    return (
        '## Use\n\n```python\nimport morphogen as mg\n\nmodel = mg.load("MODEL")\n```\n\n'
        "or `morphogen sample MODEL --n 64 --out samples.png`, with MODEL this directory.\n"
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested values as dotted names and short texts; long lists by their length."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            short = ", ".join(_text(v) for v in value) if len(value) <= 8 else f"{len(value)} values"
            yield _plain(prefix + name), f"[{short}]"
        else:
            yield _plain(prefix + name), _text(value)


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return _plain(text)


def _plain(text: str) -> str:
    """Escape foreign text for a cell of Markdown: no HTML, no links and no code."""
    shown = one_line(text.replace("\n", " ")).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark, escaped in (("|", "\\|"), ("`", "\\`"), ("](", "]\\("), ("][", "]\\[")):
        shown = shown.replace(mark, escaped)
    return shown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(row) + " |\n" for row in lines)

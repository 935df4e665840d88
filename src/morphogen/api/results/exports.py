"""What an export has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from morphogen.report.html import escape
from morphogen.report.saving import chosen_format, json_file, write_whole


@final
@dataclass(frozen=True)
class Exported:
    """Files of a model for other programs.

    Attributes:
        format: "onnx" or "safetensors"
        files: the path of each, by the name of its graph, or "weights"
        inputs, outputs: of each graph, by its name: the names of its tensors, in order; the batch is in front
        difference: of each graph from the model, as onnxruntime computes it: max |g - y| / max(1, max |y|)
        bytes: of all files

    Example:
        >>> made = mg.export("runs/first", "first.onnx")
        >>> made.inputs
        {'decoder': ('z',)}
    """

    format: str
    files: Mapping[str, str]
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    difference: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0

    def lines(self) -> list[str]:
        """A line for each file."""
        found = []
        for name, path in self.files.items():
            if name not in self.inputs:
                found.append(f"wrote {path}: {name}")
                continue
            signature = f"{', '.join(self.inputs[name])} -> {', '.join(self.outputs[name])}"
            found.append(f"wrote {path}: {name}, {signature}; within {self.difference[name]:.1e} of the model")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def save(self, path: Path | str) -> Path:
        """Write what is said of the files as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        return "".join(f"<p>{escape(line)}</p>" for line in self.lines())

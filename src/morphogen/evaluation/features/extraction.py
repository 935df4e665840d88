"""Compute features: those of a frozen network for pictures, and the standardized values for other records.

Pictures are bytes, (N, C, H, W) uint8 in 0 .. 255, from every source, so a model, a folder of files and a degradation
are treated alike. The cache keeps features of pictures by the hash of the network and of the bytes.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.evaluation.context import cache
from morphogen.evaluation.context.degradations import as_bytes
from morphogen.evaluation.features.frozen import frozen, suited
from morphogen.evaluation.metrics.modes import labels

CHUNK = 2000  # pictures per call of the network


class Network(Protocol):
    """A feature network: pictures (B, C, H, W) in [-1, 1] to features (B, dim)."""

    name: str
    sha256: str
    dim: int
    classes: tuple[str, ...]

    def __call__(self, x: Tensor) -> Tensor: ...


class Features:
    """Features of one network. For records that are not pictures: the standardized records themselves.

    name   the name of the network, for the names of results; "raw" without a network
    dim    D, the number of features
    """

    def __init__(self, spec: DataSpec, network: Network | None = None, train: Tensor | None = None) -> None:
        """`network` defaults to the shipped one for these data. The stored training records `train` (N, *shape)
        standardize records that are not pictures."""
        self.spec = spec
        self.network = network
        if spec.is_picture:
            self.network = network or frozen(suited(spec))
            self.name, self.sha256, self.dim = self.network.name, self.network.sha256, self.network.dim
            return
        if network is not None:
            raise DataError(f"a feature network judges pictures; {spec.name} has records of shape {spec.shape}.")
        if train is None:
            raise DataError("records that are no pictures are standardized by the training records: give them.")
        x = spec.encode(train).flatten(1).double()
        self._mean, deviation = x.mean(0), x.std(0)
        self._scale = torch.where(deviation > 0.0, deviation, torch.ones_like(deviation))
        self.name, self.sha256, self.dim = "raw", "", x.shape[1]

    def of(self, judged: Tensor) -> Tensor:
        """Features (N, D) of the output of `judged`."""
        if self.network is None:
            return (judged.flatten(1).double() - self._mean) / self._scale
        return cache.tensor(cache.key("features", self.sha256, judged), lambda: self._through(judged))

    def judged(self, stored: Tensor, spec: DataSpec | None = None) -> Tensor:
        """Turn stored records into the form for metrics: pictures into bytes, others into x. `spec` describes the
        records; the default is that of the data set."""
        spec = spec or self.spec
        return as_bytes(stored, spec) if self.network is not None else spec.encode(stored)

    def judged_samples(self, x: Tensor) -> Tensor:
        """Turn samples of a model, in its units, into the form for metrics."""
        if self.network is None:
            return x.detach().cpu()
        low, high = self.spec.low, self.spec.high
        share = (x.detach().cpu().float() - low) / (high - low)
        return (share * 255.0).round().clamp(0, 255).to(torch.uint8)

    def classify(self, features: Tensor) -> Tensor | None:
        """The likeliest class (N,) of each record, if the network names the data's own classes."""
        classes = getattr(self.network, "classes", ())
        if not classes or tuple(classes) != tuple(self.spec.classes):
            return None
        with torch.no_grad():
            return labels(self.network.classify(features.float()))  # type: ignore[union-attr]

    @torch.no_grad()
    def _through(self, pictures: Tensor) -> Tensor:
        assert self.network is not None
        parameter = next(self.network.parameters(), None) if isinstance(self.network, nn.Module) else None
        device = torch.device("cpu") if parameter is None else parameter.device
        parts = [
            self.network(pictures[rows].to(device).float() / 127.5 - 1.0).cpu() for rows in chunks(len(pictures), CHUNK)
        ]
        return torch.cat(parts)

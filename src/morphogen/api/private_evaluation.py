"""What the evaluation of private models must not do: keep numbers of records in them, or choose among them."""

from __future__ import annotations

from collections.abc import Mapping

from morphogen.api.opened import OpenModel
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.privacy import PrivacyGuarantee

NOT_KEPT = (
    "the numbers are not kept in the model's folder: the model is private, and they tell of records outside of its"
    " epsilon"
)
_LEARNED = ("mnist", "fashion_mnist", "emoji")  # the shipped networks have seen the training records of these


def is_private(model: OpenModel) -> bool:
    """Whether it states a guarantee of privacy."""
    return PrivacyGuarantee.stored(model.stored.get("provenance", {})) is not None


def check_no_choice(models: Mapping[str, OpenModel], spec: DataSpec, network: str | None, drawn: bool) -> None:
    """Raise `UsageError` for private models that are compared in features which have seen the private records."""
    private = [name for name, model in models.items() if is_private(model)]
    if len(private) > 1 and drawn and spec.name in _LEARNED and (network is None or network in _LEARNED):
        raise UsageError(
            f"{private[0]} and {private[1]} are private, and the feature network of {spec.name!r} was trained on the"
            " training records of these data: to choose by it would spend privacy that nobody counts. Compare by"
            " metrics without features, such as nll, or give --network general or one of your own."
        )

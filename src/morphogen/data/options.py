"""The options that a source takes. Everything that decides what a record looks like is kept in
`DataSpec.preprocessing`, so that other data can be prepared alike without repeating anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from PIL import ImageColor
from pydantic import AfterValidator, BeforeValidator, Field

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.spec import Spec
from morphogen.data.context import Degradation

Resize = Literal["error", "stretch", "crop", "pad", "rotate"]
Channels = Literal["auto", "gray", "rgb", "rgba"]

# What a record looks like; the rest says which records there are.
_FREE = (("resize", "error"), ("bits", None))  # what a model was prepared with, and other data need not be
PREPARATION = ("size", "resize", "channels", "background", "bits", "binary", "context")


def _size(value: Any) -> Any:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
    if value is None or not match:
        return value
    height, width = int(match[1]), int(match[2] or match[1])
    if not (0 < height <= 4096 and 0 < width <= 4096):
        raise ValueError("sizes go from 1 to 4096 pixels")
    return f"{height}x{width}"


def _checked_size(value: str) -> str:
    if not re.fullmatch(r"\d+x\d+", value):
        raise ValueError("write size=64 or size=HEIGHTxWIDTH")
    return value


def _color(value: str) -> str:
    try:
        red, green, blue = ImageColor.getrgb(value)[:3]
    except ValueError:
        raise ValueError("write a color's name or #rrggbb") from None
    return f"#{red:02x}{green:02x}{blue:02x}"


def _binary(value: Any) -> str | float | None:
    if value in (None, True, "stochastic"):
        return None if value is None else "stochastic"
    try:
        threshold = float(value)
    except ValueError:
        threshold = 0.0
    if not 0.0 < threshold < 1.0:
        raise ValueError("write binary, or binary=0.5 with a threshold between 0 and 1")
    return threshold


def _context(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(Degradation.parse("" if value is True else str(value)))
    except SpecError as error:
        raise ValueError(str(error)) from None


Size = Annotated[str, BeforeValidator(_size), AfterValidator(_checked_size)]
Color = Annotated[str, AfterValidator(_color)]
Binary = Annotated[str | float | None, BeforeValidator(_binary)]
Context = Annotated[str | None, BeforeValidator(_context)]
# Below 1 a share of the records, from 1 on a number of them.
Amount = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class SourceOptions(Spec):
    """Options of any source: written as text, and settled with what a model's data were prepared with.

    `preparation` names those that say what a record looks like; the rest says which records there are. `own` names
    those that data of the same name do not inherit.

    calibration  training records to set aside for `detect` alone, by whose scores it measures what is normal: a share,
                 or from 1 on a number
    license      the license of the records, for the card of a model; None: that of a named set, else not stated
    """

    preparation: ClassVar[tuple[str, ...]] = ()
    own: ClassVar[tuple[str, ...]] = ("only",)
    calibration: Amount = 0.0
    license: str | None = None

    def canonical(self, name: str) -> str:
        """The shortest source text that means the same."""
        values = self.model_dump(mode="json")
        said = []
        for key, info in type(self).model_fields.items():
            if values[key] != (list(info.default) if isinstance(info.default, tuple) else info.default):
                bare = values[key] is True or (key == "binary" and values[key] == "stochastic")
                said.append(key if bare else f"{key}={_short(values[key])}")
        return f"{name}:{','.join(said)}" if said else name

    @classmethod
    def settled(cls, name: str, given: Mapping[str, Any], like: DataSpec | None, same: bool) -> Self:
        """`given` options, and for the rest what `like` was prepared with.

        Data of the `same` name inherit all options, others only those that say what a record looks
        like. Raises `SpecError` for unknown options, bad values, and a given one that contradicts `like`.
        """
        try:
            options = cls.parse(given)
        except SpecError as error:
            raise SpecError(f"source {name!r}: {str(error).partition(': ')[2]}") from None
        if like is None:
            return options
        values = options.model_dump(mode="json", include=set(given))
        for key, wanted in like.preprocessing.items():
            inherited = (same and key not in cls.own) or key in cls.preparation
            if key not in cls.model_fields or not inherited:
                continue
            if key not in values:
                values[key] = wanted
            elif key in cls.preparation and values[key] != wanted and (key, wanted) not in _FREE:
                raise SpecError(
                    f"source {name!r}: option {key}={values[key]} contradicts {key}={wanted}, which the model's"
                    f" data {like.source!r} were prepared with; leave it out."
                )
        return cls.parse(values)


class Options(SourceOptions):
    """The options of every source of pictures.

    size        HEIGHTxWIDTH, or one number for both; None keeps the size that all pictures have
    resize      what to do where the shape does not fit: "error"; "stretch"; "crop" (scale to cover, cut
                the center); "pad" (scale to fit, fill with the background); "rotate" (turn portrait and
                landscape into each other, no pixel resampled). Equal aspect ratios need no policy.
    channels    "auto" is gray if all pictures are gray, RGB otherwise
    background  the color that transparent pictures are laid on, and that padding has
    bits        the range of picture files with more than 8 bits a value: 0 to 2^bits - 1 becomes 0 to 255; None: the
                smallest such range that holds all values of the data
    binary      "stochastic" draws each pixel once, as 1 with probability u / max; a number is a threshold
    context     pictures come with a degraded copy of themselves as their condition, to learn to restore them:
                "down4", "blur1.5", "noise0.2" or "gray" (`data/context.py`)
    only        the classes of which records are taken, joined by +; None: all
    """

    preparation = PREPARATION
    size: Size | None = None
    resize: Resize = "error"
    channels: Channels = "auto"
    background: Color = "#ffffff"
    bits: Annotated[int, Field(ge=8, le=16)] | None = None
    binary: Binary = None
    context: Context = None
    only: str | None = None

    @property
    def target(self) -> tuple[int, int] | None:
        """(height, width) to bring pictures to, or None."""
        if self.size is None:
            return None
        height, width = self.size.split("x")
        return int(height), int(width)

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """The background as bytes."""
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        return red, green, blue


class Captioned(Options):
    """Records that may come with captions.

    captions    "all": where a record has several, each time it is trained with draws one of them; "first": it has one;
                "none": it has none, and models are conditioned on classes and attributes alone
    vocabulary  the most different tokens of the tokenizer that is trained on the captions
    longest     the most tokens of a caption that are read, begin and end included
    """

    captions: Literal["all", "first", "none"] = "all"
    vocabulary: Annotated[int, Field(ge=16, le=65536)] = 4096
    longest: Annotated[int, Field(ge=3, le=1024)] = 64


class Carved(Options):
    """A set without a validation split: a part of its training records is set aside."""

    validation: Amount = 0.02


class OwnSplits(Captioned):
    """A user's data: split by content unless they come with splits."""

    validation: Share = 0.05
    test: Share = 0.10
    skip_bad: bool = False


class FolderOptions(OwnSplits):
    """A folder of pictures.

    split_by    what decides on which side a record is: the bytes of its "file", so that it stays there at any size; or
                its "pixels" as they are read, as in models of earlier versions
    """

    split_by: Literal["file", "pixels"] = "file"

    @classmethod
    def settled(cls, name: str, given: Mapping[str, Any], like: DataSpec | None, same: bool) -> Self:
        if same and like is not None and "split_by" not in {*like.preprocessing, *given}:
            given = {**given, "split_by": "pixels"}  # an earlier version has split the model's data
        return super().settled(name, given, like, same)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)x\1", value)):
        return match[1]
    return str(value)

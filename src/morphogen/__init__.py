"""morphogen: train generative models on your own data, use them, and answer for them.

    import morphogen as mg

    model = mg.train("vae", "digits", "runs/digits", latent_dim=8, steps=500)
    model.sample(16, seed=1).save("samples.png")
    model = mg.load("runs/digits")

The names are those of `morphogen.api`, imported when one is first used, so `import morphogen` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from morphogen.api import *  # noqa: F403

    __version__: str
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module
        from importlib.util import find_spec

        if name == "__version__":
            from importlib.metadata import version

            return version("morphogen")
        if name != "__all__" and (name.startswith("_") or find_spec(f"{__name__}.{name}")):
            # a room, which `from morphogen import ROOM` goes on to load
            raise AttributeError(f"module 'morphogen' has no attribute {name!r}")
        if isinstance(error := getattr(import_module("morphogen.core.errors"), name, None), type):
            return globals().setdefault(name, error)  # without the rest, which is heavy
        api = import_module("morphogen.api")
        if name == "__all__":
            return ["__version__", *api.__all__]
        if name in api.__all__:
            return globals().setdefault(name, getattr(api, name))
        deprecated = import_module("morphogen.api.deprecated")
        if name in deprecated.INSTEAD:
            from warnings import warn

            warn(f"morphogen.{name} is now morphogen.{deprecated.INSTEAD[name]}.", DeprecationWarning, stacklevel=2)
            return getattr(deprecated, name)
        from morphogen.core.errors import unknown

        raise AttributeError(unknown("name in morphogen", name, api.__all__))

    def __dir__() -> list[str]:
        return sorted(__getattr__("__all__"))

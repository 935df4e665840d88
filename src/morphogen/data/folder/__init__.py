"""A folder of pictures as a source of data: `layout.read`."""

from morphogen.data.folder.layout import read

__all__ = ["read"]

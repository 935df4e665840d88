"""Coding without a model: values or their differences to what is beside them, by LZMA, the smallest of few ways.

The first byte of a code names the way. 0: the values; 1: differences to the value on the left; 2: to that above; 3: to
Paeth's predictor, as in PNG. Values of two levels are packed eight to a byte, in way 0 alone.
"""

from __future__ import annotations

import lzma

import numpy as np

from morphogen.applications.compression.container import Damaged

_FILTERS = [
    {"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 23, "lc": 0, "lp": 0, "pb": 0}
]
_WAYS = 4


def encode(values: np.ndarray, levels: int) -> bytes:
    """The smallest code of uint8 records (n, *shape)."""
    ways = range(_WAYS) if values.ndim >= 3 and levels > 2 else (0,)
    codes = (bytes([way]) + _pressed(_packed(_differences(values, way), levels)) for way in ways)
    return min(codes, key=len)


def decode(code: bytes, n: int, shape: tuple[int, ...], levels: int) -> np.ndarray:
    """The records (n, *shape) of a code. Raises `Damaged`."""
    size = n * int(np.prod(shape))
    packed = -(-size // 8) if levels == 2 else size
    try:
        unpress = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        data = unpress.decompress(code[1:], max_length=packed)
    except (lzma.LZMAError, EOFError) as error:
        raise Damaged(f"its code is no code of LZMA ({error})") from None
    if not code or code[0] >= _WAYS or len(data) != packed:
        raise Damaged("its code does not give as many values as the block says")
    values = np.frombuffer(data, np.uint8)
    if levels == 2:
        values = np.unpackbits(values, count=size)
    return _summed(values.reshape(n, *shape), code[0])


def press(data: bytes) -> bytes:
    """Bytes by LZMA."""
    return _pressed(data)


def unpress(code: bytes, most: int) -> bytes:
    """The bytes of a code; raises `Damaged` where they are more than `most`."""
    try:
        press = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        data = press.decompress(code, max_length=most + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise Damaged(f"its code is no code of LZMA ({error})") from None
    if len(data) > most:
        raise Damaged("its code holds more than there may be")
    return data


def _pressed(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=_FILTERS)


def _packed(values: np.ndarray, levels: int) -> bytes:
    return (np.packbits(values) if levels == 2 else values).tobytes()


def _differences(x: np.ndarray, way: int) -> np.ndarray:
    if way == 0:
        return x
    left, up = np.zeros_like(x), np.zeros_like(x)
    left[..., 1:], up[..., 1:, :] = x[..., :-1], x[..., :-1, :]
    if way < 3:
        return x - (left if way == 1 else up)
    corner = np.zeros_like(x)
    corner[..., 1:, 1:] = x[..., :-1, :-1]
    return x - _paeth(left, up, corner)


def _summed(d: np.ndarray, way: int) -> np.ndarray:
    if way == 0:
        return d
    if way < 3:
        return np.cumsum(d, axis=-1 if way == 1 else -2, dtype=np.uint8)
    x = np.zeros((*d.shape[:-2], d.shape[-2] + 1, d.shape[-1] + 1), np.uint8)
    for i in range(d.shape[-2]):
        for j in range(d.shape[-1]):
            guess = _paeth(x[..., i + 1, j], x[..., i, j + 1], x[..., i, j])
            x[..., i + 1, j + 1] = d[..., i, j] + guess
    return x[..., 1:, 1:]


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Of the three the one nearest to left + up - corner."""
    a, b, c = (v.astype(np.int16) for v in (left, up, corner))
    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))

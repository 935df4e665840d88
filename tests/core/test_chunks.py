import pytest

from morphogen.core.chunks import chunks


@pytest.mark.parametrize("n", [0, 1, 6, 7, 8])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_chunks_cover_all_rows_once_in_order(n: int, size: int) -> None:
    rows = list(range(n))
    found = list(chunks(n, size))
    assert [row for part in found for row in rows[part]] == rows
    assert all(0 < part.stop - part.start <= size for part in found)
    assert all(part.stop - part.start == size for part in found[:-1])


def test_chunks_without_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or more, got 0"):
        chunks(5, 0)

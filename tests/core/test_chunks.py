import pytest

from morphogen.core.chunks import at_most, chunks, limited
from morphogen.core.errors import UsageError


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


def test_at_most_limits_what_is_not_exact():
    with at_most(4):
        assert [r.stop - r.start for r in chunks(10, 100)] == [4, 4, 2]
        assert [r.stop - r.start for r in chunks(10, 100, exactly=True)] == [10]
        with at_most(2):
            assert next(chunks(10, 3)) == slice(0, 2)
        with at_most(None):
            assert next(chunks(10, 100)) == slice(0, 4)
    assert next(chunks(10, 100)) == slice(0, 10)


def test_limited_functions_check_their_batch_size():
    @limited
    def most(n, *, batch_size=None):
        return max(r.stop - r.start for r in chunks(n, 100))

    assert (most(10), most(10, batch_size=3)) == (10, 3)
    with pytest.raises(UsageError, match=r"batch.size"):
        most(10, batch_size=0)

"""What long work says is heard within a block, and by nobody else."""

from __future__ import annotations

from morphogen.core.telling import heard_by, tell, told


def test_what_is_told_is_heard_within_the_block_alone() -> None:
    said: list[str] = []
    tell("before")
    with heard_by(said.append):
        tell("drawing")
        assert list(told([3, 1], lambda one: f"metric {one}")) == [3, 1]
    tell("after")
    assert said == ["drawing", "metric 3 (1 of 2)", "metric 1 (2 of 2)"]

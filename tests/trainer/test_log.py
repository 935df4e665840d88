"""Events: what there is to know of the data comes with the first."""

from morphogen.trainer.log import Event, with_notes


def test_only_the_first_event_has_the_notes_and_an_end_of_watching_ends_the_work():
    ended = []

    def work():
        try:
            for step in range(1, 4):
                yield Event(step, 3, 0.0, None)
        finally:
            ended.append(True)

    events = list(with_notes(work(), ["20 files: 20 records"]))
    assert [e.step for e in events] == [1, 2, 3]
    assert [list(e.notes) for e in events] == [["20 files: 20 records"], [], []]
    watched = with_notes(work(), [])
    next(watched)
    del watched
    assert len(ended) == 2
    assert list(with_notes((event for event in ()), ["x"])) == []

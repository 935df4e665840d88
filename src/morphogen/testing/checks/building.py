"""Checks of a family that is only built: its options and its players."""

from __future__ import annotations

from morphogen.core.errors import SpecError
from morphogen.testing.subject import Subject


def check_spec_round_trips(s: Subject) -> None:
    assert s.family.Spec.parse(s.spec.to_dict()) == s.spec, "Spec.parse(spec.to_dict()) is another Spec"
    for preset, options in s.family.presets.items():
        s.family.Spec.parse(options)  # raises where the preset is impossible
        assert preset, "a preset without a name"
    name = next(iter(s.family.Spec.model_fields))
    try:
        s.family.Spec.parse({name + "x": 1})
    except SpecError as error:
        assert repr(name) in str(error), f"the error for {name + 'x'!r} does not name {name!r}: {error}"
    else:
        raise AssertionError(f"the unknown option {name + 'x'!r} was accepted")


def check_players_cover_parameters(s: Subject) -> None:
    model = s.build()
    owned = [id(p) for player in model.players().values() for p in player.parameters]
    assert len(owned) == len(set(owned)), "a parameter belongs to two players"
    trainable = {id(p): n for n, p in model.named_parameters() if p.requires_grad}
    missing = [n for i, n in trainable.items() if i not in set(owned)]
    assert not missing, f"no player owns {', '.join(missing)}"

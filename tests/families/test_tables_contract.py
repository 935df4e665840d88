"""The contract of families on a table: numbers, categories and missing cells, in four families of small networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from morphogen.testing import parametrize_with_checks


@parametrize_with_checks(["autoregressive"], {"condition_dropout": 0.1}, table=True, steps=150, records=2048)
def test_the_any_order_model_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(["vae"], {"hidden": (64, 64)}, table=True, steps=600, records=2048)
def test_the_vae_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(["diffusion", "flow_matching"], {"hidden": (128, 128)}, table=True, steps=800, records=2048)
def test_models_that_denoise_keep_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(["gan"], {"hidden": (64, 64)}, table=True, steps=600, records=2048)
def test_the_gan_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(["masked_diffusion"], {"width": 64, "blocks": 2}, table=True, steps=600, records=2048)
def test_masked_diffusion_keeps_the_contract(check: Callable[[], None]) -> None:
    check()

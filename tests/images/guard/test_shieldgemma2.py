"""ShieldGemma 2: the real classes with random weights; Yes means that the picture breaks the policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taleward.images.guard.picture_judge import picture_judge
from taleward.images.picture import Picture
from tests.helpers.image_models import noise_png

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("says_yes", "outcome"), [(True, "fail"), (False, "pass")])
def test_yes_fails_and_no_passes(says_yes: bool, outcome: str, tmp_path: Path) -> None:
    from tests.helpers.tiny_vision_guards import save_tiny_shieldgemma2

    judge = picture_judge(f"shieldgemma-2:{save_tiny_shieldgemma2(tmp_path, says_yes=says_yes)}", device="cpu")
    verdict = judge.invoke(Picture.from_bytes(noise_png(1, (64, 64)), prompt="a fox"))
    assert verdict.outcome == outcome, verdict.detail
    assert set(verdict.scores) == {"dangerous_acts", "sexual", "violence"}
    assert "not judged here" in verdict.detail


def test_weights_that_are_not_there_are_an_error_verdict(tmp_path: Path) -> None:
    judge = picture_judge(f"shieldgemma-2:{tmp_path / 'missing'}")
    assert judge.invoke(Picture.from_bytes(noise_png(1), prompt="a fox")).outcome == "error"

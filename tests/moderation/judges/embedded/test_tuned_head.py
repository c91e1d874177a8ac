"""A head that was tuned: what it scores, where it is kept, and for whom."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="the extra local is not installed")

from taleward.core.errors import ConfigurationError, IntegrityError
from taleward.moderation.judges import judge
from taleward.moderation.judges.embedded.head import Head, shipped_head
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.judges.fingerprint import judge_fingerprint

TEXT = "The storm shook the house, and Mia hid under the table."
CATEGORIES = len(shipped_head().config.categories)


def tuned(bias: float = 0.0, offset: float = 0.0, ages: tuple[int, ...] = (6,)) -> Head:
    biases = np.full(CATEGORIES, bias, np.float32)
    return shipped_head().adjusted(np.zeros((384, CATEGORIES), np.float32), biases, {6: offset}, ages)


def test_weights_biases_and_offsets_are_added_to_the_log_odds() -> None:
    shipped = EmbeddedJudge()
    scores = shipped.sentence_scores(TEXT)
    weight = np.zeros((384, CATEGORIES), np.float32)
    weight[:, 1] = 0.3
    bias = np.zeros(CATEGORIES, np.float32)
    bias[2] = -0.5
    changed = shipped.with_head(shipped_head().adjusted(weight, bias, {6: 0.25}, [6])).sentence_scores(TEXT)
    expected = scores.excess + 0.25
    expected[:, 1] += scores.vectors @ weight[:, 1]
    expected[:, 2] -= 0.5
    np.testing.assert_allclose(changed.excess, expected, atol=1e-4)
    np.testing.assert_array_equal(shipped.sentence_scores(TEXT).excess, scores.excess)


def test_a_tuned_judge_is_loaded_from_its_folder_without_a_second_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = tuned(bias=4.0)
    (tmp_path / "tuned").mkdir()
    head.save(tmp_path / "tuned")
    monkeypatch.chdir(tmp_path)
    shipped, loaded = EmbeddedJudge(), judge("embedded:./tuned")
    assert isinstance(loaded, EmbeddedJudge)
    assert loaded.head.encoder is shipped.head.encoder
    assert loaded.invoke(TEXT).scores == shipped.with_head(head).invoke(TEXT).scores
    assert (shipped.invoke(TEXT).outcome, loaded.invoke(TEXT).outcome) == ("pass", "fail")
    assert loaded.invoke(TEXT).judge == "embedded:./tuned"
    assert judge_fingerprint(shipped) != judge_fingerprint(shipped.with_head(head))
    assert judge(f"embedded:{tmp_path / 'tuned'}").invoke(TEXT).outcome == "fail"


def test_listed_words_count_whatever_the_offset() -> None:
    mild = EmbeddedJudge().with_head(tuned(offset=-20.0))
    assert mild.invoke(TEXT).passed
    assert mild.invoke("You little shit, said the man.").outcome == "fail"


def test_a_judge_that_was_tuned_for_another_band_is_refused(tmp_path: Path) -> None:
    tuned(ages=(6, 9)).save(tmp_path)
    judge(f"embedded:{tmp_path}", band="9-12")
    with pytest.raises(ConfigurationError, match=r"tuned for bands from age 6, 9; the band '3-5' is from age 3"):
        judge(f"embedded:{tmp_path}", band="3-5")


def test_a_judge_that_was_tuned_from_another_one_is_refused(tmp_path: Path) -> None:
    tuned().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"top_sha256": "0" * 64}))
    with pytest.raises(IntegrityError, match="was tuned from one whose encoder has the SHA-256 0000"):
        judge(f"embedded:{tmp_path}")


@pytest.mark.parametrize("name", ["none", "empty", "half"])
def test_a_folder_without_a_judge_is_named(name: str, tmp_path: Path) -> None:
    for folder in ("empty", "half"):
        (tmp_path / folder).mkdir()
    (tmp_path / "half" / "head.safetensors").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=f"{name} is not the folder of an embedded judge") as caught:
        judge(f"embedded:{tmp_path / name}")
    assert "taleward tune judge" in str(caught.value.hint)

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from taleward import backends
from taleward.core.errors import IntegrityError, InvalidFile

pytest.importorskip("tokenizers", reason="the extra local is not installed")

from taleward.moderation.judges.embedded.head import Head, shipped_head

SHIPPED = Path(backends.__path__[0]) / "models" / "judge"
SENTENCES = [
    "The growl came closer and closer, and Tom hid under the blanket.",
    "Then the door opened.",
    "It was only Grandpa, snoring on the sofa, and they laughed until they fell asleep.",
]


def log_odds(*sentences: str) -> np.ndarray:
    head = shipped_head()
    return head.log_odds([head.word_pieces(sentence) for sentence in sentences])


def test_a_sentence_is_read_in_the_light_of_the_others() -> None:
    alone, in_story = log_odds(SENTENCES[0])[0], log_odds(*SENTENCES)[0]
    assert abs(alone - in_story).max() > 0.1


def test_severities_never_rise_along_the_axis() -> None:
    values = log_odds(*SENTENCES)
    assert values.shape == (3, 11, 3)
    assert (np.diff(values, axis=2) <= 0).all()


def test_no_sentences_have_no_log_odds() -> None:
    assert log_odds().shape == (0, 11, 3)


def test_a_long_text_is_read_in_sections_with_all_of_its_sentences() -> None:
    many = [f"On day {n} the hen walked to the pond and back, and the farmer fed it corn." for n in range(80)]
    values = log_odds(*many)
    assert values.shape == (80, 11, 3)
    assert np.isfinite(values).all()
    # The first section does not reach the end, so what stands there does not change it.
    np.testing.assert_allclose(log_odds(*many, "He stabbed the guard.")[:5], values[:5], atol=1e-4)


def test_word_pieces_of_disguised_words_are_those_of_the_words() -> None:
    head = shipped_head()
    assert head.word_pieces("You are 5tup1d.") == head.word_pieces("You are stupid.")
    assert head.word_pieces("\x01") == [100]


def test_damaged_weights_are_rejected(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "judge")
    weights = tmp_path / "judge" / "head.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(IntegrityError, match=r"head\.safetensors has the SHA-256"):
        Head(tmp_path / "judge")


def test_int8_scores_are_close_to_float32() -> None:
    heads = [Head(SHIPPED), Head(SHIPPED, precision="float32")]
    rounded, exact = (
        1 / (1 + np.exp(-head.log_odds([head.word_pieces(sentence) for sentence in SENTENCES]))) for head in heads
    )
    assert abs(rounded - exact).max() < 0.1
    assert not np.array_equal(rounded, exact)


def test_an_invalid_configuration_is_named(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "judge")
    (tmp_path / "judge" / "config.json").write_text(json.dumps({"categories": []}))
    with pytest.raises(InvalidFile, match=r"config\.json is not a valid judge configuration"):
        Head(tmp_path / "judge")

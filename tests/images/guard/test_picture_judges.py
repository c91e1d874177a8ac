"""Picture judges: what they refuse, and that no failure of theirs passes a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageDraw

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.images.guard.llama_guard4 import LlamaGuard4Judge
from taleward.images.guard.omni_moderation import OmniModerationJudge
from taleward.images.guard.picture_judge import PictureJudge, picture_judge, picture_judges, views
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec, TextShown
from taleward.moderation.judges.base import Assessment
from taleward.moderation.policies.load import load_policy
from taleward.testing import FakeOpenAI
from tests.helpers.image_models import noise_png, png
from tests.helpers.openai_stub import serving

CATEGORIES = tuple(load_policy("kids").categories)


def picture(data: bytes | None = None, prompt: PromptSpec | str = "a fox", **fields: Any) -> Picture:
    return Picture.from_bytes(noise_png(1) if data is None else data, prompt=prompt, **fields)


def transparent() -> Picture:
    """A cross that is white on nothing: blank on white paper, and there on a dark page."""
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    ImageDraw.Draw(image).line((0, 0, 63, 63), fill=(255, 255, 255, 255), width=5)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return picture(buffer.getvalue())


def animation() -> bytes:
    frames = [Image.open(BytesIO(noise_png(seed))) for seed in range(2)]
    buffer = BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


class TestChecks:
    judge = picture_judge("picture-checks")

    def test_a_picture_passes(self) -> None:
        verdict = self.judge.invoke(picture())
        assert (verdict.outcome, verdict.policy, verdict.band) == ("pass", "kids@1", "6-8")

    @pytest.mark.parametrize(
        ("seen", "detail"),
        [
            (picture(flags=("nsfw",)), "flagged it: nsfw"),
            (picture(png("black", (64, 64))), "black"),
            (picture(png("white", (64, 64))), "blank"),
            (picture(png((0, 0, 0, 0), (64, 64), "RGBA")), "black|blank"),
            (picture(noise_png(1, (8, 64))), "8x64"),
            (picture(noise_png(1)[:-40]), "cannot be decoded"),
            (picture(animation()), "animation"),
            (picture(b'<svg width="64" height="64"><rect'), "cannot be drawn"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_cannot_be_shown_fails(self, seen: Picture, detail: str) -> None:
        verdict = self.judge.invoke(seen)
        assert verdict.outcome == "fail"
        assert any(part in verdict.detail for part in detail.split("|")), verdict.detail

    def test_what_is_white_on_nothing_is_seen(self) -> None:
        assert len(views(transparent())) == 2
        assert self.judge.invoke(transparent()).passed


def test_open_nsfw_scores_one_category_and_says_so() -> None:
    verdict = picture_judge("open-nsfw").invoke(picture(noise_png(1, (64, 64))))
    assert verdict.passed
    assert set(verdict.scores) == {"sexual"}
    assert "not judged here: violence" in verdict.detail
    assert picture_judge("open-nsfw").invoke(picture(noise_png(1)[:-40])).outcome == "error"


def test_a_judge_that_raises_gives_a_verdict_without_a_key() -> None:
    class Broken(PictureJudge):
        def assess(self, picture: Picture) -> Assessment:
            raise RuntimeError("sk-abcdefghijklmnop")

    verdict = Broken("broken").invoke(picture())
    assert verdict.outcome == "error"
    assert "sk-abc" not in verdict.detail


async def test_judges_are_asked_without_blocking_the_loop() -> None:
    assert (await picture_judge("picture-checks").ainvoke(picture())).passed


def answering(**changes: Any) -> Any:
    """A chat model's answer, as a function of the request: the right one but for the changes."""

    def answer(request: Mapping[str, Any]) -> str:
        system = request["messages"][0]["content"]
        fields = {
            "id": system.split('"id": "')[1][:16],
            "shows": "A fox in the snow.",
            "writing": "",
            "grades": {**dict.fromkeys(CATEGORIES, "none"), **changes.get("grades", {})},
            "as_asked": "yes",
            "verdict": "pass",
        }
        return json.dumps({**fields, **{k: v for k, v in changes.items() if k != "grades"}})

    return answer


def llm_verdict(answer: Any, seen: Picture | None = None, **options: Any) -> Any:
    with FakeOpenAI(answer) as server:
        judge = picture_judge("openai:any", base_url=server.base_url, max_retries=0, **options)
        return judge.invoke(seen or picture()), server.requests


def test_a_chat_model_sees_the_pixels_and_grades_every_category() -> None:
    verdict, [request] = llm_verdict(answering())
    assert verdict.passed
    text, image = request["messages"][1]["content"]
    assert "fox" in text["text"].lower()
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert request["response_format"]["json_schema"]["strict"]


def test_a_transparent_picture_is_sent_as_it_looks_on_white_and_on_black() -> None:
    _, [request] = llm_verdict(answering(), transparent())
    assert len(request["messages"][1]["content"]) == 3


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"grades": {"violence": "mild"}}, "pass"),
        ({"grades": {"violence": "moderate"}}, "fail"),
        ({"grades": {"drugs": "mild"}}, "fail"),
        ({"verdict": "fail"}, "fail"),
        ({"writing": "KILL"}, "fail"),
        ({"as_asked": "no"}, "pass"),
        ({"id": "0" * 16}, "unparsable"),
        ({"verdict": "Pass"}, "unparsable"),
        ({"grades": {"weather": "none"}}, "unparsable"),
        ({"grades": {"violence": "no"}}, "unparsable"),
        ({"extra": 1}, "unparsable"),
    ],
)
def test_the_policy_decides_and_any_other_answer_is_no_pass(changes: dict[str, Any], outcome: str) -> None:
    verdict, _ = llm_verdict(answering(**changes))
    # The client checks answers against the schema itself, and then there is none.
    assert verdict.outcome in ((outcome, "error") if outcome == "unparsable" else (outcome,))


@pytest.mark.parametrize("answer", ["pass", "", "The picture is safe.", '{"verdict": "pass"}', "[]"])
def test_an_answer_of_another_form_is_unparsable(answer: str) -> None:
    from langchain_core.language_models import FakeListChatModel

    assert picture_judge(FakeListChatModel(responses=[answer])).invoke(picture()).outcome == "unparsable"


def test_words_may_be_seen_where_they_were_asked_for() -> None:
    sign = PromptSpec(subject="a shop", text_shown=TextShown(words="TOYS"))
    assert llm_verdict(answering(writing="TOYS"), picture(prompt=sign))[0].passed
    assert llm_verdict(answering(writing="TOYS"), allow_writing=True)[0].passed
    assert llm_verdict(answering(as_asked="no"), must_match=True)[0].outcome == "fail"


def omni_response(score: float = 0.01, *, kinds: tuple[str, ...] = ("image",), flagged: bool = False) -> dict[str, Any]:
    codes = load_policy("kids").codes["openai-moderation"]
    names = {*codes, "illicit", "illicit/violent"}
    for_pictures = ("self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "violence", "violence/graphic")
    result = {
        "flagged": flagged,
        "categories": {name: flagged and name == "violence" for name in names},
        "category_scores": {name: score if name == "violence" else 0.0 for name in names},
        "category_applied_input_types": {name: list(kinds) if name in for_pictures else [] for name in names},
    }
    return {"id": "m", "model": "omni-moderation-latest", "results": [result]}


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (omni_response(), "pass"),
        (omni_response(0.9), "fail"),
        (omni_response(0.1, flagged=True), "fail"),
        (omni_response(kinds=("text",)), "unparsable"),
        ({"results": []}, "unparsable"),
        ("no JSON", "unparsable"),
    ],
)
def test_the_moderation_endpoint_must_say_that_it_looked_at_a_picture(
    response: Any, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-test-test")
    seen: list[dict[str, Any]] = []

    def answer(path: str, request: dict[str, Any]) -> Any:
        seen.append(request)
        return response

    with serving(answer) as url:
        verdict = OmniModerationJudge(base_url=url).invoke(picture())
    assert verdict.outcome == outcome
    assert seen[0]["input"][0]["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("safe", "pass"),
        ("\n\nsafe", "pass"),
        ("unsafe\nS1", "fail"),
        ("unsafe\nS5,S14", "fail"),
        ("unsafe", "unparsable"),
        ("unsafe\nS1,S1", "unparsable"),
        ("unsafe\nS99", "unparsable"),
        ("Safe.", "unparsable"),
        ("not safe", "unparsable"),
    ],
)
def test_llama_guard_4_is_read_strictly(answer: str, outcome: str) -> None:
    with FakeOpenAI(answer) as server:
        judge = picture_judge("llama-guard-4:openai:any", base_url=server.base_url)
        assert isinstance(judge, LlamaGuard4Judge)
        assert judge.invoke(picture()).outcome == outcome


@pytest.mark.parametrize(
    ("spec", "error", "match"),
    [
        ("nsfw", UnknownName, "open-nsfw"),
        ("open-nsfw:x", ConfigurationError, "takes no model"),
        ("shieldgemma-2", ConfigurationError, "needs a model"),
    ],
)
def test_a_wrong_spec_says_what_is_known(spec: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        picture_judge(spec)
    with pytest.raises(ConfigurationError, match="at least one"):
        picture_judges([])
    with pytest.raises(UnknownName, match="band"):
        picture_judge("picture-checks", band="2-3")

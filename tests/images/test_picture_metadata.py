"""Saved pictures: the label is in the file, the pixels are the same, and a kill leaves whole files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from taleward.core.errors import ConfigurationError
from taleward.images.picture import Picture, PictureLineage
from taleward.images.picture_metadata import manifest
from tests.helpers.image_models import noise_png, png

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8" fill="teal"/></svg>'


def made(kind: str, mode: str = "RGB", **options: object) -> Picture:
    buffer = BytesIO()
    Image.open(BytesIO(noise_png(1))).convert(mode).save(buffer, kind, **options)
    lineage = PictureLineage(model="openai-image:any")
    return Picture.from_bytes(
        buffer.getvalue(), prompt='a "fox" & a <bear>', lineage=lineage, credits=("Drawings: MIT",)
    )


@pytest.mark.parametrize(
    "picture",
    [
        made("PNG"),
        made("PNG", "RGBA"),
        made("JPEG"),
        made("WEBP"),
        made("WEBP", lossless=True),
        made("WEBP", "RGBA", lossless=True),
        made("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    ],
    ids=lambda p: f"{p.suffix}-{len(p.data)}",
)
def test_the_label_is_in_the_file_and_the_pixels_are_the_same(picture: Picture, tmp_path: Path) -> None:
    path = picture.save(tmp_path / "fox")
    assert path.name == f"fox{picture.suffix}"
    with Image.open(path) as saved:
        assert saved.tobytes() == picture.to_pil().tobytes()
        assert saved.mode == picture.to_pil().mode
        xmp = saved.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert xmp["DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert "Taleward" in xmp["CreatorTool"]
    assert xmp["AltTextAccessibility"]["Alt"]["li"]["text"] == picture.alt_text
    assert "MIT" in str(xmp["rights"])
    assert Picture.open(path).width == picture.width


def test_svg_keeps_its_drawing_and_says_algorithmic(tmp_path: Path) -> None:
    picture = Picture.from_bytes(SVG, prompt="a field", lineage=PictureLineage(model="collage"))
    saved = Picture.open(picture.save(tmp_path / "field.svg"))
    assert b"algorithmicMedia" in saved.data
    assert saved.to_pil().tobytes() == picture.to_pil().tobytes()


def test_a_folder_gets_the_digest_as_name_and_a_wrong_ending_is_refused(tmp_path: Path) -> None:
    picture = Picture.from_bytes(png(), prompt="a field")
    assert picture.save(tmp_path).name == f"{picture.sha256[:12]}.png"
    with pytest.raises(ConfigurationError, match="another format"):
        picture.save(tmp_path / "field.jpg")
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]


def test_a_manifest_names_the_model_and_not_the_prompt() -> None:
    picture = Picture.from_bytes(png(), prompt="Lina's secret garden", seed=0, lineage=PictureLineage(model="m"))
    [actions, lineage] = manifest(picture)["assertions"]
    assert actions["data"]["actions"][0]["action"] == "c2pa.created"
    assert (lineage["data"]["seed"], lineage["data"]["sha256"]) == (0, picture.sha256)
    assert "Lina" not in str(manifest(picture))

"""Label picture files as made by AI: XMP with IPTC's digital source type, and a manifest to sign with C2PA's tools."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from taleward.core.errors import ConfigurationError
from taleward.images.picture import Picture
from taleward.images.picture_formats import SUFFIXES, MediaType

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_TRAINED, _ALGORITHMIC = "trainedAlgorithmicMedia", "algorithmicMedia"
_NO_TRAINING = ("collage",)
"""Providers whose pictures come from rules alone, not from a model that was trained."""
_OTHER_SUFFIXES: Mapping[str, MediaType] = {".jpeg": "image/jpeg"}
_XMP_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
_NAME_DIGITS = 12
_MAX_APP1_BYTES = 65_533
_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10


def source_type(picture: Picture) -> str:
    """Return IPTC's digital source type, as a URL."""
    provider = picture.lineage.model.partition(":")[0]
    return _SOURCE_TYPES + (_ALGORITHMIC if provider in _NO_TRAINING else _TRAINED)


def xmp_packet(picture: Picture) -> str:
    """Return the label as XMP: source type, tool, alt text and credits; neither prompt nor seed."""
    thanks = " ".join(picture.credits)
    rights = f'<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{escape(thanks)}</rdf:li></rdf:Alt></dc:rights>'
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
        f" xmp:CreatorTool={quoteattr(_tool(picture))}"
        f" xmp:CreateDate={quoteattr(picture.lineage.created.isoformat(timespec='seconds'))}"
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(source_type(picture))}>"
        '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">AI-generated</rdf:li></rdf:Alt></dc:description>'
        f'<Iptc4xmpCore:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="x-default">{escape(picture.alt_text)}'
        f"</rdf:li></rdf:Alt></Iptc4xmpCore:AltTextAccessibility>{rights if thanks else ''}"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def labeled(picture: Picture) -> bytes:
    """Return the file with the label in it; what can be seen stays the same to the bit."""
    return _LABELERS[picture.media_type](picture.data, xmp_packet(picture).encode())


def manifest(picture: Picture, *, title: str = "picture") -> dict[str, Any]:
    """Return the definition of a C2PA manifest, for `c2patool FILE -m MANIFEST.json`, which signs it with your key.

    It names model, seed and settings, but not the prompt, which may be a child's words.

    Args:
        picture: The picture.
        title: The file's name.
    """
    lineage = picture.lineage
    action: dict[str, Any] = {
        "action": "c2pa.edited" if lineage.parents else "c2pa.created",
        "when": lineage.created.isoformat(timespec="seconds"),
        "digitalSourceType": source_type(picture),
        "softwareAgent": {"name": lineage.model},
    }
    return {
        "claim_generator_info": [{"name": "Taleward", "version": version("taleward")}],
        "title": title,
        "format": picture.media_type,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {
                "label": "org.taleward.lineage",
                "data": {
                    "model": lineage.model,
                    "seed": picture.seed,
                    "scheduler": lineage.scheduler,
                    "parameters": dict(lineage.parameters),
                    "versions": dict(lineage.versions),
                    "sha256": picture.sha256,
                    "parents": list(lineage.parents),
                    "request_sha256": lineage.request_sha256,
                    "credits": list(picture.credits),
                },
            },
        ],
    }


def write_picture(picture: Picture, path: Path) -> Path:
    """Write the labeled file at once, so that a kill leaves the old one or the new one; see `Picture.save`."""
    if path.is_dir():
        path = path / f"{picture.sha256[:_NAME_DIGITS]}{picture.suffix}"
    elif not path.suffix:
        path = path.with_name(path.name + picture.suffix)
    known = {suffix: media_type for media_type, suffix in SUFFIXES.items()} | dict(_OTHER_SUFFIXES)
    if known.get(path.suffix.lower()) != picture.media_type:
        raise ConfigurationError(
            f"the picture is {picture.media_type}, and {path.name!r} is named for another format.",
            hint=f"Name it {path.stem}{picture.suffix}; pictures are not converted.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(labeled(picture))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _tool(picture: Picture) -> str:
    return f"Taleward {version('taleward')}, {picture.lineage.model}"


def _label_png(data: bytes, xmp: bytes) -> bytes:
    body = b"iTXt" + b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end_of_header = 8 + 4 + 4 + 13 + 4  # signature, and the IHDR chunk, which is always the first
    return data[:end_of_header] + chunk + data[end_of_header:]


def _label_jpeg(data: bytes, xmp: bytes) -> bytes:
    body = _XMP_NAMESPACE + xmp
    if len(body) > _MAX_APP1_BYTES:
        return data
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    # After JFIF's own segment, which must be the first.
    start = 4 + struct.unpack(">H", data[4:6])[0] if data[2:4] == b"\xff\xe0" else 2
    return data[:start] + segment + data[start:]


def _label_webp(data: bytes, xmp: bytes) -> bytes:
    chunks = data[12:]
    if chunks[:4] == b"VP8X":
        flags = chunks[8] | _XMP_FLAG
        chunks = chunks[:8] + bytes([flags]) + chunks[9:]
    else:
        from taleward.images.picture_formats import read_header

        header = read_header(data)
        # In a lossless file, bit 28 after the signature byte says whether there is transparency.
        has_alpha = chunks[:4] == b"VP8L" and bool(chunks[12] & 0x10)
        flags = _XMP_FLAG | (_ALPHA_FLAG if has_alpha else 0)
        size = (header.width - 1).to_bytes(3, "little") + (header.height - 1).to_bytes(3, "little")
        chunks = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size + chunks
    chunks += b"XMP " + struct.pack("<I", len(xmp)) + xmp + b"\0" * (len(xmp) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _label_svg(data: bytes, xmp: bytes) -> bytes:
    start = data.index(b"<svg")
    end = data.index(b">", start)
    packet = xmp[xmp.index(b"<x:xmpmeta") : xmp.index(b'<?xpacket end="w"?>')]
    if data[end - 1 : end] == b"/":
        return data  # an empty drawing
    return data[: end + 1] + b"<metadata>" + packet + b"</metadata>" + data[end + 1 :]


_LABELERS: Mapping[MediaType, Callable[[bytes, bytes], bytes]] = {
    "image/png": _label_png,
    "image/jpeg": _label_jpeg,
    "image/webp": _label_webp,
    "image/svg+xml": _label_svg,
}

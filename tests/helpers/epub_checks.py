"""What can be checked of an EPUB without Java; EPUBCheck checks more."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

_OPF, _XHTML = "{http://www.idpf.org/2007/opf}", "{http://www.w3.org/1999/xhtml}"
_TYPES = {
    ".xhtml": "application/xhtml+xml",
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
}


def problems(path: Path) -> list[str]:
    """What is wrong with an EPUB file."""
    return list(_problems(path))


def _problems(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
        if (first.filename, first.compress_type, first.extra) != ("mimetype", zipfile.ZIP_STORED, b""):
            yield "mimetype is not first and stored"
        if archive.read("mimetype") != b"application/epub+zip":
            yield "mimetype is wrong"
        files = {name: archive.read(name) for name in archive.namelist()}
    if len({info.date_time for info in zipfile.ZipFile(path).infolist()}) != 1:
        yield "dates differ"
    package = ET.fromstring(files["OEBPS/package.opf"])  # noqa: S314  # our own
    items = {item.get("id"): item for item in package.iter(f"{_OPF}item")}
    hrefs = [f"OEBPS/{item.get('href')}" for item in items.values()]
    listed = {*hrefs, "mimetype", "META-INF/container.xml", "OEBPS/package.opf"}
    if len(hrefs) != len(set(hrefs)) or listed != set(files):
        yield f"manifest and files differ: {sorted(listed ^ set(files))}"
    for item in items.values():
        href = str(item.get("href"))
        if item.get("media-type") != _TYPES[PurePosixPath(href).suffix]:
            yield f"{href} is listed as {item.get('media-type')}"
    spine = [str(items[reference.get("idref")].get("href")) for reference in package.iter(f"{_OPF}itemref")]
    if sum("nav" in (item.get("properties") or "").split() for item in items.values()) != 1:
        yield "not one navigation document"
    fixed = b"pre-paginated" in files["OEBPS/package.opf"]
    for href in [*spine, "nav.xhtml"]:
        yield from _document_problems(href, files, fixed=fixed and href in spine)


def _document_problems(href: str, files: dict[str, bytes], *, fixed: bool) -> Iterator[str]:
    root = ET.fromstring(files[f"OEBPS/{href}"])  # noqa: S314
    if not root.get("lang"):
        yield f"{href} has no language"
    if not (root.findtext(f"{_XHTML}head/{_XHTML}title") or "").strip():
        yield f"{href} has no title"
    viewports = [meta for meta in root.iter(f"{_XHTML}meta") if meta.get("name") == "viewport"]
    if len(viewports) != fixed:
        yield f"{href} has {len(viewports)} viewports"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    if len(ids) != len(set(ids)):
        yield f"{href} has an id twice"
    for image in root.iter(f"{_XHTML}img"):
        if not (image.get("alt") or "").strip():
            yield f"{href} has a picture without alt text"
    for element in root.iter():
        target = element.get("src") or element.get("href")
        if target and f"OEBPS/{target}" not in files:
            yield f"{href} refers to {target}, which is not there"

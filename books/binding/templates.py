"""The templates that HTML and EPUB share: autoescaping, and strict about names."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from taleward.books.binding.fonts import FACES
from taleward.books.binding.palette import INK, NIGHT_PAPER, PAPER, SOFT, Palette, css
from taleward.core.errors import MissingExtra

FOLDER = Path(__file__).parent / "templates"


def render(name: str, **values: Any) -> str:
    """Fill in a template; what is not marked as safe is escaped.

    Raises:
        MissingExtra: If jinja2 is not installed.
    """
    return str(_environment().get_template(name).render(**values))


def safe(text: str) -> Any:
    """Return a text as markup, which is not escaped: our own style sheets and scripts."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def style_sheet(name: str, palette: Palette, **values: Any) -> str:
    """Fill in a style sheet with the book's colors and typefaces."""
    colors = {
        "paper": css(PAPER),
        "ink": css(INK),
        "soft": css(SOFT),
        "night_paper": css(NIGHT_PAPER),
        "board": css(palette.board),
        "accent": css(palette.accent),
        "night_accent": css(palette.night_accent),
    }
    return render(name, faces=FACES, **colors, **values)


@cache
def _environment() -> Any:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtra("binding a book", "books") from error
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )

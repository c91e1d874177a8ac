"""SVG elements as text."""

from __future__ import annotations


def circle(x: float, y: float, radius: float, fill: str, *, opacity: float = 1.0) -> str:
    """Return a circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}"{_opacity(opacity)}/>'


def ellipse(x: float, y: float, rx: float, ry: float, fill: str, *, opacity: float = 1.0) -> str:
    """Return an ellipse."""
    return f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{rx:.1f}" ry="{ry:.1f}" fill="{fill}"{_opacity(opacity)}/>'


def rect(
    x: float, y: float, width: float, height: float, fill: str, *, opacity: float = 1.0, radius: float = 0.0
) -> str:
    """Return a rectangle."""
    corner = f' rx="{radius:.1f}"' if radius else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{corner} fill="{fill}"{_opacity(opacity)}/>'


def path(d: str, *, fill: str = "none", stroke: str = "", width: float = 0.0, opacity: float = 1.0) -> str:
    """Return a path; strokes have round ends."""
    line_style = (
        f' stroke="{stroke}" stroke-width="{width:.1f}" stroke-linecap="round" stroke-linejoin="round"'
        if stroke
        else ""
    )
    return f'<path d="{d}" fill="{fill}"{line_style}{_opacity(opacity)}/>'


def line(x1: float, y1: float, x2: float, y2: float, width: float, color: str, *, opacity: float = 1.0) -> str:
    """Return a line with round ends."""
    return path(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", stroke=color, width=width, opacity=opacity)


def gradient(name: str, stops: tuple[tuple[float, str, float], ...], *, radial: bool = False) -> str:
    """Return a gradient from top to bottom, or from the middle outward.

    Args:
        name: Its id.
        stops: For each stop the place from 0 to 1, the color and the opacity.
        radial: Whether it goes from the middle outward.
    """
    inner = "".join(
        f'<stop offset="{place:g}" stop-color="{color}"' + (f' stop-opacity="{opacity:g}"/>' if opacity < 1 else "/>")
        for place, color, opacity in stops
    )
    if radial:
        return f'<radialGradient id="{name}">{inner}</radialGradient>'
    return f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1">{inner}</linearGradient>'


def group(
    svg: str, x: float = 0.0, y: float = 0.0, scale: float = 1.0, *, flip: bool = False, turn: float = 0.0
) -> str:
    """Return elements moved, scaled, turned and mirrored."""
    rotate = f" rotate({turn:.1f})" if turn else ""
    return f'<g transform="translate({x:.1f} {y:.1f}){rotate} scale({-scale if flip else scale:.4f} {scale:.4f})">{svg}</g>'


def _opacity(opacity: float) -> str:
    return f' opacity="{opacity:g}"' if opacity < 1 else ""

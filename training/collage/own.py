"""Drawings that no icon set has: those made of others, and the collage's own."""

from __future__ import annotations

from collections.abc import Mapping

_UNICORN = {
    "#feaf5f": "#fbf8ff",
    "#b3875d": "#d9d0ea",
    "#a87c5b": "#cfc4e4",
    "#a4785a": "#cfc4e4",
    "#916656": "#bfb2da",
    "#865b52": "#f08fc0",
    "#895d52": "#eed7ea",
    "#946554": "#f0dcec",
    "#a67255": "#f2e2ef",
    "#c08358": "#f4e9f3",
    "#e09a5c": "#f8f1f9",
    "#9f6c55": "#e2d6ee",
    "#dd985b": "#f1eaf7",
    "#523226": "#b06a92",
    "#6b4733": "#b89ad0",
}
_HORN = (
    '<path fill="#ffd54f" d="M19.5 25.5L17 1.5L27.5 21.5Z"/>'
    '<path fill="none" stroke="#f0a72c" stroke-width="1.7" d="M18.3 9.5l3-1M18.6 14.5l5-2M19.2 20l6.4-3"/>'
)
_HELMET = (
    '<path fill="#d94a4a" d="M60 18C58 2 84 -6 104 10C92 6 80 12 72 22Z"/>'
    '<path fill="#aeb9c4" d="M12 76C6 24 36 10 64 10S122 24 116 76L104 60H24Z"/>'
    '<path fill="#c9d2db" d="M26 40C34 22 50 16 62 16C48 22 38 34 36 54H24Z"/>'
    '<path fill="#8c99a6" d="M8 74C6 62 12 52 24 52H104C116 52 122 62 120 74L108 64H20Z"/>'
    '<path fill="#aeb9c4" d="M8 72C8 100 16 112 30 118L26 66Z M120 72C120 100 112 112 98 118L102 66Z"/>'
    '<circle cx="64" cy="57" r="4" fill="#f2c14e"/><circle cx="34" cy="58" r="3" fill="#f2c14e"/>'
    '<circle cx="94" cy="58" r="3" fill="#f2c14e"/>'
)
_PIRATE_HAT = (
    '<path fill="#2f2b36" d="M2 46C16 44 22 8 64 6S112 44 126 46C112 62 92 52 64 52S16 62 2 46Z"/>'
    '<path fill="none" stroke="#f2c14e" stroke-width="4" d="M8 49C22 58 40 52 64 52S106 58 120 49"/>'
    '<circle cx="64" cy="28" r="9" fill="#f5f0e6"/><path fill="#f5f0e6" d="M59 34h10v6h-10z"/>'
    '<circle cx="60.5" cy="28" r="2.4" fill="#2f2b36"/><circle cx="67.500" cy="28" r="2.4" fill="#2f2b36"/>'
)
_GALLEON = (
    '<path stroke="#6d4a33" stroke-width="4" stroke-linecap="round" d="M40 92V14M78 92V8M110 90L124 66"/>'
    '<path fill="#f6ead2" d="M22 24C32 30 50 30 60 24C64 38 64 48 60 58C48 54 34 54 20 58C26 46 26 36 22 24Z"/>'
    '<path fill="#f6ead2" d="M58 18C70 24 88 24 99 18C104 34 104 46 99 58C86 54 70 54 57 58C63 46 63 32 58 18Z"/>'
    '<path fill="#e9d6b0" d="M24 64C34 68 48 68 58 64C61 72 61 78 58 84C46 81 34 81 22 84C26 78 27 70 24 64Z"/>'
    '<path fill="#e9d6b0" d="M62 64C72 68 88 68 97 64C100 72 100 78 97 84C86 81 72 81 61 84C65 78 65 70 62 64Z"/>'
    '<path fill="#2f2b36" d="M78 8C86 3 94 13 104 6V16C94 22 86 13 78 18Z"/><circle cx="90" cy="11.500" r="2.600" fill="#fff"/>'
    '<!--front--><path fill="#8a5a3a" d="M6 80C8 90 16 96 30 95H98C110 95 118 88 122 78C120 104 108 122 96 124H32C14 122 6 104 6 80Z"/>'
    '<path fill="#6d4529" d="M9 94C12 112 20 122 32 124H96C106 122 114 110 119 96C108 106 98 106 92 106H34C22 106 14 102 9 94Z"/>'
    '<path fill="#a5714a" d="M6 80C8 90 16 96 30 95H98C110 95 118 88 122 78L123 84C118 94 110 100 98 100H30C16 101 7 95 5 86Z"/>'
    '<g fill="#3b2a20"><circle cx="38" cy="108" r="4"/><circle cx="56" cy="108" r="4"/><circle cx="74" cy="108" r="4"/></g>'
)
_BALLOON = (
    '<path fill="#e4572e" d="M64 4C32 4 12 26 12 50C12 72 40 86 50 96H78C88 86 116 72 116 50C116 26 96 4 64 4Z"/>'
    '<path fill="#f2b134" d="M64 4C46 4 34 28 34 52C34 74 48 82 55 90H64H73C80 86 94 74 94 52C94 28 82 4 64 4Z"/>'
    '<path fill="#fbf0d4" d="M64 4C56 4 52 28 52 52C52 74 58 82 60 90H68C70 86 76 74 76 52C76 28 72 4 64 4Z"/>'
    '<path stroke="#6d4a33" stroke-width="1.600" d="M52 92L55 112M76 92L73 112"/>'
    '<!--front--><path fill="#a5714a" d="M50 110H78L75 127H53Z"/><path fill="#8a5a3a" d="M49 109H79V113H49Z"/>'
)
_TABLE = (
    '<path fill="#8a5a3a" d="M14 62H24L20 124H10ZM104 62H114L118 124H108Z"/>'
    '<path fill="#754a2f" d="M34 62H42V112H34ZM86 62H94V112H86Z"/><path fill="#b07a4c" d="M4 50H124L120 66H8Z"/>'
    '<path fill="#c98f5e" d="M12 44H116L124 52H4Z"/>'
)
_BENCH = (
    '<path fill="#8a5a3a" d="M14 60H22V122H14ZM106 60H114V122H106Z"/><path fill="#c98f5e" d="M4 84H124V94H4Z"/>'
    '<path fill="#b07a4c" d="M8 56H120V65H8ZM8 69H120V78H8Z"/><path fill="#9a6840" d="M4 94H124V99H4Z"/>'
)
_BRIDGE = (
    '<path fill="#b9a793" d="M0 84C30 54 98 54 128 84V118H112C108 92 88 82 64 82S20 92 16 118H0Z"/>'
    '<path fill="#cfc0ad" d="M0 76C30 46 98 46 128 76V86C98 58 30 58 0 86Z"/>'
    '<path fill="none" stroke="#9c8a76" stroke-width="2" d="M20 82l4 10M40 72l3 10M64 69v10M88 72l-3 10M108 82l-4 10"/>'
)
_SANDCASTLE = (
    '<path fill="#e3bd78" d="M12 122V66H20V74H28V66H36V74H44V58H52V66H60V58H68V66H76V58H84V74H92V66H100V74H108V66H116V122Z"/>'
    '<path fill="#d2a65f" d="M56 122V100C56 90 72 90 72 100V122ZM22 88h10v12H22zM96 88h10v12H96z"/>'
    '<path stroke="#8a5a3a" stroke-width="2.500" d="M64 58V30"/><path fill="#e4572e" d="M64 30L86 37L64 45Z"/>'
)
DRAWN: Mapping[str, str] = {
    "galleon": _GALLEON,
    "hot-air-balloon": _BALLOON,
    "table": _TABLE,
    "bench": _BENCH,
    "bridge": _BRIDGE,
    "sandcastle": _SANDCASTLE,
}
"""The collage's own drawings."""


def made_of(icon: str, icons: Mapping[str, str]) -> str | None:
    """Return a drawing made of others, `None` if the icon is not one of these."""
    match icon:
        case "unicorn":
            horse = icons["horse"]
            for old, new in _UNICORN.items():
                horse = horse.replace(old, new)
            return horse + _HORN
        case "knight":
            return icons["man-light-skin-tone"] + _HELMET
        case "pirate":
            return icons["man-light-skin-tone-beard"] + _PIRATE_HAT
    return None

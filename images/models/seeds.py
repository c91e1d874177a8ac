"""Seeds of variations."""

from __future__ import annotations

import hashlib
import secrets

from taleward.images.models.request import MAX_SEED


def variation_seeds(seed: int | None, n: int) -> tuple[int, ...]:
    """Return the seeds of n variations.

    The first is the seed itself, so that drawing one picture with a variation's seed gives that variation again. The
    others are digests, so that two requests with neighboring seeds share none.

    Args:
        seed: The first seed, from 0 to 2**32 - 1; random if `None`.
        n: How many.
    """
    first = secrets.randbelow(MAX_SEED + 1) if seed is None else seed
    others = (hashlib.sha256(f"{first}/{number}".encode()).digest() for number in range(1, n))
    return (first, *(int.from_bytes(digest[:4], "big") for digest in others))

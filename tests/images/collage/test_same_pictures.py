"""The same seed gives the same bytes as in earlier versions: caches and books rely on it.

If pictures change on purpose, raise `_VERSION` in `images/collage/model.py`, which is part of the cache's key, look at
the new pictures, and take the digests from the test's message.
"""

from __future__ import annotations

import hashlib

import pytest

from taleward.images.collage import model as collage
from taleward.images.collage.model import CollageModel
from taleward.images.prompt_spec import CastMember, PromptSpec, TextShown

VERSION = 2
"""The collage's version that the digests are of."""

PICTURES = {
    "a fox asleep under a tree in a snowy forest at night": "60e29072740ff700",
    "a girl with a red balloon in the park": "060b5e11287243d2",
    "a king on a horse in front of a castle": "b53a9cdf08926c7c",
    "three rabbits and a giant bear in a boat on the sea": "7870d1e67837dd64",
    "a knight riding a dragon over the mountains in a thunderstorm": "f1a7bdebe70e256b",
    "a robot dancing in the kitchen": "f3022ff0054611c3",
    "two children in a tree house in autumn": "71eb58b004f03550",
    "a whale, a crab and five fish under water": "2d8f23e23b4f3ffb",
    "an astronaut waving on the moon beside a rocket": "335bd393530c4e50",
    "a witch flying in the jungle, a monkey and a parrot": "95b867f12d4a19a0",
    "a boy flying a kite on a hill at sunset": "d870889f9123b7c4",
    "a grandmother reading a book on a chair in the living room": "05bcfa6482f099be",
    "a bear, a wolf, a pig, a hen, a cow, a duck and a cat on a farm": "b39cddd7c032d98b",
    "a dog in a basket in the desert": "3b12bc43723732d0",
    "a bat in a cave in fog": "dc284331cfc241f9",
}


def digest(subject: str) -> str:
    cast = (CastMember(name="Mira", kind="a young girl", looks=("curly red hair", "a green dress", "glasses")),)
    spec = PromptSpec(subject=subject, cast=cast, art_style="watercolor", text_shown=TextShown(words="Good night"))
    pictures = [CollageModel("svg").invoke(s, n=2, seed=11)[-1] for s in (PromptSpec(subject=subject), spec)]
    return hashlib.sha256(b"".join(picture.data for picture in pictures)).hexdigest()[:16]


@pytest.mark.parametrize("subject", PICTURES)
def test_a_picture_is_what_it_was(subject: str) -> None:
    assert digest(subject) == PICTURES[subject], f"for collage version {collage._VERSION}: {digest(subject)}"
    assert collage._VERSION == VERSION, "take new digests for a new version"

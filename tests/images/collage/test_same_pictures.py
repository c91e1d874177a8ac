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

VERSION = 1
"""The collage's version that the digests are of."""

PICTURES = {
    "a fox asleep under a tree in a snowy forest at night": "d00cc81200074807",
    "a girl with a red balloon in the park": "8ac1c33c2726ba63",
    "a king on a horse in front of a castle": "c6b7276868193ce6",
    "three rabbits and a giant bear in a boat on the sea": "96c378114244c074",
    "a knight riding a dragon over the mountains in a thunderstorm": "2944ff3298a6e889",
    "a robot dancing in the kitchen": "c4c3b45450ebbf1e",
    "two children in a tree house in autumn": "dc9e049772ceaa7f",
    "a whale, a crab and five fish under water": "ac5404a915a276c7",
    "an astronaut waving on the moon beside a rocket": "5b763622085151be",
    "a witch flying in the jungle, a monkey and a parrot": "5738c79d803c41c7",
    "a boy flying a kite on a hill at sunset": "16ec1c0141c668a6",
    "a grandmother reading a book on a chair in the living room": "7b4bf925a90d2be0",
    "a bear, a wolf, a pig, a hen, a cow, a duck and a cat on a farm": "163233299f90fc6f",
    "a dog in a basket in the desert": "471c72c87c79a8a2",
    "a bat in a cave in fog": "0da86440084c205d",
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

"""Scenes of a tale as prompts: where each begins and ends, who is in it, and what is to be seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Tale
from taleward.images.prompt_spec import CastMember, PromptSpec
from taleward.images.prompts.cast import cast_of
from taleward.images.prompts.craft import complete_by_rules
from taleward.images.prompts.lexicon import picture_lexicon
from taleward.images.prompts.pronouns import Referent, find_gender, resolve_pronouns
from taleward.images.prompts.read_prompt import place_in
from taleward.moderation.text.sentences import sentences

_QUOTED = re.compile(r"[\"“][^\"”]*[\"”]?,?")
_LEAD = re.compile(r"^(?:(?:and|but|so|then|now|suddenly|finally|meanwhile|once upon a time|one \w+|the next \w+|at last|after that|that \w+),?\s+)+", re.I)  # fmt: skip  # noqa: E501
_INVISIBLE = re.compile(
    r"\b(?:thought|knew|wondered|remembered|believed|hoped|decided|learned|understood|wished|meant|said|asked|replied"
    r"|always|never|everyone knew)\b",
    re.IGNORECASE,
)
_MIN_SCENE_CHARS = 60
_MAX_PROBE_CHARS = 2_000
_DEFAULT_STYLE = "storybook illustration"
_SHARED_FIELDS = (
    "art_style",
    "influences",
    "techniques",
    "colors",
    "negative",
    "mood",
    "aspect_ratio",
    "quality",
    "options",
)


class Scene(FrozenModel):
    """A scene of a tale.

    Attributes:
        text: Its sentences, as they stand in the tale.
        start: Offset of its first character in the tale.
        end: Offset after its last character.
        key_sentence: The sentence the picture shows, with names for pronouns.
        spec: The prompt for the picture.
    """

    text: str
    start: int
    end: int
    key_sentence: str
    spec: PromptSpec


class Storyboard(FrozenModel):
    """The scenes of a tale and its cast.

    Attributes:
        cast: Everyone in the tale, with looks that are the same in every scene.
        scenes: The scenes in order; their texts, joined, are the tale.
    """

    cast: tuple[CastMember, ...]
    scenes: tuple[Scene, ...]


def storyboard(
    tale: Tale | str,
    *,
    scenes: int = 4,
    style: PromptSpec | None = None,
    cast: Sequence[CastMember] | None = None,
    seed: int = 0,
) -> Storyboard:
    """Divide a tale into scenes, each with a prompt for its picture.

    A scene ends where a sentence ends, at the end of a paragraph if one is near. Its prompt shows the sentence in which
    most is to be seen, with pronouns replaced by names where it is certain whom they mean, and everyone in the scene
    with the looks they have in the whole tale.

    Args:
        tale: A released tale, or its text.
        scenes: How many scenes, at most; a short tale has fewer.
        style: Art style, colors, mood, format and options of all scenes, and light and viewpoint if it has any; its
            empty fields are filled as `craft` does. `None` is a storybook illustration.
        cast: The cast, if you know better than the rules of `cast_of`.
        seed: Chooses colors, light and viewpoints, and clothes of characters that the tale does not describe.

    Raises:
        Refused: If the tale was not released.
        InvalidInputs: If there is no text, or `scenes` is below 1.
    """
    text = tale if isinstance(tale, str) else tale.text
    if not text.strip() or scenes < 1:
        got = f"got scenes={scenes}" if scenes < 1 else "got no text"
        raise InvalidInputs(None, [f"a storyboard needs a text, and 1 scene or more; {got}"])
    members = tuple(cast) if cast is not None else cast_of(text, seed=seed)
    all_sentences = sentences(text)
    stripped = [sentence.strip() for sentence in all_sentences]
    names = [member.name for member in members]
    referents = [
        Referent(name=m.name, gender=find_gender(m.name, m.kind, stripped, [n for n in names if n != m.name]))
        for m in members
    ]
    resolved = resolve_pronouns(stripped, referents)
    base = complete_by_rules(style or PromptSpec(subject=text[:200], art_style=_DEFAULT_STYLE), seed=seed)
    place, start, result = "", 0, []
    lexicon, lighting = picture_lexicon(), base.lighting
    for number, (first, last) in enumerate(_divide(all_sentences, scenes)):
        scene_text = "".join(all_sentences[first:last])
        within = resolved[first:last]
        key_index, key = _key_sentence(within, referents)
        places = [found for sentence in within if (found := place_in(_QUOTED.sub("", sentence)))]
        before_key = [found for s in within[: key_index + 1] if (found := place_in(_QUOTED.sub("", s)))]
        setting = "" if place_in(key) else (before_key or [place])[-1]
        if setting and setting.split()[-1] in key.lower():
            setting = ""
        present = tuple(
            member
            for member, referent in zip(members, referents, strict=True)
            if any(referent.is_named_in(sentence) for sentence in within)
        )
        probe = PromptSpec(subject=key, details=(scene_text[:_MAX_PROBE_CHARS],), mood=base.mood)
        shot = complete_by_rules(probe, seed=seed * 1000 + number)
        # The light changes when the tale says what time it is.
        if not (style and style.lighting) and lexicon.time_in(probe.scene):
            lighting = shot.lighting
        spec = PromptSpec(
            subject=key.rstrip(".!?…") or key,
            setting=setting,
            cast=present,
            lighting=lighting,
            camera=base.camera if style and style.camera else shot.camera,
        ).model_copy(update={name: getattr(base, name) for name in _SHARED_FIELDS})
        result.append(Scene(text=scene_text, start=start, end=start + len(scene_text), key_sentence=key, spec=spec))
        start, place = start + len(scene_text), (places or [place])[-1]
    return Storyboard(cast=members, scenes=tuple(result))


def _divide(all_sentences: Sequence[str], scenes: int) -> list[tuple[int, int]]:
    """Return first and last (exclusive) sentence of each scene, of about the same length, best at paragraphs' ends."""
    total = sum(map(len, all_sentences))
    scenes = max(1, min(scenes, len(all_sentences), total // _MIN_SCENE_CHARS))
    ends, length = [], 0
    for sentence in all_sentences:
        length += len(sentence)
        ends.append(length)
    cuts, previous = [], 0
    for number in range(1, scenes):
        # Leave a sentence for each scene that is still to come.
        possible = range(previous + 1, len(all_sentences) - (scenes - number) + 1)
        ideal, tolerance = total * number / scenes, total / scenes / 3

        def cost(cut: int, ideal: float = ideal, tolerance: float = tolerance) -> float:
            ends_paragraph = "\n" in all_sentences[cut - 1][len(all_sentences[cut - 1].rstrip()) :]
            return abs(ends[cut - 1] - ideal) - (tolerance if ends_paragraph else 0)

        previous = min(possible, key=cost)
        cuts.append(previous)
    bounds = [0, *cuts, len(all_sentences)]
    return list(pairwise(bounds))


def _key_sentence(candidates: Sequence[str], cast: Sequence[Referent]) -> tuple[int, str]:
    """Return the sentence in which most is to be seen, without speech and linking words, and its index before it."""
    spoken_out = [_LEAD.sub("", " ".join(_QUOTED.sub(" ", sentence).split())).strip(" ,") for sentence in candidates]

    def visible(index: int) -> tuple[float, int]:
        text = spoken_out[index]
        words = len(text.split())
        score = 2.0 * any(member.is_named_in(text) for member in cast) + 1.5 * bool(place_in(text))
        score += min(words, 14) / 14 - 2.0 * bool(_INVISIBLE.search(text)) - 0.05 * max(0, words - 25)
        return (score, -index)

    index = max(range(len(candidates)), key=visible)
    best = spoken_out[index] if any(c.isalnum() for c in spoken_out[index]) else " ".join(candidates[index].split())
    return index, best[:1].upper() + best[1:]

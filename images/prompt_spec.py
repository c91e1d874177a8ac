"""A prompt for a picture as data: what is shown, how it is drawn, and in which format."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator

from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.surrogates import join_surrogates
from taleward.images.aspect_ratio import AspectRatio, parse_ratio
from taleward.images.picture_phrases import (
    join_phrases,
    join_words,
    lighting_phrase,
    mood_phrase,
    place_phrase,
    sentences,
)

Platform = Literal["openai", "midjourney", "diffusers", "sd_cpp", "collage"]
"""A kind of image model that takes options of its own."""

PictureQuality = Literal["draft", "standard", "high"]

OptionValue = str | bool | int | float


def _one_line(text: object) -> object:
    """Replace control characters and runs of white space by one space each; leave other types to Pydantic."""
    if not isinstance(text, str):
        return text
    return " ".join("".join(c if c.isprintable() or ord(c) > 0xFF else " " for c in join_surrogates(text)).split())


Phrase = Annotated[str, Field(max_length=4_000), BeforeValidator(_one_line)]
"""Words on one line."""

Words = Annotated[str, Field(min_length=1, max_length=4_000), BeforeValidator(_one_line)]
"""Words on one line, at least one."""


class TextShown(FrozenModel):
    """Words that can be read in the picture.

    Attributes:
        words: The words, exactly as they are to be written.
        font: How the letters look, such as `"rounded, hand-painted"`.
        place: Where they stand, such as `"on the banner"`.
    """

    words: Words
    font: Phrase = ""
    place: Phrase = ""

    def sentence(self, *, with_font: bool = True) -> str:
        """Return the words and where they stand, without a full stop."""
        place = f" {place_phrase(self.place)}" if self.place else ""
        letters = f", in {self.font} letters" if with_font and self.font else ""
        return f'The words "{self.words}" are written{place}{letters}'


class CastMember(FrozenModel):
    """A character who looks the same in every picture of a tale.

    Attributes:
        name: The name the tale uses.
        kind: Who or what it is, such as `"a young rabbit"`.
        looks: What never changes about its appearance, such as `("gray fur", "a blue scarf")`.
    """

    name: Words
    kind: Phrase = ""
    looks: tuple[Words, ...] = ()

    @property
    def sentence(self) -> str:
        """Who it is and how it looks, without a full stop."""
        if self.kind:
            return f"{self.name} is {self.kind}" + (f": {', '.join(self.looks)}" if self.looks else "")
        return f"{self.name}: {', '.join(self.looks)}" if self.looks else f"With {self.name}"


class PromptSpec(FrozenModel):
    """A prompt for a picture; every image model draws from one.

    Fields are phrases in plain English, without the syntax of any platform: renderers add it, and they treat syntax
    found in a phrase as words.

    Attributes:
        subject: Who or what is in the picture, such as `"an old Victorian mansion"`.
        details: What is to be seen of the subject, such as `("shrouded in fog",)`.
        setting: Where and when, such as `"on a hilltop at night"`.
        action: What the subject does, such as `"running after a butterfly"`.
        art_style: The medium or style, such as `"watercolor"`.
        influences: Art movements and artists of the past, such as `("Impressionism",)`.
        techniques: How the medium is used, such as `("wet-on-wet washes",)`.
        lighting: The light, such as `"dramatic lighting"`.
        camera: Viewpoint, distance and lens, such as `"low-angle view"`.
        colors: The palette, such as `("deep blue", "gold")`.
        text_shown: Words that can be read in the picture.
        mood: The feeling, such as `"mysterious"`.
        negative: What must not be in the picture, such as `("people", "letters")`.
        aspect_ratio: `square`, `landscape` (3:2), `portrait` (2:3), or width:height such as `16:9`.
        quality: How much work to spend on it.
        cast: The characters in the picture.
        options: Options for one platform only, by its name: `{"midjourney": {"stylize": 750}}`.
    """

    subject: Words
    details: tuple[Words, ...] = ()
    setting: Phrase = ""
    action: Phrase = ""
    art_style: Phrase = ""
    influences: tuple[Words, ...] = ()
    techniques: tuple[Words, ...] = ()
    lighting: Phrase = ""
    camera: Phrase = ""
    colors: tuple[Words, ...] = ()
    text_shown: TextShown | None = None
    mood: Phrase = ""
    negative: tuple[Words, ...] = ()
    aspect_ratio: AspectRatio = "square"
    quality: PictureQuality = "standard"
    cast: tuple[CastMember, ...] = ()
    options: FrozenMapping[Platform, FrozenMapping[str, OptionValue]] = FrozenDict()

    @field_validator("cast")
    @classmethod
    def _check_names(cls, cast: tuple[CastMember, ...]) -> tuple[CastMember, ...]:
        names = [member.name.casefold() for member in cast]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"every name may stand in the cast once; given twice: {', '.join(twice)}"
            raise ValueError(msg)
        return cast

    @classmethod
    def of(cls, text: str) -> Self:
        """Return a spec whose subject is a plain sentence; `craft` fills in more.

        Raises:
            InvalidInputs: If the text is empty or has more than 4,000 characters.
        """
        subject = _one_line(text)
        if not isinstance(subject, str) or not 1 <= len(subject) <= 4_000:
            got = "no text" if not subject else f"{len(str(subject)):,} characters"
            raise InvalidInputs(
                None,
                [f"a picture needs a description of 1 to 4,000 characters, got {got}"],
                hint="Say in a sentence what is to be seen, such as 'a fox asleep in a snowy forest'.",
            )
        return cls(subject=subject.rstrip(".") or subject)

    @property
    def ratio(self) -> tuple[int, int]:
        """Width and height in lowest terms, such as `(16, 9)`."""
        return parse_ratio(self.aspect_ratio)

    @property
    def prompt(self) -> str:
        """The description in plain English sentences, without `negative`: models tend to draw what a text negates."""
        shown = self.text_shown.sentence() if self.text_shown else ""
        return sentences([self.scene, *(member.sentence for member in self.cast), shown, self.style, self.look])

    @property
    def alt_text(self) -> str:
        """What the picture shows, for a reader who cannot see it: no camera, quality or other instruction."""
        cast = [member.sentence for member in self.cast if member.kind or member.looks]
        shown = self.text_shown.sentence(with_font=False) if self.text_shown else ""
        return sentences([self.scene, *cast, shown, f"Style: {self.art_style}" if self.art_style else ""])

    @property
    def scene(self) -> str:
        """Subject, action, setting and details in one phrase."""
        parts = (self.subject, self.action, place_phrase(self.setting))
        return join_phrases(" ".join(part for part in parts if part), *self.details)

    @property
    def style(self) -> str:
        """Art style, influences and techniques in one phrase; empty if none is given."""
        return join_phrases(
            self.art_style,
            f"influenced by {join_words(self.influences)}" if self.influences else "",
            f"with {join_words(self.techniques)}" if self.techniques else "",
        )

    @property
    def look(self) -> str:
        """Lighting, camera, colors and mood in one phrase; empty if none is given."""
        colors = f"in {join_words(self.colors)}" if self.colors else ""
        return join_phrases(lighting_phrase(self.lighting), self.camera, colors, mood_phrase(self.mood))

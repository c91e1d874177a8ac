"""What every renderer returns: the prompt, what is sent with it, and notes about what could not be rendered so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.yaml_files import did_you_mean
from taleward.images.prompt_spec import CastMember, OptionValue, Platform, PromptSpec, TextShown
from taleward.images.prompts.sanitize import sanitize

_PHRASE_FIELDS = ("setting", "action", "art_style", "lighting", "camera", "mood")
_LIST_FIELDS = ("details", "influences", "techniques", "colors", "negative")


class RenderedPrompt(FrozenModel):
    """A prompt in the form that one platform takes.

    Attributes:
        platform: The platform.
        model: The model or family it was rendered for; empty if the platform has one form for all.
        prompt: The words to send.
        arguments: What is sent with them, by the names that the platform's own client uses.
        notes: What the platform ignores, cuts off or draws otherwise than asked, each with what to do about it.
    """

    platform: Platform
    model: str = ""
    prompt: str
    arguments: FrozenMapping[str, OptionValue] = FrozenDict()
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The prompt to copy."""
        return self.prompt


def sanitized_spec(spec: PromptSpec, platform: Platform) -> PromptSpec:
    """Return a spec whose phrases hold no syntax of the platform; those that were nothing else are left out.

    Raises:
        InvalidInputs: If nothing is left of the subject.
    """

    def words(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(clean for text in texts if (clean := sanitize(text, platform)))

    subject = sanitize(spec.subject, platform)
    if not any(c.isalnum() for c in subject):
        raise InvalidInputs(
            None, [f"the subject {spec.subject!r} has no words"], hint="Say in words what is to be seen."
        )
    shown = spec.text_shown
    shown_words = sanitize(shown.words, platform) if shown else ""
    phrases = {name: sanitize(getattr(spec, name), platform) for name in _PHRASE_FIELDS}
    lists = {name: words(getattr(spec, name)) for name in _LIST_FIELDS}
    cast = [
        CastMember(name=name, kind=sanitize(member.kind, platform), looks=words(member.looks))
        for member in spec.cast
        if (name := sanitize(member.name, platform))
    ]
    update = {
        "subject": subject,
        **phrases,
        **lists,
        "cast": tuple(cast),
        "text_shown": TextShown(
            words=shown_words, font=sanitize(shown.font, platform), place=sanitize(shown.place, platform)
        )
        if shown and shown_words
        else None,
    }
    return spec.model_copy(update=update)


def phrases_of(spec: PromptSpec) -> list[str]:
    """Return scene, cast, words shown, style and look as phrases, without those that are empty."""
    shown = spec.text_shown.sentence() if spec.text_shown else ""
    shown = shown[:1].lower() + shown[1:]
    parts = [spec.scene, *(member.sentence for member in spec.cast), shown, spec.style, spec.look]
    return [part for part in parts if part]


def check_options(
    platform: str, options: Mapping[str, object], known: Iterable[str], problems: Iterable[str] = ()
) -> None:
    """Raise an error that lists all unknown and wrong options of a platform.

    Raises:
        InvalidInputs: If there is any.
    """
    known = sorted(known)
    unknown = [
        f"unknown option {name!r} for {platform};{did_you_mean(name, known)} known: {', '.join(known)}"
        for name in options
        if name not in known
    ]
    if found := [*unknown, *problems]:
        raise InvalidInputs(None, found, hint=f"Change options={{{platform!r}: ...}} of the spec.")


def number_problem(name: str, value: object, low: float, high: float, *, whole: bool) -> str | None:
    """Return what is wrong with the value of an option that must be a number in a range; `None` if nothing."""
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if is_number and low <= float(str(value)) <= high:
        return None
    kind = "a whole number" if whole else "a number"
    return f"{name} must be {kind} from {low:g} to {high:g}; got {value!r}"


def choice_problem(name: str, value: object, choices: Iterable[object]) -> str | None:
    """Return what is wrong with the value of an option that must be one of several; `None` if nothing."""
    choices = list(choices)
    if any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices):
        return None
    return f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}"

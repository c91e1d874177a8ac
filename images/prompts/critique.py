"""Say what a prompt leaves open, where it contradicts itself, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from taleward.core.frozen_model import FrozenModel
from taleward.images.picture_phrases import join_words
from taleward.images.prompt_spec import PromptSpec
from taleward.images.prompts.clip_tokens import CLIP_TOKENS, estimate_clip_tokens
from taleward.images.prompts.craft import complete_by_rules
from taleward.images.prompts.lexicon import contains_any, picture_lexicon
from taleward.images.prompts.read_prompt import read_prompt, take_unknown_influences
from taleward.images.prompts.renderers.midjourney import parse_midjourney

_MANY_DETAILS = 8
_ELEMENTS: dict[str, tuple[str, bool]] = {
    "setting": ("where and when it is", True),
    "art_style": ("how it is drawn", True),
    "lighting": ("the light", True),
    "details": ("what the subject looks like", True),
    "action": ("what the subject does", False),
    "mood": ("the mood", False),
    "colors": ("the colors", False),
    "camera": ("the viewpoint", False),
    "techniques": ("the technique", False),
    "influences": ("an art movement or an artist of the past", False),
}


class PromptFinding(FrozenModel):
    """Something to change in a prompt.

    Attributes:
        kind: `missing` and `optional` are elements that the prompt leaves to chance; `optional` ones matter less.
            `contradiction`, `vague`, `negation`, `too_long`, `influence` and `overloaded` are about what it says.
        field: The field of the spec it is about; empty if it is about the whole.
        message: What is the matter.
        suggestion: What to write.
    """

    kind: Literal["missing", "optional", "contradiction", "vague", "negation", "too_long", "influence", "overloaded"]
    field: str = ""
    message: str
    suggestion: str


class PromptCritique(FrozenModel):
    """What is to be said about a prompt.

    Attributes:
        spec: The prompt as it was understood.
        findings: What to change, what matters most first.
    """

    spec: PromptSpec
    findings: tuple[PromptFinding, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields that are empty, those that matter most first."""
        return tuple(finding.field for finding in self.findings if finding.kind in ("missing", "optional"))

    @property
    def is_complete(self) -> bool:
        """Whether nothing but optional elements is left to change."""
        return all(finding.kind == "optional" for finding in self.findings)


def critique(prompt: str | PromptSpec) -> PromptCritique:
    """Return what is missing in a prompt and what contradicts, each with a suggestion.

    Args:
        prompt: A prompt in plain English, a Midjourney prompt with its parameters, or a spec.

    Raises:
        InvalidInputs: If the prompt is empty or too long, or has a wrong parameter of Midjourney.
    """
    spec = prompt if isinstance(prompt, PromptSpec) else _read(prompt)
    checks: tuple[Callable[[PromptSpec], Iterator[PromptFinding]], ...] = (
        _contradictions,
        _unwanted_and_wanted,
        _missing,
        _negations,
        _influences,
        _vague_words,
        _length,
    )
    findings = [finding for check in checks for finding in check(spec)]
    return PromptCritique(spec=spec, findings=tuple(sorted(findings, key=lambda finding: finding.kind == "optional")))


def _read(prompt: str) -> PromptSpec:
    if " --" not in prompt and not prompt.lstrip().lower().startswith("/imagine"):
        return read_prompt(prompt)
    parsed = parse_midjourney(prompt)
    spec = read_prompt(" ".join(part.text for part in parsed.parts))
    parameters = dict(parsed.parameters)
    negative = tuple(str(parameters.pop("no", "")).split(", ")) if "no" in parameters else ()
    return PromptSpec.model_validate(
        {
            **spec.model_dump(),
            "aspect_ratio": parameters.pop("ar", spec.aspect_ratio),
            "negative": (*spec.negative, *negative),
            "options": {"midjourney": parameters} if parameters else {},
        }
    )


def _missing(spec: PromptSpec) -> Iterator[PromptFinding]:
    completed = complete_by_rules(spec)
    for name, (what, essential) in _ELEMENTS.items():
        if getattr(spec, name):
            continue
        value = getattr(completed, name)
        example = join_words(value) if isinstance(value, tuple) else value
        if not example:
            continue
        yield PromptFinding(
            kind="missing" if essential else "optional",
            field=name,
            message=f"it does not say {what}",
            suggestion=f"add it, such as {example!r}",
        )


def _contradictions(spec: PromptSpec) -> Iterator[PromptFinding]:
    # "Midnight blue" is a color, not a time of day.
    lexicon, text = picture_lexicon(), _all_words(spec).replace("idnight blue", "eep blue")
    for about, groups in lexicon.contradictions.items():
        found = [word for words in groups.values() if (word := contains_any(text, words))]
        if len(found) > 1:
            yield PromptFinding(
                kind="contradiction",
                message=f"{' and '.join(map(repr, found))} contradict each other ({about})",
                suggestion=f"decide for one of them, such as {found[0]!r}",
            )
    families = {
        style.family: name
        for name, style in lexicon.styles.items()
        if contains_any(f"{spec.art_style}, {', '.join(spec.details)}", (name, *style.words))
    }
    if len(families) > 1 and "photographed" in families:
        styles = sorted(families.values())
        yield PromptFinding(
            kind="contradiction",
            field="art_style",
            message=f"a picture cannot be {join_words(styles)} at once",
            suggestion=f"decide for one, such as {next(s for s in styles if s != families['photographed'])!r}",
        )


def _unwanted_and_wanted(spec: PromptSpec) -> Iterator[PromptFinding]:
    text = _all_words(spec)
    for unwanted in spec.negative:
        if contains_any(text, {unwanted, unwanted.removesuffix("s")}):
            yield PromptFinding(
                kind="contradiction",
                field="negative",
                message=f"{unwanted!r} is asked for and ruled out",
                suggestion=f"leave {unwanted!r} out of one of them",
            )
    if spec.text_shown and (word := contains_any(", ".join(spec.negative), ("text", "letters", "words", "writing"))):
        yield PromptFinding(
            kind="contradiction",
            field="negative",
            message=f"{word!r} is ruled out, but the words {spec.text_shown.words!r} are to be shown",
            suggestion=f"leave {word!r} out of `negative`",
        )


def _negations(spec: PromptSpec) -> Iterator[PromptFinding]:
    for name in ("subject", "action", "setting", "details"):
        value = getattr(spec, name)
        for text in value if isinstance(value, tuple) else (value,):
            if word := contains_any(text, ("not", "no", "without", "never", "don't", "doesn't", "isn't")):
                yield PromptFinding(
                    kind="negation",
                    field=name,
                    message=f"{text!r} says with {word!r} what is not there; models tend to draw it all the same",
                    suggestion="say what is there instead, or move it to `negative`",
                )


def _influences(spec: PromptSpec) -> Iterator[PromptFinding]:
    texts = [spec.subject, spec.action, spec.setting, spec.art_style, *spec.details]
    unknown = [name for text in texts for name in take_unknown_influences(text)[1]]
    unknown += [name for name in spec.influences if picture_lexicon().influence(name) is None]
    for name in unknown:
        yield PromptFinding(
            kind="influence",
            field="influences",
            message=f"{name!r} is no art movement or artist of the past that is known here",
            suggestion="name a movement, such as 'Impressionism', or say what you like about the style",
        )


def _vague_words(spec: PromptSpec) -> Iterator[PromptFinding]:
    text = _all_words(spec)
    if found := [word for word in picture_lexicon().vague if contains_any(text, [word])]:
        yield PromptFinding(
            kind="vague",
            message=f"{join_words([repr(word) for word in found])} can mean anything",
            suggestion="say what makes it so: a shape, a color, a light",
        )


def _length(spec: PromptSpec) -> Iterator[PromptFinding]:
    if len(spec.details) > _MANY_DETAILS:
        yield PromptFinding(
            kind="overloaded",
            field="details",
            message=f"{len(spec.details)} details compete for attention",
            suggestion=f"keep the {_MANY_DETAILS // 2} that matter most",
        )
    tokens = estimate_clip_tokens(spec.prompt)
    if tokens > CLIP_TOKENS:
        yield PromptFinding(
            kind="too_long",
            message=f"it has about {tokens} tokens; Stable Diffusion 1, 2 and XL read {CLIP_TOKENS}",
            suggestion="shorten it for these models; others read it whole",
        )


def _all_words(spec: PromptSpec) -> str:
    return spec.prompt

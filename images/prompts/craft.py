"""Turn an idea such as "a house" into a complete prompt, with a language model or by rules and the lexicon."""

from __future__ import annotations

import random
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taleward.agents.untrusted_text import DATA_RULE, fence_text
from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.images.prompt_spec import PromptSpec
from taleward.images.prompts.lexicon import PictureLexicon, picture_lexicon
from taleward.images.prompts.read_prompt import read_prompt, take_unknown_influences
from taleward.moderation.judges.strict_parsing import Unparsable, first_problem, strict_json

_MAX_ATTEMPTS = 2
_TEXT_FIELDS = ("setting", "action", "art_style", "lighting", "camera", "mood")
_MOODS_FOR_CHILDREN = ("peaceful", "cozy", "joyful", "magical")
_WITH_LAMPS = ("building", "person", "thing")
_LIST_FIELDS = ("details", "influences", "techniques", "colors", "negative")
_INSTRUCTION = f"""You complete ideas for pictures in children's books. {DATA_RULE}
Keep everything the idea says, and add what is missing: setting, action, art style, light, viewpoint, colors, mood.
Name only art movements, and artists who died before 1956; never a living artist. Nothing frightening, no brands, no \
real persons.
Answer with one JSON object and nothing else, with exactly these keys: "subject", "details", "setting", "action", \
"art_style", "influences", "techniques", "lighting", "camera", "colors", "mood", "negative". "details", "influences", \
"techniques", "colors" and "negative" are lists of short phrases; the others are one short phrase each."""


class CraftedPrompt(FrozenModel):
    """A crafted prompt, and how it came about.

    Attributes:
        spec: The spec.
        method: `model` if a language model wrote it, `rules` otherwise.
        notes: What was left out or done otherwise, and why.
    """

    spec: PromptSpec
    method: Literal["model", "rules"]
    notes: tuple[str, ...] = ()


class _ModelFields(BaseModel):
    """What a model answers; anything else is rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)

    subject: str = Field(min_length=1, max_length=400)
    details: list[str] = Field(max_length=8)
    setting: str = Field(max_length=400)
    action: str = Field(max_length=400)
    art_style: str = Field(max_length=200)
    influences: list[str] = Field(max_length=4)
    techniques: list[str] = Field(max_length=6)
    lighting: str = Field(max_length=200)
    camera: str = Field(max_length=200)
    colors: list[str] = Field(max_length=6)
    mood: str = Field(max_length=200)
    negative: list[str] = Field(max_length=10)


def craft(
    idea: str | PromptSpec,
    model: str | BaseChatModel | None = None,
    *,
    seed: int = 0,
    style: str | None = None,
    **options: Any,
) -> CraftedPrompt:
    """Complete an idea to a prompt that says setting, action, style, light, viewpoint, colors and mood.

    What the idea says stays as it is. With the same idea, seed and style, the rules always give the same prompt. If the
    model fails or answers in another form, the rules take over, and a note says so.

    Args:
        idea: A few words such as "a house", a longer prompt, or a spec of which the empty fields are to be filled.
        model: The spec of a chat model, or a LangChain chat model; `None` uses the rules.
        seed: Chooses among the possibilities of the rules.
        style: A name of the lexicon's styles, or any art style in your words; `None` leaves the choice to the seed.
        options: Options of the model; see `chat_model`.

    Raises:
        InvalidInputs: If the idea is empty or has more than 4,000 characters.
        UnknownName: If `style` is empty, or there is no such provider of models.
        ConfigurationError: If the model cannot be used here.
    """
    lexicon = picture_lexicon()
    if style is not None and not style.strip():
        raise UnknownName("art style", style, lexicon.styles)
    base, notes = (idea, ()) if isinstance(idea, PromptSpec) else _without_unknown_influences(read_prompt(idea))
    if style is not None:
        base = base.model_copy(update={"art_style": " ".join(style.split())})
    if model is not None:
        chat = chat_model(model, **options)
        written, problem = _ask(chat, base)
        if written is not None:
            spec, more_notes = _merge(base, written)
            return CraftedPrompt(spec=spec, method="model", notes=(*notes, *more_notes))
        notes = (*notes, f"the model's answer could not be used ({problem}), so the prompt was completed by rules")
    return CraftedPrompt(spec=complete_by_rules(base, seed=seed), method="rules", notes=notes)


def complete_by_rules(spec: PromptSpec, *, seed: int = 0) -> PromptSpec:
    """Fill the empty fields of a spec from the lexicon, so that they go together."""
    lexicon = picture_lexicon()
    choices = random.Random(f"{seed}\n{spec.model_dump_json()}")  # noqa: S311  a choice of colors, not of a key
    kind_name = lexicon.kind_of(spec.subject)
    kind = lexicon.kinds[kind_name]
    style_name = lexicon.style_in(spec.art_style) or choices.choice(_styles_for_children(lexicon))
    style = lexicon.styles[style_name]
    time = lexicon.time_in(f"{spec.scene} {spec.lighting}")
    lights = [
        light
        for light, when in lexicon.lighting.items()
        if (time is None or when in (time, "any")) and (light not in lexicon.indoor_light or kind_name in _WITH_LAMPS)
    ]
    moods = [name for name in _MOODS_FOR_CHILDREN if set(lexicon.moods[name].lighting) & set(lights)]
    mood_name = lexicon.mood_in(f"{spec.mood} {spec.scene}") or choices.choice(moods)
    mood = lexicon.moods[mood_name]
    lights = [light for light in mood.lighting if light in lights] or lights
    palette = choices.choice(mood.colors)
    # Each choice is drawn whether it is needed or not, so that setting one field does not change the others.
    drawn: dict[str, object] = {
        "setting": choices.choice(kind.settings),
        "action": choices.choice(kind.actions) if kind.actions else "",
        "details": tuple(choices.sample(kind.details, k=2)),
        "lighting": choices.choice(lights),
        "camera": choices.choice(lexicon.camera),
        "colors": style.colors or palette,
        "art_style": style_name,
        "influences": (choices.choice(style.influences),),
        "techniques": tuple(choices.sample(style.techniques, k=min(2, len(style.techniques)))),
        "mood": mood_name,
        "negative": () if spec.text_shown else ("letters", "watermark"),
    }
    return spec.model_copy(update={name: value for name, value in drawn.items() if not getattr(spec, name)})


def _styles_for_children(lexicon: PictureLexicon) -> list[str]:
    return [name for name, style in lexicon.styles.items() if style.family not in ("photographed", "digital")]


def _without_unknown_influences(spec: PromptSpec) -> tuple[PromptSpec, tuple[str, ...]]:
    """Leave out names that are no movement or artist of the past: they may be people who live from their style."""
    unknown: list[str] = []
    update: dict[str, object] = {}
    for name in ("subject", "action", "setting", "art_style"):
        kept, names = take_unknown_influences(getattr(spec, name))
        if names:
            update[name] = kept or spec.subject
            unknown += names
    pairs = [take_unknown_influences(detail) for detail in spec.details]
    if any(names for _, names in pairs):
        update["details"] = tuple(kept for kept, _ in pairs if kept)
        unknown += [name for _, names in pairs for name in names]
    return spec.model_copy(update=update), tuple(_influence_note(name) for name in unknown)


def _influence_note(name: str) -> str:
    return (
        f"{name!r} is no art movement or artist of the past that is known here, so it was left out; describe what you "
        "like about it, such as 'bold outlines and warm colors'"
    )


def _ask(chat: BaseChatModel, base: PromptSpec) -> tuple[_ModelFields | None, str]:
    """Return what a model wrote, or why it cannot be used."""
    if not capabilities(chat).follows_instructions:
        return None, "the model does not follow instructions"
    given = {name: value for name, value in base.model_dump(mode="json").items() if value and name in _GIVEN_FIELDS}
    idea = "\n".join(f"{name}: {value}" for name, value in given.items())
    messages = [SystemMessage(_INSTRUCTION), HumanMessage(f"The idea:\n{fence_text(idea)}\nGive the JSON object now.")]
    call_options: dict[str, Any] = {}
    if capabilities(chat).json_schema:
        schema = {"name": "picture_prompt", "schema": _ModelFields.model_json_schema(), "strict": True}
        call_options = {"response_format": {"type": "json_schema", "json_schema": schema}}
    problem = ""
    for _ in range(_MAX_ATTEMPTS):
        try:
            return _ModelFields.model_validate(strict_json(chat.invoke(messages, **call_options).text)), ""
        except ValidationError as error:
            problem = first_problem(error)
        except Unparsable:
            problem = "it is not one JSON object"
        except Exception as error:  # noqa: BLE001  whatever fails in a model, the rules can do it
            return None, type(error).__name__
    return None, problem


_GIVEN_FIELDS = ("subject", *_TEXT_FIELDS, *_LIST_FIELDS)


def _merge(base: PromptSpec, written: _ModelFields) -> tuple[PromptSpec, tuple[str, ...]]:
    """Fill the empty fields of a spec with what a model wrote, apart from influences that are not of the past."""
    lexicon = picture_lexicon()
    known = [(name, lexicon.influence(name)) for name in written.influences]
    notes = tuple(_influence_note(name) for name, known_name in known if known_name is None)
    update: dict[str, object] = {name: getattr(written, name).strip() for name in _TEXT_FIELDS}
    update |= {name: tuple(t for text in getattr(written, name) if (t := text.strip())) for name in _LIST_FIELDS}
    update["influences"] = tuple(known_name for _, known_name in known if known_name)
    # The subject is the idea's own: a model may embellish it, not replace it.
    merged = {**base.model_dump(), **{name: value for name, value in update.items() if not getattr(base, name)}}
    merged["details"] = (*base.details, *(d for d in update["details"] if d not in base.details))  # type: ignore[attr-defined]
    return PromptSpec.model_validate(merged), notes

"""Plan a book with a chat model: it chooses where pages end and what they show; the tale's words stay as they are."""

from __future__ import annotations

import json
import logging
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taleward.agents.untrusted_text import DATA_RULE, fence_text
from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.books.beats import MOST_PAGES, words_per_page
from taleward.books.book import Shot
from taleward.books.plan import BookPlan, Place, PlannedPage
from taleward.books.plan_by_rules import plan_by_rules
from taleward.core.policy import Policy
from taleward.core.redaction import format_error
from taleward.images.prompt_spec import CastMember
from taleward.moderation.judges.strict_parsing import Unparsable, first_problem, strict_json
from taleward.moderation.text.sentences import sentences

_log = logging.getLogger(__name__)
_MAX_ATTEMPTS = 2
_INSTRUCTION = f"""You plan picture books for children. {DATA_RULE}
The sentences of a tale are numbered. Divide them into pages, in order, every sentence on one page. For each page say \
what its picture shows, in one plain sentence with names and without pronouns, and vary the shots. Say for each \
character what it is and how it looks on every page, and for each place what is always to be seen there. Nothing \
frightening, no letters.
Answer with one JSON object and nothing else, with exactly these keys: "title" (a few words), "cast" (a list of \
objects with "name", "kind" and "looks", a list), "places" (a list of objects with "name", such as "in the forest", \
and "looks", a list), "pages" (a list of objects with "last_sentence" (a number), "shows", "things" (a list), "cast" \
(names), "place" (the name of a place or ""), "light" and "shot" ("wide", "medium", "close" or "from above"))."""


class _PlanAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Member(_PlanAnswer):
    name: str = Field(min_length=1, max_length=60)
    kind: str = Field(max_length=100)
    looks: list[str] = Field(max_length=6)


class _PlannedPlace(_PlanAnswer):
    name: str = Field(min_length=1, max_length=100)
    looks: list[str] = Field(max_length=4)


class _Page(_PlanAnswer):
    last_sentence: int = Field(ge=1)
    shows: str = Field(min_length=1, max_length=400)
    things: list[str] = Field(max_length=5)
    cast: list[str] = Field(max_length=8)
    place: str = Field(max_length=100)
    light: str = Field(max_length=100)
    shot: Shot


class _ModelPlan(_PlanAnswer):
    title: str = Field(min_length=1, max_length=80)
    cast: list[_Member] = Field(max_length=8)
    places: list[_PlannedPlace] = Field(max_length=12)
    pages: list[_Page] = Field(min_length=1, max_length=MOST_PAGES)


def plan_with_model(
    text: str, model: BaseChatModel | str, *, policy: Policy, band: str, pages: int | None = None, **options: Any
) -> BookPlan:
    """Plan a book with a chat model; by rules if its answer cannot be used.

    Args:
        text: The tale.
        model: A chat model that follows instructions, or the spec of one.
        policy: The policy.
        band: The age band.
        pages: The number of pages; the model's choice if `None`.
        options: Options of `plan_by_rules`.
    """
    by_rules = plan_by_rules(text, policy=policy, band=band, pages=pages, **options)
    chat = chat_model(model)
    if not capabilities(chat).follows_instructions:
        _log.warning("the planner does not follow instructions, so the book was planned by rules")
        return by_rules
    parts = sentences(text)
    words = words_per_page(policy, band)
    wanted = f"{pages} pages" if pages else f"6 to {MOST_PAGES} pages"
    numbered = "\n".join(f"{number}. {part.strip()}" for number, part in enumerate(parts, 1))
    asked = (
        f"{wanted}, {words.fewest} to {words.most} words each, for readers of {band}:\n{fence_text(numbered)}\n"
        f"Give the JSON object now."
    )
    call: dict[str, Any] = {}
    if capabilities(chat).json_schema:
        schema = {"name": "book_plan", "schema": _ModelPlan.model_json_schema(), "strict": True}
        call = {"response_format": {"type": "json_schema", "json_schema": schema}}
    problem = ""
    for _ in range(_MAX_ATTEMPTS):
        try:
            answer = _ModelPlan.model_validate(
                strict_json(chat.invoke([SystemMessage(_INSTRUCTION), HumanMessage(asked)], **call).text)
            )
            return _merged(by_rules, answer, parts, options.get("title"))
        except ValidationError as error:
            problem = first_problem(error)
        except (Unparsable, json.JSONDecodeError):
            problem = "it is not one JSON object"
        except ValueError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  whatever fails in a model, the rules can do it
            problem = format_error(error)
            break
    _log.warning("the planner's answer could not be used (%s), so the book was planned by rules", problem)
    return by_rules


def _merged(plan: BookPlan, answer: _ModelPlan, parts: list[str], title: str | None) -> BookPlan:
    """Return the plan of a model.

    Raises:
        ValueError: If its pages do not hold the tale, every sentence once.
    """
    ends = [page.last_sentence for page in answer.pages]
    if ends != sorted(set(ends)) or ends[-1] != len(parts):
        msg = f"its pages end at the sentences {ends}; they have to rise to {len(parts)}"
        raise ValueError(msg)
    known = {member.name.casefold(): member for member in plan.cast}
    cast = tuple(
        CastMember(name=m.name, kind=m.kind, looks=tuple(m.looks) or getattr(known.get(m.name.casefold()), "looks", ()))
        for m in answer.cast
    )
    names = {member.name.casefold(): member.name for member in cast}
    pages, start = [], 0
    for page in answer.pages:
        text = "".join(parts[start : page.last_sentence]).strip()
        start = page.last_sentence
        pages.append(
            PlannedPage(
                text=text, shows=page.shows, things=tuple(t for t in page.things if t.strip()), place=page.place,
                cast=tuple(names[n.casefold()] for n in dict.fromkeys(page.cast) if n.casefold() in names),
                light=page.light, shot=page.shot,
            )
        )  # fmt: skip
    return BookPlan.model_validate(
        {
            **dict(plan),
            "title": title or answer.title,
            "cast": cast,
            "places": tuple(Place(name=p.name, looks=tuple(p.looks)) for p in answer.places),
            "pages": tuple(pages),
        }
    )

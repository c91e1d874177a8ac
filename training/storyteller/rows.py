"""The training rows of the storyteller: the stories of the written corpus, each with the prompt that it answers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from taleward.chains.story_prompts import storyteller_request, value_list
from taleward.chains.template import load_template
from taleward.tuning.rows import ChatTurn, RowSource, SftRow
from training.corpus.reader import CorpusStory

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""SmolLM2's own, without the system message that it adds: 20 tokens that every prompt would begin with."""
# Most users fill in a template, whose values come as a list; the others ask in a sentence.
_SENTENCE_SHARE, _OPENING_SHARE = 0.2, 0.15
_PREPOSITION = re.compile(r"(?:in|on|at|under|behind|inside|beside|by|near|between|above|below|outside|up|down|off)\b")
_VERB = re.compile(r"(?:can|is|never|always|only|\w+[^s]s)\b(?! of)")
_LISTED = re.compile(r"^[a-z][a-z ]*: .+; [a-z][a-z ]*: ")


def story_rows(stories: Iterable[CorpusStory], seed: str) -> list[SftRow]:
    """Return a row for each story; `seed` decides in which form each request is given."""
    return [_row(story, random.Random(f"{seed}/{story.id}")) for story in stories]


def _row(story: CorpusStory, rng: random.Random) -> SftRow:
    prompt = storyteller_request(request_text(story, rng), story.band)
    return SftRow(
        prompt=(ChatTurn(role="user", content=prompt),),
        completion=story.whole,
        source=RowSource(tale_id=story.id),
    )


def request_text(story: CorpusStory, rng: random.Random) -> str:
    """Return a story's request as a list of values, a template's opening, or a sentence."""
    if isinstance(story.request, str):
        # Writers give the values of other templates in one line.
        return story.request.replace("; ", "\n") if _LISTED.match(story.request) else story.request
    values = dict(story.request)
    draw = rng.random()
    if draw < _SENTENCE_SHARE:
        return _sentence(values, rng)
    if draw < _SENTENCE_SHARE + _OPENING_SHARE:
        return load_template("adventure").render_request(values)
    return value_list(values)


def _sentence(values: dict[str, str], rng: random.Random) -> str:
    """Return a request as people type it, with at least the hero and the object."""
    hero, item = (_with_article(values[name]) for name in ("character", "mysterious_object"))
    text = f"{rng.choice(('a story about', 'tell me a story about', 'write a story about', ''))} {hero}".strip()
    if rng.random() < 0.7:
        setting = values["setting"]
        text += f" {setting}" if _PREPOSITION.match(setting) else f" in {_with_article(setting)}"
    text += f" who finds {item}"
    if rng.random() < 0.6:
        power = values["magical_properties"]
        text += f" that {power}" if _VERB.match(power) else f" that has {power}"
    if rng.random() < 0.5:
        text += f" and decides to {values['action']}"
    if rng.random() < 0.4:
        text += f". It ends with {values['outcome']}."
    return text


def _with_article(phrase: str) -> str:
    first = phrase.split()[0].lower()
    if first in ("a", "an", "the", "one", "two", "three", "some", "my", "our", "his", "her") or phrase[0].isupper():
        return phrase
    return f"{'an' if first[0] in 'aeiou' else 'a'} {phrase}"

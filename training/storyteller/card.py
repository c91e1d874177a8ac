"""The model card of the storyteller, filled with measured figures."""

import re
from pathlib import Path
from typing import Any

from training import corpora
from training.storyteller import sources

_HEAD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [children, stories, llama]
datasets: [roneneldan/TinyStories]
---
# Llama-Taleward-Storyteller, v2

**Built with Llama**: some of the stories it learned from were written by Llama 3.1, whose licence asks for these words
and for the name.

A Llama of {parameters:,} parameters with its own byte-level BPE tokenizer of 4,096 tokens, in float16. Its chat
template knows requests and the stories that answer them: asked for anything, it tells a story for children about that
and ends. It follows no other instruction. Without a request it goes on with a text.

## Limits
* English only, short tales, shallow plots. It loses the thread and mixes up who did what. Of what a request names it
  keeps hero, place and thing better than powers and deeds; the figures say how often.
* It knows nothing of the world and must not be asked for facts.
* It filters nothing. The training text was filtered by a word list only: **do not show its text to children
  without a judge.**
* It was trained on a processor, for four hours, on about three million words: a stand-in that works offline, no rival
  to a large model.
* It was not trained on user data.

## Training data
| source | used for | terms |
|---|---|---|
| TinyStories, 11,132 stories (Eldan and Li, arXiv 2305.07759) | training, tokenizer | CDLA-Sharing-1.0 |
| Picture books of StoryWeaver (Pratham Books), African Storybook, Book Dash | the same | CC-BY, one public domain |
| erikhyrkas/snakes: stories for children, bedtime stories that begin "Once upon a time" | the same | MIT; Llama 3.1's |

With thanks to StoryWeaver (Pratham Books), African Storybook (Saide) and Book Dash and to the authors and translators
of every book, named in `CREDITS.md`. The texts were cleaned and cut into rows; the makers endorse nothing here. Left
out: short and doubled texts, and any text with a word from a short list of subjects unfit for small children. About 3 %
were held out by a hash of the title or first sentence.

Two runs made it. In the first, a third of the stories stood behind an opening of the template's shape, and an eighth
behind a request, both built from their own phrases by rules (`training/storyteller/openings.py`): 2,108 steps of 7,680
tokens. In the second, without the bedtime stories, seven in ten stood behind a request wherever one could be built. Six
in ten of these were told anew: hero, thing or place under another name all through the story, and a sentence put in for
a power, a deed or an end that the request names (`training/storyteller/variants.py`), so that the model takes its words
from the request. The request itself is never a target.

"""


def card(figures: dict[str, Any]) -> str:
    """The card's text, in Markdown.

    Args:
        figures: What `report.measure` returns, with the run's state as `run` where known.
    """
    text = _HEAD.format(parameters=figures["parameters"])
    run = figures.get("run")
    if run is not None:
        recipe = run["recipe"]
        tokens = run["step"] * recipe["batch"] * recipe["length"]
        text += (
            f"The second run: {run['step']:,} steps of {recipe['batch']} rows of {recipe['length']} tokens "
            f"({tokens / 1e6:.1f} million tokens, padding counted; {run['epoch'] + 1} passes begun) in "
            f"{run['seconds'] / 60:.0f} minutes. A model of this kind, in one run from nothing, comes from\n\n```\n"
            "python -m training.storyteller.train --data DIR --out DIR --steps 4000 --seed 0\n```\n\n"
            f"and the second run from `--start FIRST --rate {recipe['rate']} --seed {recipe['seed']}`. The clock "
            "(`--minutes`) ended both runs: another one gives a model like this, not the same weights. As many steps "
            "with the same seed, without the clock, give the same weights on the same kind of processor.\n\n"
        )
    return text + _figures(figures) + _samples(figures)


def _figures(figures: dict[str, Any]) -> str:
    ours, counts = figures["bits_per_char"], figures["held_out"]
    lines = ["## Figures", "", "| figure | this model | stories260K |", "|---|---|---|"]
    for source, value in ours.items():
        peer = figures.get("peer_bits_per_char", {}).get(source)
        other = "-" if peer is None else f"{peer:.3f}"
        lines.append(f"| bits a character, {counts[source]} held-out {source} | {value:.3f} | {other} |")
    copy = figures["longest_copy"]
    for name, value in (
        ("ended by itself", f"{figures['ended']:.0%}"),
        ("words a text", f"{figures['words']:.0f}"),
        ("of the request's six values, those that the story speaks of", f"{figures['mentioned']:.0%}"),
        ("the same, best of 4", f"{figures['mentioned_best']:.0%}"),
        ("speaks of all six, best of 4", f"{figures['all_mentioned_best']:.0%}"),
        ("passed by `embedded:judge`, ages 6-8", f"{figures['passed']:.0%}"),
        ("Automated Readability Index, median", f"{figures['reading_index']:.1f}"),
        (f"4-grams repeated within a text (training stories: {figures['repetition_of_stories']:.1%})",
         f"{figures['repetition']:.1%}"),
        (f"distinct 2-grams over all texts (as many training stories: {figures['distinct_of_stories']:.2f})",
         f"{figures['distinct']:.2f}"),
        (f"self-BLEU over all texts (as many training stories: {figures['self_bleu_of_stories']:.0f})",
         f"{figures['self_bleu']:.0f}"),
        ("longest run of words copied from the training text, most and median", f"{copy['max']}, {copy['median']:.0f}"),
    ):  # fmt: skip
        lines.append(f"| {name} | {value} | - |")
    lines += [
        "",
        "The first 700 characters of each text are scored. stories260K (llama2.c) learned from TinyStories, so that",
        "these stories may be among those it was trained on; this model saw none of them. The other figures are over",
        "4 stories for each of 50 requests, openings of the template's shape, with the defaults in",
        "`generation_config.json`. A story speaks of a value where half of the value's words begin like one of its",
        "own. Again with",
        "",
        "```",
        "python -m training.storyteller.report --data DIR --model DIR --peer stories260K.bin \\",
        "    --peer-tokenizer tok512.bin",
        "```",
        "",
    ]
    return "\n".join(lines) + "\n"


def _samples(figures: dict[str, Any]) -> str:
    parts = ["## Ten samples, unpicked\n", "Each behind its request.\n"]
    for prompt, text in figures["samples"]:
        quoted = "\n".join(f"> {line}" for line in f"*{prompt}*\n\n{text.strip()}".splitlines())
        parts.append(f"{quoted}\n")
    return "\n".join(parts)


def credits_list(data: Path) -> str:
    """Title, authors and licence of every picture book, in Markdown.

    Args:
        data: Folder with the corpus.

    Raises:
        CorpusError: The picture books are missing or malformed.
    """
    path = data / sources.STORYBOOKS
    lines = ["# Picture books in the storyteller's corpus", ""]
    for row in corpora.read_jsonl(path):
        people = re.findall(
            r"\* (?:Text|Translation|Author|Writer|Adaptation):[^\S\n]*(.+)", str(row.get("credit", ""))
        )
        names = "; ".join(" ".join(name.split()) for name in people) or "see the publisher's site"
        lines.append(f"* {' '.join(str(corpora.field(row, 'title', path)).split())}: {names}. {row.get('license', '')}")
    return "\n".join(lines) + "\n"

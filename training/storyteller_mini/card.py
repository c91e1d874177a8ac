"""Write the storyteller's model card from measured figures."""

import re
from pathlib import Path
from typing import Any

from training import text_cleaning as corpora
from training.storyteller_mini import sources

_INTRODUCTION = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [children, stories, llama]
datasets: [roneneldan/TinyStories]
---
# Llama-Taleward-Storyteller, v2

**Built with Llama**: some of the training stories were written by Llama 3.1, whose license requires this notice and the
name.

A Llama of {parameters:,} parameters with its own byte-level BPE tokenizer of 4,096 tokens, in float16. Its chat
template has requests and the stories that answer them: for any request, the model tells a children's story about it and
ends. It follows no other instructions. Without a request, it continues the text.

## Limitations
* English only, short stories, shallow plots. It loses the thread and mixes up who did what. Of the things that a
  request names, it keeps hero, place and object more often than powers and deeds; see the figures below.
* It knows nothing about the world. Do not ask it for facts.
* It filters nothing. The training text was filtered by a word list only: **do not show its text to children
  without a judge.**
* It was trained for four hours on a CPU, on about three million words. It is a stand-in that works offline and cannot
  compete with a large model.
* It was not trained on user data.

## Training data
| source | used for | license |
|---|---|---|
| TinyStories, 11,132 stories (Eldan and Li, arXiv 2305.07759) | training, tokenizer | CDLA-Sharing-1.0 |
| Picture books of StoryWeaver (Pratham Books), African Storybook, Book Dash | the same | CC-BY, one public domain |
| erikhyrkas/snakes: stories for children, bedtime stories that begin "Once upon a time" | the same | MIT; Llama 3.1 |

With thanks to StoryWeaver (Pratham Books), African Storybook (Saide) and Book Dash, and to the authors and translators
of every book, named in `CREDITS.md`. The texts were cleaned and cut into rows; their authors endorse nothing here.
Short and duplicate texts were left out, and any text with a word from a short list of subjects unfit for small
children. About 3 % of the texts were held out, selected by a hash of the title or first sentence.

The model was trained in two runs. In the first, a third of the stories followed an opening like a template's, and an
eighth followed a request, both built from phrases of the story by rules (`storyteller/make_requests.py`): 2,108
steps of 7,680 tokens. In the second, without the bedtime stories, seven in ten stories followed a request, if one could
be built. Six in ten of these were varied: the hero, thing or place was renamed throughout the story, and a sentence was
inserted for a power, a deed or an outcome that the request names (`training/storyteller_mini/vary_stories.py`), so that
the model takes them from the request. Requests are never training targets.

"""


def card(figures: dict[str, Any]) -> str:
    """Return the model card in Markdown.

    Args:
        figures: The result of `report.measure`, with the final state of the training run as `run`, if known.
    """
    text = _INTRODUCTION.format(parameters=figures["parameters"])
    run = figures.get("run")
    if run is not None:
        recipe = run["recipe"]
        tokens = run["step"] * recipe["batch"] * recipe["length"]
        text += (
            f"The second run took {run['seconds'] / 60:.0f} minutes: {run['step']:,} steps of {recipe['batch']} rows "
            f"of {recipe['length']} tokens ({tokens / 1e6:.1f} million tokens with padding), ending in epoch "
            f"{run['epoch'] + 1}. To train a similar model in a single run:\n\n```\n"
            "python -m training.storyteller_mini.train --data DIR --out DIR --steps 4000 --seed 0\n```\n\n"
            f"For the second run, add `--start FIRST --rate {recipe['rate']} --seed {recipe['seed']}`. The time limit "
            "(`--minutes`) ended both runs, so that training again gives a similar model, not the same weights. The "
            "same number of steps with the same seed, without the limit, gives the same weights on the same kind of "
            "processor.\n\n"
        )
    return text + _figures_section(figures) + _samples_section(figures)


def _figures_section(figures: dict[str, Any]) -> str:
    bits_per_char, held_out_counts = figures["bits_per_char"], figures["held_out"]
    lines = ["## Figures", "", "| figure | this model | stories260K |", "|---|---|---|"]
    for source, value in bits_per_char.items():
        peer_value = figures.get("peer_bits_per_char", {}).get(source)
        peer_cell = "-" if peer_value is None else f"{peer_value:.3f}"
        lines.append(f"| bits per character, {held_out_counts[source]} held-out {source} | {value:.3f} | {peer_cell} |")
    longest_copy = figures["longest_copy"]
    for name, value in (
        ("texts that end by themselves", f"{figures['ended']:.0%}"),
        ("words per text", f"{figures['words']:.0f}"),
        ("share of a request's six values that the story mentions", f"{figures['mentioned']:.0%}"),
        ("the same, best of 4 stories", f"{figures['mentioned_best']:.0%}"),
        ("stories that mention all six, best of 4", f"{figures['all_mentioned_best']:.0%}"),
        ("texts that `embedded:judge` passes, ages 6-8", f"{figures['passed']:.0%}"),
        ("Automated Readability Index, median", f"{figures['reading_index']:.1f}"),
        (f"4-grams repeated within a text (training stories: {figures['repetition_of_stories']:.1%})",
         f"{figures['repetition']:.1%}"),
        (f"distinct 2-grams over all texts (the same number of training stories: {figures['distinct_of_stories']:.2f})",
         f"{figures['distinct']:.2f}"),
        (f"self-BLEU over all texts (the same number of training stories: {figures['self_bleu_of_stories']:.0f})",
         f"{figures['self_bleu']:.0f}"),
        ("longest run of words copied from the training text, maximum and median",
         f"{longest_copy['max']}, {longest_copy['median']:.0f}"),
    ):  # fmt: skip
        lines.append(f"| {name} | {value} | - |")
    lines += [
        "",
        "The bits per character are of the first 700 characters of each text. stories260K (llama2.c) was trained on",
        "TinyStories, possibly on these stories, too; this model was trained on none of them. The other figures are",
        "over 4 stories for each of 50 requests, which are openings of a template, with the defaults in",
        "`generation_config.json`. A story mentions a value if half of the value's words share their first five",
        "letters with one of its own. To measure again:",
        "",
        "```",
        "python -m training.storyteller_mini.measure --data DIR --model DIR --peer stories260K.bin \\",
        "    --peer-tokenizer tok512.bin",
        "```",
        "",
    ]
    return "\n".join(lines) + "\n"


def _samples_section(figures: dict[str, Any]) -> str:
    parts = ["## Ten samples, not selected\n", "Each after its request.\n"]
    for prompt, text in figures["samples"]:
        quoted = "\n".join(f"> {line}" for line in f"*{prompt}*\n\n{text.strip()}".splitlines())
        parts.append(f"{quoted}\n")
    return "\n".join(parts)


def credits_list(data: Path) -> str:
    """Return the title, authors and license of every picture book, in Markdown.

    Args:
        data: Folder with the corpus.

    Raises:
        CorpusError: If the file of picture books is missing or malformed.
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

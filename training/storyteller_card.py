"""The model card of the storyteller, filled with measured figures."""

import re
from pathlib import Path
from typing import Any

from taleward.training import corpora, storyteller_text

_HEAD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [children, stories, llama]
datasets: [roneneldan/TinyStories]
---
# Taleward storyteller, v0

A Llama of {parameters:,} parameters with its own byte-level BPE tokenizer of 2,048 tokens, in float16. It
continues an opening in the manner of a story for small children and then ends. It has no chat template and follows no
instructions.

## Limits
* English only, short tales, shallow plots. It loses the thread, mixes up who did what, and
  often lets go of the opening's setting, character or object.
* It knows nothing of the world and must not be asked for facts.
* It filters nothing. The training text was filtered by a word list only: **do not show its text to children
  without a judge.**
* It was trained for minutes on two processor cores and on about two million words: a stand-in that works
  offline, no rival to a large model.
* It was not trained on user data.

## Training data
| source | used for | terms |
|---|---|---|
| TinyStories, 11,132 stories (Eldan and Li, arXiv 2305.07759) | training, tokenizer | CDLA-Sharing-1.0 |
| Picture books of StoryWeaver (Pratham Books), African Storybook, Book Dash | the same | CC-BY, one public domain |

With thanks to StoryWeaver (Pratham Books), African Storybook (Saide) and Book Dash and to the authors and translators
of every book, named in `CREDITS.md`. The texts were cleaned and cut into rows; the makers endorse nothing here. Left
out: short and doubled texts, and any text with a word from a short list of subjects unfit for small children. About 3 %
were held out by a hash of the title or first sentence. A good third of the short stories were put behind an opening
of the template's shape, built from their own phrases by rules (`training/storyteller_openings.py`).

"""


def card(figures: dict[str, Any]) -> str:
    """The card's text, in Markdown.

    Args:
        figures: What `storyteller_report.measure` returns, with the run's state as `run` where known.
    """
    text = _HEAD.format(parameters=figures["parameters"])
    run = figures.get("run")
    if run is not None:
        recipe = run["recipe"]
        tokens = run["step"] * recipe["batch"] * recipe["length"]
        text += (
            f"Trained for {run['step']:,} steps of {recipe['batch']} rows of {recipe['length']} tokens "
            f"({tokens / 1e6:.1f} million tokens, padding counted; {run['epoch'] + 1} passes begun) in "
            f"{run['seconds'] / 60:.0f} minutes. Again with\n\n```\npython -m taleward.training.storyteller "
            f"--data DIR --out DIR --steps {recipe['steps']} --seed {recipe['seed']}\n```\n\n"
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
        ("ended by itself within 400 tokens", f"{figures['ended']:.0%}"),
        ("words a sample", f"{figures['words']:.0f}"),
        ("4-grams of words repeated within a sample", f"{figures['repetition']:.1%}"),
        ("longest run of words copied from the training text, most and median", f"{copy['max']}, {copy['median']}"),
    ):
        lines.append(f"| {name} | {value} | - |")
    lines += [
        "",
        "The first 700 characters of each text are scored. stories260K (llama2.c) learned from TinyStories, so that",
        "these stories may be among those it was trained on; this model saw none of them. The other figures are over",
        "50 openings of the template's shape, seeds 0 to 49, with the defaults in `generation_config.json`. Again with",
        "",
        "```",
        "python -m taleward.training.storyteller_report --data DIR --model DIR --peer stories260K.bin \\",
        "    --peer-tokenizer tok512.bin",
        "```",
        "",
    ]
    return "\n".join(lines) + "\n"


def _samples(figures: dict[str, Any]) -> str:
    parts = ["## Samples, seeds 0 to 4, unpicked\n"]
    for seed, (prompt, text) in enumerate(figures["samples"]):
        quoted = "\n".join(f"> {line}" for line in f"*{prompt}* {text.strip()}".splitlines())
        parts.append(f"Seed {seed}\n\n{quoted}\n")
    return "\n".join(parts)


def credits_list(data: Path) -> str:
    """Title, authors and licence of every picture book, in Markdown.

    Args:
        data: Folder with the corpus.

    Raises:
        CorpusError: The picture books are missing or malformed.
    """
    path = data / storyteller_text.STORYBOOKS
    lines = ["# Picture books in the storyteller's corpus", ""]
    for row in corpora.read_jsonl(path):
        people = re.findall(
            r"\* (?:Text|Translation|Author|Writer|Adaptation):[^\S\n]*(.+)", str(row.get("credit", ""))
        )
        names = "; ".join(" ".join(name.split()) for name in people) or "see the publisher's site"
        lines.append(f"* {' '.join(str(corpora.field(row, 'title', path)).split())}: {names}. {row.get('license', '')}")
    return "\n".join(lines) + "\n"

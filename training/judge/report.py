"""Measure the embedded judge: `python -m training.judge.report --data DIR [--json FILE]`.

Reads the data that `training.judge.train` describes, and for the rows marked * also `stories/instruct_stories.jsonl.gz`
(erikhyrkas/snakes, MIT), which is not trained on. Everything is measured on texts that were not used for training or
calibration: the test split of documents and frames, the held-out rows of the written corpus, and the probes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from training.judge import story_measures, text_measures
from training.judge.judge_scores import BAND, Row


def markdown_table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = (f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the model card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="file to write the tables to as JSON")
    parser.add_argument("--only", default="", help="measure only tables whose title holds this")
    options = parser.parse_args(arguments)
    data, seed = options.data, options.seed
    measurements: dict[str, Callable[[], list[Row]]] = {
        "Good stories turned down, each in its own band": partial(story_measures.good_stories, data),
        "Story pairs": story_measures.pairs,
        "Story pairs by category": story_measures.pairs_by_category,
        "Stories by band: share turned down": story_measures.stories_in_every_band,
        "Passages of the written corpus, held out": story_measures.corpus_passages,
        "The 120 shipped passages": story_measures.shipped_passages,
        f"In the manner of public sets, band {BAND}": text_measures.probes,
        f"False alarms and misses by kind, band {BAND}": text_measures.probe_kinds,
        f"Attempts to hide a harm, band {BAND}": text_measures.evasions,
        f"Per category, held-out frames, band {BAND}": partial(text_measures.categories, seed),
        "Gentle texts that fail": partial(text_measures.gentle_texts, data, seed),
        f"Groups of people in harmless sentences, band {BAND}": text_measures.identity_terms,
        f"Comments and campfire stories, band {BAND}": partial(text_measures.transfer, data, seed),
        f"int8, as it ships, against float32, band {BAND}": text_measures.precisions,
        "Size": text_measures.size,
    }
    tables = {}
    for title, measure in measurements.items():
        if options.only.lower() not in title.lower():
            continue
        tables[title] = measure()
        print(f"\n### {title}\n\n{markdown_table(tables[title])}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The figures of the corpus's card: `python -m training.corpus.statistics [TINYSTORIES]` prints them.

`TINYSTORIES` is a file of other stories to compare the variety with: JSON lines with a field `text`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from sklearn.metrics import cohen_kappa_score

from taleward.evaluation.metrics.diversity import Distinct, SelfBleu
from taleward.evaluation.sample import Sample
from taleward.moderation.text.request_coverage import words_of
from training.corpus.checks import held_share
from training.corpus.reader import (
    BANDS,
    FOLDER,
    CorpusPassage,
    is_held_out,
    load_pairs,
    load_passages,
    load_stories,
)
from training.text_cleaning import read_jsonl

SECOND_READING = FOLDER / "second_reading.jsonl"
_COMPARED, _WORDS = 200, 120


def agreement(passages: Sequence[CorpusPassage]) -> dict[str, tuple[int, float, float]]:
    """How far a second reader, who did not see the labels, agrees with them.

    Returns:
        For each band the number of passages read twice, the share of equal labels, and Cohen's kappa.
    """
    labels = {passage.id: passage.labels for passage in passages}
    second = {row["id"]: row["labels"] for row in read_jsonl(SECOND_READING)}
    figures: dict[str, tuple[int, float, float]] = {}
    for band in BANDS:
        first, other = zip(
            *((labels[id_][band], row[band]) for id_, row in second.items() if id_ in labels), strict=True
        )
        equal = mean(a == b for a, b in zip(first, other, strict=True))
        figures[band] = (len(first), equal, float(cohen_kappa_score(first, other)))
    return figures


def variety(texts: Sequence[str]) -> dict[str, float]:
    """Distinct-1, -2, -3 (higher is more varied) and self-BLEU (lower is more varied) of the beginnings of texts.

    Of many texts, 200 are taken, spread over all.
    """
    spread = texts[:: max(1, len(texts) // _COMPARED)][:_COMPARED]
    samples = [Sample(id=str(n), output=" ".join(text.split()[:_WORDS])) for n, text in enumerate(spread)]
    metrics = (Distinct(1), Distinct(2), Distinct(3), SelfBleu())
    return {metric.name: float(metric.value(metric.statistics(samples).sum(axis=0))) for metric in metrics}


def main() -> None:
    """Print every figure of the card."""
    stories, pairs, passages = load_stories(), load_pairs(), load_passages()
    rows = (*stories, *pairs, *passages)
    print(f"stories {len(stories)}, pairs {len(pairs)}, passages {len(passages)}")
    print(f"held out: {sum(is_held_out(row.id) for row in rows)} of {len(rows)}")
    kinds = Counter((story.kind, story.band) for story in stories)
    print("stories by kind and band:", {f"{kind} {band}": count for (kind, band), count in sorted(kinds.items())})
    lengths = {band: mean(len(words_of(s.whole)) for s in stories if s.band == band) for band in BANDS}
    print("average words:", {band: round(length) for band, length in lengths.items()})
    values = [held_share(v, s.whole) for s in stories if not isinstance(s.request, str) for v in s.request.values()]
    print(f"content words of values held: {mean(values):.3f}; at least half: {mean(v >= 0.5 for v in values):.3f}")
    once = mean(words_of(s.text)[:4] == ["once", "upon", "a", "time"] for s in stories)
    print(f"'Once upon a time': {once:.4f}; typing mistakes: {mean(s.typo for s in stories):.3f}")
    print("pairs by band:", Counter(p.band for p in pairs), "keyword:", Counter(p.keyword for p in pairs))
    print("pairs by category:", Counter(p.category for p in pairs), "place:", Counter(p.place for p in pairs))
    print("passages by labels:", Counter(" ".join(p.labels[band] for band in BANDS) for p in passages))
    print("findings:", Counter(finding.category for p in passages for finding in p.findings))
    print("registers:", Counter(p.register_ for p in passages))
    for band, (count, equal, kappa) in agreement(passages).items():
        print(f"second reading of {count} passages, {band}: {equal:.3f} equal, kappa {kappa:.2f}")
    every = [story.text for story in stories if story.kind == "story"]
    print("variety of the corpus:", variety(every))
    if len(sys.argv) > 1:
        others = [str(row["text"]) for row in read_jsonl(Path(sys.argv[1]))]
        print("variety of the other stories:", variety(others))


if __name__ == "__main__":
    main()

"""Select windows to label by hand, and add the labels to the training data.

`python -m training.judge.window_annotation pick --data DIR --out FILE [--count N]` writes a CSV file of unlabeled
windows with the highest scores of the shipped judge, equally many from each source. Fill its column `labels` with
`none`, or with the categories that the window itself has and their severities, such as
`violence:mild frightening:moderate`.

`python -m training.judge.window_annotation add FILE` adds the labeled rows to `labeled_windows.csv`, which is training
data. Rows without labels are ignored; new labels of a window replace its old ones.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from taleward.core.errors import InvalidFile
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from training.judge import labeled_windows

_COLUMNS = ("window", "labels", "source", "text")


def pick_windows(data: Path, count: int, seed: int, documents: int = 600) -> list[dict[str, str]]:
    """Select windows to label, with the highest scores first within each source.

    Args:
        data: The folder with the data.
        count: The most windows.
        seed: Seed of the sample of documents.
        documents: The most documents of each source; those of the test split are left out.

    Returns:
        Rows of the CSV file.

    Raises:
        CorpusError: If a data file is missing.
    """
    sources: dict[str, list[str]] = defaultdict(list)
    for source, key, text in labeled_windows.read_documents(data):
        if labeled_windows.split_of(key) != "test":
            sources[source].append(text)
    labeled = {labeled_windows.digest(e.text) for e in labeled_windows.annotated_examples(data)}
    judge, rng = EmbeddedJudge(), random.Random(f"reading {seed}")
    rows = []
    for source, texts in sources.items():
        unlabeled: dict[str, str] = {}
        for text in rng.sample(texts, min(documents, len(texts))):
            unlabeled |= {labeled_windows.digest(w): w for w in labeled_windows.window_texts(text)}
        for name in unlabeled.keys() & labeled:
            del unlabeled[name]
        max_scores = {name: max(judge.invoke(text).scores.values(), default=0.0) for name, text in unlabeled.items()}
        for name in sorted(unlabeled, key=lambda name: (-max_scores[name], name))[: count // len(sources)]:
            rows.append({"window": name, "labels": "", "source": source, "text": " ".join(unlabeled[name].split())})
    return rows


def add_labels(path: Path, annotations: Path = labeled_windows.ANNOTATIONS) -> int:
    """Add the labeled rows of a file to the annotations, and return their number.

    Args:
        path: A file that `pick_windows` wrote, with labels.
        annotations: The file to add them to.

    Raises:
        InvalidFile: If a column is missing or a label is invalid; then nothing is added.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if missing := {"window", "labels"} - set(reader.fieldnames or ()):
            raise InvalidFile(f"{path.name} has no column {sorted(missing)}; give a file that `pick` wrote.")
        rows = [(row["window"] or "", (row["labels"] or "").split()) for row in reader]
    new_labels = {window: " ".join(sorted(labels)) for window, labels in rows if window and labels}
    for name, annotation in new_labels.items():
        try:
            labeled_windows.parse_labels(annotation)
        except ValueError as error:
            raise InvalidFile(f"{path.name}, window {name}: {error}") from error
    with annotations.open(encoding="utf-8", newline="") as lines:
        old_labels = {row["window"]: row["labels"] for row in csv.DictReader(lines)}
    with annotations.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("window", "labels"))
        writer.writerows(sorted((old_labels | new_labels).items()))
    return len(new_labels)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pick_parser = commands.add_parser("pick", help="write windows to label")
    pick_parser.add_argument("--data", type=Path, required=True)
    pick_parser.add_argument("--out", type=Path, required=True)
    pick_parser.add_argument("--count", type=int, default=400)
    pick_parser.add_argument("--seed", type=int, default=0)
    add_parser = commands.add_parser("add", help="add the labels of a file to the training data")
    add_parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "pick":
        rows = pick_windows(options.data, options.count, options.seed)
        with options.out.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, _COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        print(f"wrote {len(rows)} windows to {options.out}; fill the column labels, then run: add {options.out}")
    else:
        print(f"added the labels of {add_labels(options.file)} windows")


if __name__ == "__main__":
    main()

"""Windows worth reading, and what their readers found in them.

`python -m training.judge.window_annotation pick --data DIR --out FILE [--count N]` writes a CSV file of windows that
nobody has read and that the shipped judge thinks worst of, as many from each source. A reader fills its column
`labels`: `none`, or what the window itself holds, each at its severity, as in `violence:mild frightening:moderate`.
`python -m training.judge.window_annotation add FILE` takes the filled rows into `labeled_windows.csv`, from which
`train.py` learns; rows without labels are left out, and a window that was read before is read anew.
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


def pick(data: Path, count: int, seed: int, documents: int = 600) -> list[dict[str, str]]:
    """Rows of windows to read, the worst first within each source.

    Args:
        data: The folder with the data.
        count: Windows, at most.
        seed: Of the choice of documents.
        documents: Documents of each source, at most; those of the test part are left out.

    Raises:
        CorpusError: A data file is missing.
    """
    sources: dict[str, list[str]] = defaultdict(list)
    for source, key, text in labeled_windows.documents_of(data):
        if labeled_windows.split_of(key) != "test":
            sources[source].append(text)
    read = {labeled_windows.digest(e.text) for e in labeled_windows.read(data)}
    judge, chance = EmbeddedJudge(), random.Random(f"reading {seed}")
    rows = []
    for source, texts in sources.items():
        unread: dict[str, str] = {}
        for text in chance.sample(texts, min(documents, len(texts))):
            unread |= {labeled_windows.digest(w): w for w in labeled_windows.pieces_of(text)}
        for name in unread.keys() & read:
            del unread[name]
        worst = {name: max(judge.invoke(text).scores.values(), default=0.0) for name, text in unread.items()}
        for name in sorted(unread, key=lambda name: (-worst[name], name))[: count // len(sources)]:
            rows.append({"window": name, "labels": "", "source": source, "text": " ".join(unread[name].split())})
    return rows


def add(path: Path, to: Path = labeled_windows.READ) -> int:
    """Take the filled rows of a file into the windows that were read; how many there were.

    Raises:
        InvalidFile: It is no such file, or a row names no category or severity; then nothing is taken.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if missing := {"window", "labels"} - set(reader.fieldnames or ()):
            raise InvalidFile(f"{path.name} has no column {sorted(missing)}: take a file that `pick` wrote.")
        rows = [(row["window"] or "", (row["labels"] or "").split()) for row in reader]
    filled = {window: " ".join(sorted(labels)) for window, labels in rows if window and labels}
    for name, labels in filled.items():
        try:
            labeled_windows.labels_from(labels)
        except ValueError as error:
            raise InvalidFile(f"{path.name}, window {name}: {error}") from error
    with to.open(encoding="utf-8", newline="") as lines:
        known = {row["window"]: row["labels"] for row in csv.DictReader(lines)}
    with to.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("window", "labels"))
        writer.writerows(sorted((known | filled).items()))
    return len(filled)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    picking = commands.add_parser("pick", help="write windows to read")
    picking.add_argument("--data", type=Path, required=True)
    picking.add_argument("--out", type=Path, required=True)
    picking.add_argument("--count", type=int, default=400)
    picking.add_argument("--seed", type=int, default=0)
    adding = commands.add_parser("add", help="take the labels of windows that were read")
    adding.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "pick":
        rows = pick(options.data, options.count, options.seed)
        with options.out.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, _COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        print(f"wrote {len(rows)} windows to {options.out}: fill the column labels, then: add {options.out}")
    else:
        print(f"took {add(options.file)} windows")


if __name__ == "__main__":
    main()

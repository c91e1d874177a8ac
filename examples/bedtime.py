"""A story each evening that is not the one of yesterday: `python examples/bedtime.py Mia`.

What was told is kept in a folder for thirty days; `--forget` removes it at once.
"""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path

import taleward as tw

WORDS = {
    "setting": ("quiet harbour", "snowy village", "garden behind the school", "old lighthouse", "sleepy forest"),
    "character": ("small boat", "shy dragon", "clever hen", "young baker", "sleepy owl"),
    "mysterious_object": ("brass bell", "paper moon", "singing stone", "blue umbrella", "tiny door"),
    "magical_properties": ("the power to call the wind", "a light of its own", "a kind voice"),
    "action": ("find out where it came from", "show it to a friend", "take it home"),
    "outcome": ("a new friendship", "a safe way home", "a good night's sleep"),
}
DAYS, DRAFTS = 30, 4


def tell(child: str, folder: Path, *, seed: int | None = None) -> str:
    """Tonight's story: of those that passed, the one that is least like the stories of earlier evenings."""
    chance = random.Random(seed)
    writer = tw.StoryChain("embedded:storyteller", template="adventure", seed=chance.randrange(2**31))
    guard = tw.Guard(writer, tw.judge("embedded:judge", policy="kids", band="3-5"))
    tales = guard.batch([{name: chance.choice(choices) for name, choices in WORDS.items()} for _ in range(DRAFTS)])
    told = [tale for tale in tales if tale.released]
    if not told:
        return f"Good evening, {child}. I could not find a good story tonight. Let us try again tomorrow."
    words = tw.CachedEmbeddings("embedded:minilm", folder / "vectors.db", ttl_s=DAYS * 86400)
    with tw.FaissStore(words, folder / "tales", ttl_s=DAYS * 86400) as store:
        memory = tw.TaleMemory(store)
        tonight = max(told, key=lambda tale: memory.novelty(tale.text))
        memory.remember(tonight)
    return f"Good evening, {child}.\n\n{tonight.text}\n\nSleep well."


def forget(folder: Path) -> None:
    """Remove what was told, and nothing else that may lie in the folder."""
    shutil.rmtree(folder / "tales", ignore_errors=True)
    for file in folder.glob("vectors.db*"):
        file.unlink()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A bedtime story.")
    parser.add_argument("child", help="who is listening; it goes to no model")
    parser.add_argument("--folder", type=Path, default=Path(".bedtime"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--forget", action="store_true", help="remove what was told, and end")
    given = parser.parse_args()
    if given.forget:
        forget(given.folder)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    print(tell(given.child, given.folder, seed=given.seed))


if __name__ == "__main__":
    main()

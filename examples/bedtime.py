"""A new bedtime story every evening, unlike those of earlier evenings: `python examples/bedtime.py Mia`.

The stories are kept in a folder for thirty days; `--forget` deletes them at once.
"""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path

import taleward as tw

CHOICES = {
    "setting": ("quiet harbor", "snowy village", "garden behind the school", "old lighthouse", "sleepy forest"),
    "character": ("small boat", "shy dragon", "clever hen", "young baker", "sleepy owl"),
    "mysterious_object": ("brass bell", "paper moon", "singing stone", "blue umbrella", "tiny door"),
    "magical_properties": ("the power to call the wind", "a light of its own", "a kind voice"),
    "action": ("find out where it came from", "show it to a friend", "take it home"),
    "outcome": ("a new friendship", "a safe way home", "a good night's sleep"),
}
STORIES_PER_EVENING = 4
TTL_S = 30 * 24 * 60 * 60


def tell(child: str, folder: Path, *, seed: int | None = None) -> str:
    """Return tonight's story: of several that passed the judge, the one least similar to earlier stories."""
    rng = random.Random(seed)
    writer = tw.StoryChain("embedded:storyteller", template="adventure", seed=rng.randrange(2**31))
    guard = tw.Guard(writer, tw.judge("embedded:judge", policy="kids", band="3-5"))
    inputs = [{name: rng.choice(values) for name, values in CHOICES.items()} for _ in range(STORIES_PER_EVENING)]
    released = [tale for tale in guard.batch(inputs) if tale.released]
    if not released:
        return f"Good evening, {child}. I could not find a good story tonight. Let us try again tomorrow."
    embeddings = tw.CachedEmbeddings("embedded:minilm", folder / "vectors.db", ttl_s=TTL_S)
    with tw.FaissStore(embeddings, folder / "tales", ttl_s=TTL_S) as store:
        memory = tw.TaleMemory(store)
        tonight = max(released, key=lambda tale: memory.novelty(tale.text))
        memory.remember(tonight)
    return f"Good evening, {child}.\n\n{tonight.text}\n\nSleep well."


def forget(folder: Path) -> None:
    """Delete the stories told so far, and nothing else in the folder."""
    shutil.rmtree(folder / "tales", ignore_errors=True)
    for file in folder.glob("vectors.db*"):
        file.unlink()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Tell a bedtime story.")
    parser.add_argument("child", help="name of the listener, which no model sees")
    parser.add_argument("--folder", type=Path, default=Path(".bedtime"), help="folder of the stories told so far")
    parser.add_argument("--seed", type=int, help="random seed")
    parser.add_argument("--forget", action="store_true", help="delete the stories told so far and exit")
    args = parser.parse_args()
    if args.forget:
        forget(args.folder)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    print(tell(args.child, args.folder, seed=args.seed))


if __name__ == "__main__":
    main()

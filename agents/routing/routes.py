"""Routes: example phrasings for each tool, as YAML files that you can extend."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, model_validator

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.yaml_files import load_yaml

NONE = "none"
"""The route for requests that no tool fits."""

_SHIPPED = Path(__file__).parent / "data"
_PLACEHOLDER = re.compile(r"\[([^\[\]]*)\]|\{(\w+)\}")


class RouteExample(FrozenModel):
    """A labeled request.

    Attributes:
        text: The user's words.
        tool: The tool that the request is for, or the first one to call if it asks for several things; `none` if no
            tool fits.
        kind: Why it may be difficult: `plain`, `paraphrase`, `typo`, `multi` (several instructions) or `out` (no tool).
    """

    text: str = Field(min_length=1)
    tool: str
    kind: str = "plain"


class Routes(FrozenModel):
    """Phrasings that lead to each tool.

    Attributes:
        version: Change it whenever anything else changes.
        fillings: The texts that `{name}` in a pattern may stand for, by name.
        routes: Patterns by tool. `[a|b]` stands for any of the alternatives. Requests that no tool fits are `none`.
        examples: Requests as people wrote them; thresholds are fitted on these.
    """

    version: str
    fillings: FrozenMapping[str, tuple[str, ...]] = FrozenDict()
    routes: FrozenMapping[str, tuple[str, ...]] = FrozenDict()
    examples: tuple[RouteExample, ...] = ()

    @model_validator(mode="after")
    def _fillings_exist(self) -> Routes:
        used = {name for patterns in self.routes.values() for p in patterns for name in re.findall(r"\{(\w+)\}", p)}
        if missing := sorted(used - set(self.fillings)):
            msg = f"patterns use {missing}, which `fillings` does not define; it defines {sorted(self.fillings)}"
            raise ValueError(msg)
        return self

    def merged_with(self, others: Iterable[Routes]) -> Routes:
        """Return these routes combined with others; fillings and patterns of the same name are concatenated."""
        sources = (self, *others)

        def merge(tables: Sequence[Mapping[str, tuple[str, ...]]]) -> FrozenDict[str, tuple[str, ...]]:
            names = dict.fromkeys(name for table in tables for name in table)
            return FrozenDict({n: tuple(dict.fromkeys(v for t in tables for v in t.get(n, ()))) for n in names})

        return Routes(
            version="+".join(source.version for source in sources),
            fillings=merge([source.fillings for source in sources]),
            routes=merge([source.routes for source in sources]),
            examples=tuple(example for source in sources for example in source.examples),
        )

    def utterances(self, per_tool: int, seed: int = 0) -> list[tuple[str, str]]:
        """Return up to `per_tool` different (tool, text) pairs per tool, sampled evenly from its patterns."""
        pairs = []
        for tool, patterns in self.routes.items():
            # One generator per tool: adding a route leaves the utterances of all others as they are.
            rng = random.Random(f"{seed}{tool}")  # noqa: S311  not for security
            texts: dict[str, None] = {}
            # Random expansions repeat; four tries per text bound the loop for patterns with few expansions.
            for number in range(4 * per_tool):
                texts.setdefault(self._expand(patterns[number % len(patterns)], rng))
                if len(texts) == per_tool:
                    break
            pairs += [(tool, text) for text in texts]
        return pairs

    def _expand(self, pattern: str, rng: random.Random) -> str:
        while match := _PLACEHOLDER.search(pattern):
            options = match[1].split("|") if match[1] is not None else self.fillings[match[2]]
            pattern = pattern[: match.start()] + rng.choice(options) + pattern[match.end() :]
        return re.sub(r"\s+([,.:?!])", r"\1", " ".join(pattern.split()))


def load_routes(*files: Path) -> Routes:
    """Load the shipped routes, extended by the given YAML files.

    Raises:
        InvalidFile: If a file cannot be read or does not hold valid routes; the message names the lines.
    """
    shipped = [load_yaml(file, Routes) for file in sorted(_SHIPPED.glob("*.yaml"))]
    return shipped[0].merged_with([*shipped[1:], *(load_yaml(file, Routes) for file in files)])

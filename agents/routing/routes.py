"""Routes: what people say when they want a tool, as data that users extend."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, model_validator

from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.yaml_files import load_yaml

NONE = "none"
"""The route of requests that no tool is for."""

_SHIPPED = Path(__file__).parent / "data"
_CHOICE = re.compile(r"\[([^\[\]]*)\]|\{(\w+)\}")


class RouteExample(FrozenModel):
    """A request as somebody put it.

    Attributes:
        text: The words.
        tool: The tool that it is for, of several the one to call first; `none` for no tool.
        kind: What is difficult about it: `plain`, `paraphrase`, `typo`, `multi` or `out`.
    """

    text: str = Field(min_length=1)
    tool: str
    kind: str = "plain"


class Routes(FrozenModel):
    """What people say when they want a tool.

    Attributes:
        version: Changes whenever the rest does.
        fillings: What `{name}` in a pattern stands for.
        routes: Patterns by tool; `[a|b]` stands for any of the alternatives. What no tool is for is `none`.
        examples: Requests as people put them; thresholds are fitted on these.
    """

    version: str
    fillings: FrozenDict[str, tuple[str, ...]] = FrozenDict()
    routes: FrozenDict[str, tuple[str, ...]] = FrozenDict()
    examples: tuple[RouteExample, ...] = ()

    @model_validator(mode="after")
    def _fillings_are_there(self) -> Routes:
        used = {name for patterns in self.routes.values() for p in patterns for name in re.findall(r"\{(\w+)\}", p)}
        if missing := sorted(used - set(self.fillings)):
            msg = f"patterns use {missing}, which fillings do not have; they have {sorted(self.fillings)}"
            raise ValueError(msg)
        return self

    def joined(self, others: Iterable[Routes]) -> Routes:
        """These routes and others as one; fillings of the same name and patterns of the same tool are put together."""
        all_ = (self, *others)

        def together(tables: list[FrozenDict[str, tuple[str, ...]]]) -> FrozenDict[str, tuple[str, ...]]:
            names = dict.fromkeys(name for table in tables for name in table)
            return FrozenDict({n: tuple(dict.fromkeys(v for t in tables for v in t.get(n, ()))) for n in names})

        return Routes(
            version="+".join(each.version for each in all_),
            fillings=together([each.fillings for each in all_]),
            routes=together([each.routes for each in all_]),
            examples=tuple(example for each in all_ for example in each.examples),
        )

    def utterances(self, each: int, seed: int = 0) -> list[tuple[str, str]]:
        """Tool and text, up to so many different ones of each tool, drawn evenly from its patterns."""
        drawn = []
        for tool, patterns in self.routes.items():
            chance = random.Random(f"{seed}{tool}")  # noqa: S311  no secret
            texts: dict[str, None] = {}
            for number in range(4 * each):
                texts.setdefault(self._filled(patterns[number % len(patterns)], chance))
                if len(texts) == each:
                    break
            drawn += [(tool, text) for text in texts]
        return drawn

    def _filled(self, pattern: str, chance: random.Random) -> str:
        while found := _CHOICE.search(pattern):
            options = found[1].split("|") if found[1] is not None else self.fillings[found[2]]
            pattern = pattern[: found.start()] + chance.choice(options) + pattern[found.end() :]
        return re.sub(r"\s+([,.:?!])", r"\1", " ".join(pattern.split()))


def load_routes(*files: Path) -> Routes:
    """The shipped routes, and those of further files with them.

    Raises:
        InvalidFile: A file is none; the message names the lines.
    """
    shipped = [load_yaml(file, Routes) for file in sorted(_SHIPPED.glob("*.yaml"))]
    return shipped[0].joined([*shipped[1:], *(load_yaml(file, Routes) for file in files)])

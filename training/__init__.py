"""Train the embedded models. Run from the repository root; this package is not part of the wheel.

`python -m training.judge.train` and `python -m training.storyteller_mini.train` train a model. The `report` module beside
each prints the figures of its model card.
"""

from importlib.util import find_spec

from taleward.core.errors import MissingExtra

if not (find_spec("torch") and find_spec("sklearn")):
    raise MissingExtra("training", "training")

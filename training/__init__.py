"""Train the embedded models. Run from the repository root; this package is not part of the wheel.

`python -m training.judge.train`, `training.storyteller.train` and `training.storyteller_mini.train` train a model. The
modules `report` and `measure` beside them print the figures of the model cards.
"""

from importlib.util import find_spec

from taleward.core.errors import MissingExtra

if not (find_spec("torch") and find_spec("sklearn")):
    raise MissingExtra("training", "training")

"""How the embedded models are made. Run from the repository's root; not part of the wheel.

`python -m training.judge.train` and `python -m training.storyteller.train` train; each folder's `report` measures
for the model card.
"""

from importlib.util import find_spec

from taleward.core.errors import MissingExtra

if not (find_spec("torch") and find_spec("sklearn")):
    raise MissingExtra("training", "training")

"""How the embedded models are made: `storyteller.py` and `judge.py` train, their `_report.py` measure for the cards."""

if __name__ != "taleward.training":
    msg = "this folder is the package taleward.training; import it by that name"
    raise ImportError(msg)

from importlib.util import find_spec

from taleward.core.errors import MissingExtra

if not (find_spec("torch") and find_spec("sklearn")):
    raise MissingExtra("training", "training")

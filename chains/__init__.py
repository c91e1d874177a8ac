"""The chains that write, summarise and classify, and what they go by: templates and tasks as data.

`story.py` writes from a template (`templates/`), `summarize.py` and `zero_shot.py`, `few_shot.py` do tasks (`tasks/`);
`family.py` finds out which way a task goes with a model, `pens.py` and the `classify_*.py` are those ways. Nothing here
is judged: that is the guard's, but for `summary_guard.py`, which is one.
"""

if __name__ != "taleward.chains":
    msg = "this folder is the package taleward.chains; import it by that name"
    raise ImportError(msg)

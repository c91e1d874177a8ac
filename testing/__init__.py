"""What helps to test a part of your own, or an app; nothing in Taleward imports it.

`stores.py` holds what every vector store must do; `openai_server.py` is a server that speaks OpenAI's chat completions
and fails in every way, for the tests of apps.
"""

if __name__ != "taleward.testing":
    msg = "this folder is the package taleward.testing; import it by that name"
    raise ImportError(msg)

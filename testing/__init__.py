"""Fakes and conformance suites for the tests of your own app or package; no other package imports it.

`assert_tale_passes` and `assert_tale_refused` say in their failures what was judged. `FakeJudge` and `FakeWriter`
replace models in a guard, `FakeOpenAI` is a server that fails in every way a real one does, `StoreConformance` tests a
vector store of your own, and `kill_store` kills one while it works. `taleward.testing.pytest_plugin` has fixtures.

The public names are listed in `__init__.pyi`; each is loaded when it is first used.
"""

if __name__ != "taleward.testing":
    msg = "this folder is the package taleward.testing; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

from .assertions import assert_tale_passes as assert_tale_passes, assert_tale_refused as assert_tale_refused
from .fake_embeddings import WordEmbeddings as WordEmbeddings
from .fake_images import FakeImages as FakeImages, ImageFault as ImageFault
from .fake_judge import FakeJudge as FakeJudge
from .fake_openai import FakeOpenAI as FakeOpenAI, Fault as Fault
from .fake_writer import FakeWriter as FakeWriter
from .store_conformance import StoreConformance as StoreConformance
from .store_kills import KillReport as KillReport, kill_store as kill_store

__all__: list[str]

"""Encoders of the BERT architecture on ONNX Runtime (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taleward.backends.onnx.graph import Graph, Session
from taleward.backends.onnx.weights import Precision, rounded


def bert_session(
    weights: Mapping[str, Any], *, layers: int, heads: int, epsilon: float, precision: Precision = "float32"
) -> Session:
    """The network: word pieces (texts, pieces) and each text's length (texts,) to states (texts, pieces, width).

    A text shorter than the longest is padded behind its end; its length says how far it is read.

    Args:
        weights: By their names in a checkpoint of `BertModel`.
        layers: Layers to run; may be fewer than the checkpoint has.
        heads: Attention heads of a layer.
        epsilon: Of the layer normalisation.
        precision: `int8` rounds the weights and inputs of the linear layers, see `Graph.linear_int8`.
    """
    import numpy

    graph = Graph()
    pieces, lengths = graph.input("pieces", "int64", ("texts", "pieces")), graph.input("lengths", "int32", ("texts",))

    def normed(x: str, name: str) -> str:
        scale, shift = graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"])
        return graph.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)

    def linear(x: str, name: str, bias: Any = None) -> str:
        weight = weights[f"{name}.weight"]
        return graph.linear_int8(x, *rounded(weight), bias) if precision == "int8" else graph.linear(x, weight, bias)

    def biased(x: str, name: str) -> str:
        return linear(x, name, weights[f"{name}.bias"])

    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    zero, one, two = (graph.constant([n], "int64") for n in (0, 1, 2))
    longest = graph.node("Slice", graph.node("Shape", pieces), one, two)
    words = graph.node("Gather", graph.constant(weights["embeddings.word_embeddings.weight"]), pieces)
    x = graph.node("Add", words, graph.node("Slice", graph.constant(places), zero, longest))
    x = normed(x, "embeddings.LayerNorm")
    for layer in range(layers):
        part = f"encoder.layer.{layer}."
        own = [f"{part}attention.self.{name}" for name in ("query", "key", "value")]
        parts = [linear(x, name) for name in own]
        bias = graph.constant(numpy.concatenate([weights[f"{name}.bias"] for name in own]))
        mixed = graph.node("MultiHeadAttention", *parts, bias, lengths, fused=True, num_heads=heads)
        mixed = biased(mixed, f"{part}attention.output.dense")
        x = normed(graph.node("Add", x, mixed), f"{part}attention.output.LayerNorm")
        wide = graph.node("Gelu", biased(x, f"{part}intermediate.dense"))
        x = normed(graph.node("Add", x, biased(wide, f"{part}output.dense")), f"{part}output.LayerNorm")
    graph.node("Identity", x, to=("states",))
    graph.output("states", "float32", ("texts", "pieces", int(places.shape[1])))
    return graph.session()

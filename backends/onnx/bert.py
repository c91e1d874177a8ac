"""BERT encoders on ONNX Runtime (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taleward.backends.onnx.graph import Graph, Session
from taleward.backends.onnx.quantized_weights import WeightPrecision, quantize_int8


def bert_session(
    weights: Mapping[str, Any], *, layers: int, heads: int, epsilon: float, precision: WeightPrecision = "float32"
) -> Session:
    """Build the network: word pieces (texts, pieces) and text lengths (texts,) to hidden states (texts, pieces, width).

    Texts shorter than the longest are padded at the end; positions from a text's length on are not attended to.

    Args:
        weights: Weights by their names in a checkpoint of `BertModel`.
        layers: Number of layers to run; may be fewer than the checkpoint has.
        heads: Number of attention heads.
        epsilon: Epsilon of layer normalization.
        precision: `int8` quantizes the weights and inputs of the linear layers, see `Graph.linear_int8`.
    """
    import numpy

    graph = Graph()
    pieces, lengths = graph.input("pieces", "int64", ("texts", "pieces")), graph.input("lengths", "int32", ("texts",))

    def layer_norm(x: str, name: str) -> str:
        scale, shift = graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"])
        return graph.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)

    def linear(x: str, name: str, bias: Any = None) -> str:
        weight = weights[f"{name}.weight"]
        if precision == "int8":
            return graph.linear_int8(x, *quantize_int8(weight), bias)
        return graph.linear(x, weight, bias)

    def linear_with_bias(x: str, name: str) -> str:
        return linear(x, name, weights[f"{name}.bias"])

    # Texts are never pairs, so the first token type can be added to the positions once.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    zero, one, two = (graph.constant([n], "int64") for n in (0, 1, 2))
    longest = graph.node("Slice", graph.node("Shape", pieces), one, two)
    words = graph.node("Gather", graph.constant(weights["embeddings.word_embeddings.weight"]), pieces)
    x = graph.node("Add", words, graph.node("Slice", graph.constant(positions), zero, longest))
    x = layer_norm(x, "embeddings.LayerNorm")
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        projections = [f"{prefix}attention.self.{name}" for name in ("query", "key", "value")]
        query_key_value = [linear(x, name) for name in projections]
        # The fused operator adds the three biases itself.
        bias = graph.constant(numpy.concatenate([weights[f"{name}.bias"] for name in projections]))
        attended = graph.node("MultiHeadAttention", *query_key_value, bias, lengths, fused=True, num_heads=heads)
        attended = linear_with_bias(attended, f"{prefix}attention.output.dense")
        x = layer_norm(graph.node("Add", x, attended), f"{prefix}attention.output.LayerNorm")
        wide = graph.node("Gelu", linear_with_bias(x, f"{prefix}intermediate.dense"))
        x = layer_norm(
            graph.node("Add", x, linear_with_bias(wide, f"{prefix}output.dense")), f"{prefix}output.LayerNorm"
        )
    graph.node("Identity", x, to=("states",))
    graph.output("states", "float32", ("texts", "pieces", int(positions.shape[1])))
    return graph.session()

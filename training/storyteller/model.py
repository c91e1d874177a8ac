"""A small Llama in plain torch: what the storyteller is trained with.

The parameter names are those of `transformers.LlamaForCausalLM`, so a state dict of this module is the weights file
of a Hugging Face checkpoint. Writing the forty lines here instead of training the Hugging Face class gives the same
numbers (a test compares them) without its bookkeeping in every step.

Architecture: Touvron et al. 2023, arXiv 2302.13971; rotary positions: Su et al. 2021, arXiv 2104.09864;
grouped-query attention: Ainslie et al. 2023, arXiv 2305.13245.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a model. Widths and lengths count elements, tokens or layers."""

    vocab: int = 4096
    hidden: int = 256
    inner: int = 704
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    positions: int = 1024
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def to_config(self, *, bos: int, eos: int, pad: int) -> dict[str, Any]:
        """The `config.json` that makes `transformers` build the same model.

        Args:
            bos: Token number that begins a text.
            eos: Token number that ends a text.
            pad: Token number that fills up a batch.
        """
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": bos,
            "dtype": "float16",
            "eos_token_id": eos,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.inner,
            "max_position_embeddings": self.positions,
            "mlp_bias": False,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "pad_token_id": pad,
            "rms_norm_eps": self.norm_eps,
            "rope_parameters": {"rope_theta": self.rope_theta, "rope_type": "default"},
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": self.vocab,
        }


class _Norm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width = shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.k_proj = nn.Linear(shape.hidden, kv_width, bias=False)
        self.v_proj = nn.Linear(shape.hidden, kv_width, bias=False)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = (batch, length, -1, self.shape.head_dim)
        query = _rotate(self.q_proj(x).view(split).transpose(1, 2), cos, sin)
        key = _rotate(self.k_proj(x).view(split).transpose(1, 2), cos, sin)
        value = self.v_proj(x).view(split).transpose(1, 2)
        groups = self.shape.heads // self.shape.kv_heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class _FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.down_proj = nn.Linear(shape.inner, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = _Norm(shape.hidden, shape.norm_eps)
        self.self_attn = _Attention(shape)
        self.post_attention_layernorm = _Norm(shape.hidden, shape.norm_eps)
        self.mlp = _FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class _Body(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = _Norm(shape.hidden, shape.norm_eps)


class Llama(nn.Module):
    """Causal language model with tied embeddings."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape, *, generator: torch.Generator) -> None:
        """Start from random weights.

        Args:
            shape: The sizes.
            generator: Source of the random start; the same generator state gives the same weights.
        """
        super().__init__()
        self.shape = shape
        self.model = _Body(shape)
        steps = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        angles = torch.outer(torch.arange(shape.positions, dtype=torch.float32), shape.rope_theta**-steps)
        self.register_buffer("cos", torch.cat([angles, angles], 1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], 1).sin(), persistent=False)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim == 2:
                    narrow = name.endswith(("o_proj.weight", "down_proj.weight"))
                    std = 0.02 / (2 * shape.layers) ** 0.5 if narrow else 0.02
                    weight.normal_(0.0, std, generator=generator)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats a target token, averaged.

        Args:
            tokens: Token numbers, shape (batch, length).
            targets: The token wanted after each position, same shape; -100 where nothing is wanted.
        """
        x = self.model.embed_tokens(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        x = self.model.norm(x).flatten(0, 1)
        wanted = targets.flatten()
        kept = wanted != -100
        return _loss(x[kept], self.model.embed_tokens.weight, wanted[kept])


class _TiedLoss(torch.autograd.Function):
    """Mean cross-entropy of `x @ weight.T`, a slice of rows at a time, with the gradients taken on the way.

    The scores of all rows at once, and their gradient, would be the largest arrays of the step by far: on a CPU, making
    and reading them takes as long as the rest of the model.
    """

    ROWS = 1024

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        narrow, by = weight.to(dtype), 1 / len(targets)
        by_x, by_weight = torch.empty_like(x), torch.zeros_like(weight)
        loss = x.new_zeros((), dtype=torch.float32)
        for at in range(0, len(targets), _TiedLoss.ROWS):
            part, wanted = x[at : at + _TiedLoss.ROWS].to(dtype), targets[at : at + _TiedLoss.ROWS, None]
            scores = (part @ narrow.T).float()
            scores -= scores.logsumexp(1, keepdim=True)
            loss -= scores.gather(1, wanted).sum() * by
            gradient = scores.exp_()
            gradient.scatter_add_(1, wanted, gradient.new_full(wanted.shape, -1.0))
            gradient = gradient.mul_(by).to(dtype)
            by_x[at : at + _TiedLoss.ROWS] = gradient @ narrow
            by_weight += gradient.T @ part
        ctx.save_for_backward(by_x, by_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        by_x, by_weight = ctx.saved_tensors
        return by_x * outputs[0], by_weight * outputs[0], None


def _loss(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        loss: Tensor = _TiedLoss.apply(x, weight, targets)  # type: ignore[no-untyped-call]
        return loss
    return functional.cross_entropy(x @ weight.T, targets)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin

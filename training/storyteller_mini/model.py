"""A small Llama in plain PyTorch, with which the storyteller is trained.

The parameter names are those of `transformers.LlamaForCausalLM`, so the state dict is the weights file of a Hugging
Face checkpoint. Compared with training the Hugging Face class, the numbers are the same (a test compares them), without
its overhead in every step.

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
    """The sizes of a Llama model.

    Attributes:
        vocab: Number of tokens.
        hidden: Width of the hidden states.
        inner: Width of the feed-forward layers.
        layers: Number of layers.
        heads: Number of attention heads.
        kv_heads: Number of key and value heads, a divisor of `heads`.
        positions: The most tokens in a text.
        rope_theta: Base of the rotary frequencies.
        norm_eps: Epsilon of the RMS norms.
    """

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
        """Return the `config.json` with which `transformers` builds the same model.

        Args:
            bos: Id of the token that begins a text.
            eos: Id of the token that ends a text.
            pad: Id of the padding token.
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


class _RMSNorm(nn.Module):
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
        per_head = (batch, length, -1, self.shape.head_dim)
        query = _rotate(self.q_proj(x).view(per_head).transpose(1, 2), cos, sin)
        key = _rotate(self.k_proj(x).view(per_head).transpose(1, 2), cos, sin)
        value = self.v_proj(x).view(per_head).transpose(1, 2)
        groups = self.shape.heads // self.shape.kv_heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.o_proj(attended.transpose(1, 2).reshape(batch, length, width))
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
        self.input_layernorm = _RMSNorm(shape.hidden, shape.norm_eps)
        self.self_attn = _Attention(shape)
        self.post_attention_layernorm = _RMSNorm(shape.hidden, shape.norm_eps)
        self.mlp = _FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class _Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = _RMSNorm(shape.hidden, shape.norm_eps)


class Llama(nn.Module):
    """Causal language model with tied embeddings, initialized with random weights.

    Args:
        shape: The sizes.
        generator: Source of the random weights; the same state gives the same weights.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape, *, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.model = _Decoder(shape)
        exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        angles = torch.outer(torch.arange(shape.positions, dtype=torch.float32), shape.rope_theta**-exponents)
        self.register_buffer("cos", torch.cat([angles, angles], 1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], 1).sin(), persistent=False)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim == 2:
                    # Outputs of residual branches start smaller, as in GPT-2, so that deep sums do not grow.
                    is_residual_output = name.endswith(("o_proj.weight", "down_proj.weight"))
                    std = 0.02 / (2 * shape.layers) ** 0.5 if is_residual_output else 0.02
                    weight.normal_(0.0, std, generator=generator)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy per target token, in nats.

        Args:
            tokens: Token ids, shape (batch, length).
            targets: The id of the token after each position, same shape; -100 for positions to ignore.
        """
        x = self.model.embed_tokens(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        x = self.model.norm(x).flatten(0, 1)
        flat_targets = targets.flatten()
        has_target = flat_targets != -100
        return _loss(x[has_target], self.model.embed_tokens.weight, flat_targets[has_target])


class _TiedLoss(torch.autograd.Function):
    """Mean cross-entropy of `x @ weight.T`, computed with its gradients a slice of rows at a time.

    The logits of all rows, and their gradient, would be by far the largest arrays of a step: on a CPU, writing and
    reading them takes as long as the rest of the model.
    """

    SLICE_ROWS = 1024

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        cast_weight, scale = weight.to(dtype), 1 / len(targets)
        x_gradient, weight_gradient = torch.empty_like(x), torch.zeros_like(weight)
        loss = x.new_zeros((), dtype=torch.float32)
        for start in range(0, len(targets), _TiedLoss.SLICE_ROWS):
            rows = slice(start, start + _TiedLoss.SLICE_ROWS)
            x_slice, target_slice = x[rows].to(dtype), targets[rows, None]
            log_probs = (x_slice @ cast_weight.T).float()
            log_probs -= log_probs.logsumexp(1, keepdim=True)
            loss -= log_probs.gather(1, target_slice).sum() * scale
            # The gradient of the logits is the softmax minus one at the target; it reuses the array.
            logit_gradient = log_probs.exp_()
            logit_gradient.scatter_add_(1, target_slice, logit_gradient.new_full(target_slice.shape, -1.0))
            logit_gradient = logit_gradient.mul_(scale).to(dtype)
            x_gradient[rows] = logit_gradient @ cast_weight
            weight_gradient += logit_gradient.T @ x_slice
        ctx.save_for_backward(x_gradient, weight_gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        x_gradient, weight_gradient = ctx.saved_tensors
        return x_gradient * outputs[0], weight_gradient * outputs[0], None


def _loss(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        loss: Tensor = _TiedLoss.apply(x, weight, targets)  # type: ignore[no-untyped-call]
        return loss
    return functional.cross_entropy(x @ weight.T, targets)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin

"""The storyteller's optimizer: Muon for the matrices of the layers, AdamW for embeddings and norms.

Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; AdamW: Loshchilov and Hutter 2019,
arXiv 1711.05101. Matrices of the same shape are orthogonalized together, which on a CPU is several times faster than
one by one as in `torch.optim.Muon`. As there, this is done in bfloat16, since the result need not be exact.
"""

from collections import defaultdict

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration, from the Muon post.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


class Optimizer:
    """Muon and AdamW with a single `step`.

    Args:
        model: The model whose parameters `step` updates.
        muon_rate: Peak learning rate of the matrices.
        adam_rate: Peak learning rate of the other parameters.
        decay: Weight decay of the matrices, as a share of the learning rate.

    Attributes:
        state: The state as named tensors, for checkpoints.
    """

    def __init__(self, model: nn.Module, *, muon_rate: float, adam_rate: float, decay: float = 0.05) -> None:
        self._rates = (muon_rate, adam_rate)
        self._decay = decay
        self._matrices_by_shape: dict[tuple[int, ...], list[tuple[str, nn.Parameter]]] = defaultdict(list)
        self._other_weights: list[tuple[str, nn.Parameter]] = []
        self.state: dict[str, Tensor] = {"count": torch.zeros((), dtype=torch.int64)}
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embed" not in name:
                self._matrices_by_shape[tuple(weight.shape)].append((name, weight))
                self.state[f"{name}.momentum"] = torch.zeros_like(weight)
            else:
                self._other_weights.append((name, weight))
                self.state[f"{name}.mean"] = torch.zeros_like(weight)
                self.state[f"{name}.square"] = torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update the parameters and clear their gradients.

        Args:
            factor: Share of the peak learning rates to use, 0 to 1.

        Raises:
            RuntimeError: If a parameter has no gradient.
        """
        self.state["count"] += 1
        # The factor for the shape is that of the Muon post.
        for (rows, columns), members in self._matrices_by_shape.items():
            self._muon_step(members, self._rates[0] * factor, max(1.0, rows / columns) ** 0.5)
        for name, weight in self._other_weights:
            self._adam_step(name, weight, self._rates[1] * factor)

    def _muon_step(self, members: list[tuple[str, nn.Parameter]], rate: float, scale: float) -> None:
        updates = []
        for name, weight in members:
            gradient, momentum = _gradient(weight), self.state[f"{name}.momentum"]
            # Nesterov momentum of 0.95.
            momentum.lerp_(gradient, 0.05)
            updates.append(gradient.lerp(momentum, 0.95))
        for (_, weight), update in zip(members, _orthogonalize(torch.stack(updates)), strict=True):
            weight.mul_(1 - rate * self._decay).sub_(update, alpha=rate * scale)
            weight.grad = None

    def _adam_step(self, name: str, weight: nn.Parameter, rate: float) -> None:
        gradient, count = _gradient(weight), int(self.state["count"])
        mean, square = self.state[f"{name}.mean"], self.state[f"{name}.square"]
        # Betas of 0.9 and 0.95.
        mean.lerp_(gradient, 0.1)
        square.lerp_(gradient * gradient, 0.05)
        root_mean_square = (square / (1 - 0.95**count)).sqrt_().add_(1e-8)
        weight.sub_(mean / (1 - 0.9**count) / root_mean_square, alpha=rate)
        weight.grad = None


def _gradient(weight: nn.Parameter) -> Tensor:
    if weight.grad is None:
        raise RuntimeError("a parameter has no gradient: call backward() before step()")
    return weight.grad


def _orthogonalize(stack: Tensor) -> Tensor:
    """Move the singular values of each matrix near 1 by Newton-Schulz steps; shape (number, rows, columns)."""
    tall = stack.shape[1] > stack.shape[2]
    x = (stack.mT if tall else stack).to(torch.bfloat16)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    out: Tensor = (x.mT if tall else x).to(stack.dtype)
    return out

"""The normalisation with its own backward pass, against the library's."""

from __future__ import annotations

import torch

from cryptoai.encoders.norm import RMSNorm


def test_values_and_gradients_are_those_of_the_library() -> None:
    """Forward, gradient of the input and of the weight, for a batch of sequences."""
    draws = torch.Generator().manual_seed(0)
    x, up = (torch.randn(3, 5, 16, generator=draws) for _ in range(2))
    ours, theirs = RMSNorm(16), torch.nn.RMSNorm(16)
    found = []
    for norm in (ours, theirs):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2.0, 16))
        given = x.clone().requires_grad_()
        out = norm(given)
        (out * up).sum().backward()
        assert given.grad is not None
        assert norm.weight.grad is not None
        found.append((out, given.grad, norm.weight.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_numbers_do_not_depend_on_whether_gradients_are_wanted() -> None:
    """Training and inference see the same to rounding."""
    norm, x = RMSNorm(8), torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = norm(x)
    assert torch.allclose(norm(x), plain, atol=1e-6)


def test_zero_stays_zero() -> None:
    """An empty step has no direction to blow up, and a finite gradient."""
    x = torch.zeros(2, 8, requires_grad=True)
    out = RMSNorm(8)(x)
    out.sum().backward()
    assert torch.equal(out, torch.zeros(2, 8))
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())

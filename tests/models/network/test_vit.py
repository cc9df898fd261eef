"""Tests of the image encoder."""

from __future__ import annotations

import pytest
import torch

from napari_cellsam.models.network import vit
from napari_cellsam.models.network.vit import VitConfig, build_encoder, encode_tokens, use_precision

TINY = VitConfig(width=32, depth=3, n_heads=2, n_hidden=48, global_blocks=(1,), window=3, side=128, n_out=16)


def _encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    encoder = build_encoder(TINY)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.eval().requires_grad_(False)


@pytest.mark.parametrize("scores_at_once", [64, 700, 2**19])
def test_the_encoder_gives_what_segment_anything_gives(scores_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit, "_SCORES_AT_ONCE_CPU", scores_at_once)
    encoder, picture = _encoder(), torch.randn(2, 3, 128, 128)
    tokens = encode_tokens(encoder, picture)
    assert tokens.shape == (2, 32, 8, 8)
    torch.testing.assert_close(encoder.neck(tokens), encoder(picture), atol=2e-5, rtol=2e-5)


def test_the_fused_attention_of_other_devices_agrees_with_the_processors() -> None:
    q, k, v = torch.randn(3, 6, 9, 4)
    position = torch.randn(6, 9, 3), torch.randn(6, 9, 3)
    torch.testing.assert_close(vit._attend_fused(q, k, v, *position), vit._attend_in_cache(q, k, v, *position))


def test_norms_of_the_encoder_have_sams_epsilon() -> None:
    norms = [m for m in build_encoder(TINY).modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 6 and {m.eps for m in norms} == {1e-6}


def test_half_precision_keeps_sums_and_norms_in_full_precision() -> None:
    encoder, picture = _encoder(), torch.randn(1, 3, 128, 128)
    expected = encode_tokens(encoder, picture)
    use_precision(encoder, torch.bfloat16)
    assert encoder.blocks[0].norm1.weight.dtype == encoder.pos_embed.dtype == torch.float32
    assert encoder.blocks[0].mlp.lin1.weight.dtype == torch.bfloat16
    tokens = encode_tokens(encoder, picture)
    assert tokens.dtype == torch.float32
    assert 0 < (tokens - expected).norm() / expected.norm() < 0.02


def test_gradients_reach_every_weight() -> None:
    encoder = _encoder().requires_grad_(True)
    encoder.neck(encode_tokens(encoder, torch.randn(1, 3, 128, 128))).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())

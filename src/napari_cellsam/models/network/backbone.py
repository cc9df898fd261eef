"""The compact model's image encoder: a small residual network with a feature pyramid."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PyramidBackbone"]


class PyramidBackbone(nn.Module):
    """Encode a picture at stride 8 (wide) and stride 4 (fine).

    A timm ResNet of basic blocks (dense 3 x 3 convolutions: on a CPU in bf16 they cost less than depthwise ones) whose
    stem goes to stride 4 at once, under a top-down feature pyramid (Lin et al., CVPR 2017).

    Parameters
    ----------
    channels, layers
        Channels and blocks of the four stages, at strides 4, 8, 16 and 32.
    n_wide, n_fine
        Channels of the two outputs.
    """

    def __init__(self, channels: tuple[int, ...], layers: tuple[int, ...], n_wide: int, n_fine: int) -> None:
        super().__init__()
        import timm

        self.body = timm.create_model(
            "resnet18", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4), channels=channels, layers=layers
        )
        stem = cast("nn.BatchNorm2d", self.body.bn1)
        self.body.conv1 = nn.Conv2d(3, stem.num_features, 7, stride=4, padding=3, bias=False)
        self.body.maxpool = nn.Identity()
        self.lateral = nn.ModuleList(nn.Conv2d(c, n_wide, 1) for c in channels[1:])
        self.smooth = _conv_norm(n_wide, n_wide)
        self.fine_lateral = nn.Conv2d(channels[0], n_fine, 1)
        self.fine_top = nn.Conv2d(n_wide, n_fine, 1)
        self.fine_smooth = _conv_norm(n_fine, n_fine)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of a picture.

        Parameters
        ----------
        picture
            ``(B, 3, H, W)``, H and W multiples of 32.

        Returns
        -------
        tuple of Tensor
            ``(B, n_wide, H / 8, W / 8)`` and ``(B, n_fine, H / 4, W / 4)``.
        """
        stride_4, *deeper = self.body(picture)
        top = self.lateral[-1](deeper[-1])
        for lateral, feature in zip(reversed(self.lateral[:-1]), reversed(deeper[:-1]), strict=True):
            top = lateral(feature) + F.interpolate(top, scale_factor=2.0, mode="nearest")
        wide = self.smooth(top)
        fine = self.fine_lateral(stride_4) + F.interpolate(self.fine_top(wide), scale_factor=2.0, mode="bilinear")
        return wide, self.fine_smooth(fine)


def _conv_norm(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))

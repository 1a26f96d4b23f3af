"""SAM's image encoder with fused attention: same weights, no matrix of all pairs of places.

segment-anything adds to every pair's q k a term for their offset in rows and one for that in
columns, q r. Both are written here as further numbers of the query, of which the key picks one
each, so that torch's own attention does the rest. Results differ from the reference by rounding
(less than 1e-6 of the greatest value).
"""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

MULTIPLE = 8  # of which the length of a query has to be for the fastest attention on a GPU


class FusedAttention(Attention):
    """segment-anything's attention, with relative positions or without."""

    def forward(self, x: Tensor) -> Tensor:
        """Map B x H x W x C to the same shape."""
        size, height, width, _ = x.shape
        queries, keys, values = (
            self.qkv(x).view(size, height * width, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        )
        if not self.use_rel_pos:
            # Its own scale is the same; one that is given is exported in double precision, which
            # no graphics card computes.
            read = F.scaled_dot_product_attention(queries, keys, values)
            return self.proj(read.transpose(1, 2).reshape(x.shape))
        grid = queries.unflatten(2, (height, width))
        by_row = torch.einsum(
            "bnhwc,hkc->bnhwk", grid, get_rel_pos(height, height, self.rel_pos_h)
        ).flatten(2, 3)
        by_col = torch.einsum(
            "bnhwc,wkc->bnhwk", grid, get_rel_pos(width, width, self.rel_pos_w)
        ).flatten(2, 3)
        row, col = (torch.eye(n, dtype=x.dtype, device=x.device) for n in (height, width))
        picks = torch.cat([row.repeat_interleave(width, dim=0), col.repeat(height, 1)], dim=1)
        parts = (
            torch.cat([queries * self.scale, by_row, by_col], dim=-1),
            torch.cat([keys, picks.expand(size, self.num_heads, -1, -1)], dim=-1),
            F.pad(values, (0, height + width)),
        )
        padded = (F.pad(part, (0, -part.shape[-1] % MULTIPLE)) for part in parts)
        read = F.scaled_dot_product_attention(*padded, scale=1.0)[..., : values.shape[-1]]
        return self.proj(read.transpose(1, 2).reshape(x.shape))


def fuse(encoder: nn.Module) -> None:
    """Let an image encoder's attentions be computed as here, from now on."""
    for module in encoder.modules():
        if type(module) is Attention:
            module.__class__ = FusedAttention

"""Attention between a few prompt tokens and many image tokens, the projections moved to the few.

A query q meets the key W x of every image token x, and q (W x) = (W' q) x: so it is the queries
that are projected twice, with one matrix made beforehand, and the image's tokens not at all.
Queries of the image and values go the same way. Results differ by rounding from
`segment_anything.modeling.transformer.Attention`.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Linear = tuple[Tensor, Tensor]  # weight and bias


class Reading:
    """Few tokens that read others: what attention gives, without residual and norm."""

    def __init__(self, attention: Attention, projected: bool = False) -> None:
        """projected: it is given keys and values instead of the tokens that are read."""
        (query, query_bias), (key, _), (value, value_bias), out = _by_head(attention)
        if projected:
            key = value = _own_parts(query)
        # A key's bias adds the same to all that a query meets, which softmax takes away again.
        scaled = key / query.shape[1] ** 0.5
        self.ask = _folded(
            torch.einsum("hdi,hdc->hic", scaled, query),
            torch.einsum("hdi,hd->hi", scaled, query_bias),
        )
        bias = attention.out_proj.bias + torch.einsum("chd,hd->c", out, value_bias).to(out)
        self.answer = torch.einsum("chd,hdi->chi", out, value).flatten(1), bias

    def __call__(self, placed: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return B x T x C that tokens `placed`, B x T x C, read of keys and values.

        keys, values: N x D or B x N x D.
        """
        size = len(placed)
        asked = F.linear(placed, *self.ask).view(size, -1, keys.shape[-1])
        read = torch.softmax(asked @ keys.transpose(-2, -1), dim=-1) @ values
        return F.linear(read.view(size, -1, self.answer[0].shape[1]), *self.answer)


class FromImage:
    """Image tokens that read the prompt tokens: attention, residual and norm."""

    def __init__(self, attention: Attention, norm: nn.LayerNorm, projected: bool = False) -> None:
        """projected: it is given the queries of the image's tokens, without their bias."""
        self.norm, self.heads = norm, attention.num_heads
        (query, query_bias), (key, key_bias), (value, value_bias), out = _by_head(attention)
        if projected:
            query = _own_parts(query)
        scaled, scaled_bias = (part / query.shape[1] ** 0.5 for part in (query, query_bias))
        self.offer = _folded(
            torch.einsum("hdi,hdc->hic", scaled, key), torch.einsum("hdi,hd->hi", scaled, key_bias)
        )
        self.level = (
            torch.einsum("hd,hdc->hc", scaled_bias, key),
            torch.einsum("hd,hd->h", scaled_bias, key_bias),
        )
        share = attention.out_proj.bias / self.heads  # the weights of a head sum to one
        self.give = _folded(
            torch.einsum("chd,hdi->hci", out, value),
            torch.einsum("chd,hd->hc", out, value_bias) + share,
        )

    def __call__(self, prompts: Tensor, origin: Tensor, tokens: Tensor, queries: Tensor) -> Tensor:
        """Image tokens B x N x C that have read prompts B x T x C.

        origin: B x T x C, added to the prompts where they are compared. tokens, queries: N x C or B
        x N x C, N x D or B x N x D.
        """
        size = len(prompts)
        placed = prompts + origin
        offered = F.linear(placed, *self.offer).view(size, -1, queries.shape[-1])
        weights = (offered @ queries.transpose(-2, -1)).add_(
            F.linear(placed, *self.level).view(size, -1, 1)
        )
        weights = torch.softmax(
            weights.view(size, -1, self.heads, tokens.shape[-2]), dim=1
        ).flatten(1, 2)
        given = F.linear(prompts, *self.give).view(size, -1, tokens.shape[-1])
        return self.norm(
            torch.baddbmm(tokens.view(-1, *tokens.shape[-2:]), weights.transpose(-2, -1), given)
        )


def _by_head(attention: Attention) -> tuple[Linear, Linear, Linear, Tensor]:
    """Return weights H x d x C and biases H x d of queries, keys and values by head."""
    heads = attention.num_heads
    linears = attention.q_proj, attention.k_proj, attention.v_proj
    parts = (
        (x.weight.unflatten(0, (heads, -1)), x.bias.unflatten(0, (heads, -1))) for x in linears
    )
    return *parts, attention.out_proj.weight.unflatten(1, (heads, -1))


def _own_parts(weight: Tensor) -> Tensor:
    """Weights H x d x Hd that take from all heads' numbers each head its own. weight: H x d x C."""
    heads, dim = weight.shape[:2]
    return torch.eye(heads * dim, dtype=weight.dtype, device=weight.device).view(heads, dim, -1)


def _folded(weight: Tensor, bias: Tensor) -> Linear:
    """Return a linear map to all heads' vectors, one after the other.

    weights: H x D x C. biases: H x D.
    """
    return weight.flatten(0, 1).contiguous(), bias.flatten().contiguous()

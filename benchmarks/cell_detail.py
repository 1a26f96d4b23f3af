"""Which layer of `sam_small` loses where in a cell of its embedding an edge runs.

    python benchmarks/cell_detail.py [--weights sam_small.pt] [--drawings 60]

On unseen drawings the grey values at half resolution within each cell of 8 x 8 pixels, less their
mean, are explained by ridge regression on what a layer holds of the cell; the share that is
explained is measured on the second half of the cells. Layers behind the decoder are those of one
click in the middle of the first object. weights: a file of another training; detail that it lacks
is zero.
"""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from report import write
from torch import Tensor, nn

from medsam_utils.demo.drawings import Drawings
from medsam_utils.demo.training_sam import RECIPE, UNSEEN, initial_network, network_input
from medsam_utils.models import MODELS, load_model
from medsam_utils.models.sam_small import CHANNELS, STRIDE
from medsam_utils.workflows.training import decode, innermost


def by_cell(values: Tensor, cells: int) -> Tensor:
    """Map B x C x kh x kw with h = w = `cells` to one line of C x k x k numbers for each cell."""
    side = values.shape[-1] // cells
    parts = values.unflatten(3, (cells, side)).unflatten(2, (cells, side))
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(0, 2).double()


def explained(layer: Tensor, detail: Tensor) -> float:
    """Share of the variance of `detail` that a layer's numbers explain linearly, half held out."""
    layer = torch.cat([layer, torch.ones(len(layer), 1)], 1)
    half = len(layer) // 2
    learnt, wanted = layer[:half], detail[:half]
    ridge = 1e-3 * half * torch.eye(layer.shape[1])
    weights = torch.linalg.solve(learnt.T @ learnt + ridge, learnt.T @ wanted)
    rest = (detail[half:] - layer[half:] @ weights).square().sum()
    return 1 - (rest / (detail[half:] - wanted.mean(0)).square().sum()).item()


def layers(network: nn.Module, count: int) -> tuple[dict[str, Tensor], Tensor]:
    """What the layers hold of the images of `count` drawings, and those at half resolution."""
    drawn = Drawings(UNSEEN, 1, count)
    batch = torch.utils.data.default_collate([drawn[i] for i in range(count)])
    images, held = network_input(network, batch, "cpu"), {}
    decoder = network.mask_decoder

    def keep(name: str, layer: nn.Module) -> None:
        layer.register_forward_hook(lambda *call: held.update({name: call[2]}))

    for number, stage in enumerate(network.image_encoder.stages, start=1):
        keep(f"encoder, stage {number}", stage)
    keep("decoder, attention", decoder.transformer)
    keep("decoder, first upscaling", decoder.output_upscaling[2])
    keep("decoder, second upscaling", decoder.output_upscaling[4])
    embedding = network.image_encoder(images)
    middles = [innermost(mask[0].numpy() > 0)[::-1] for mask in batch["masks"]]
    points = torch.tensor(np.array(middles), dtype=torch.float32)[:, None]
    decode(network, embedding, points, torch.ones(count, 1))
    held.pop("encoder, stage 4")  # coarser than a cell
    tokens = held["decoder, attention"][1].transpose(1, 2)
    held["decoder, attention"] = tokens.unflatten(2, embedding.shape[2:])
    at = list(held).index("decoder, attention")
    parts = [*list(held.items())[:at], ("embedding", embedding[:, :CHANNELS])]
    return dict([*parts, *list(held.items())[at:]]), nn.functional.avg_pool2d(images[:, :1], 2)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="")
    parser.add_argument("--drawings", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shipped = MODELS["sam_small"].checkpoint.path()
    columns = {"in the repository": load_model("sam_small", device="cpu").network}
    if options.weights:
        columns["given, without detail"] = initial_network(
            options.weights, replace(RECIPE, detail=False, mix=False)
        )
    table = {}
    for name, network in columns.items():
        with torch.no_grad():
            held, images = layers(network.eval(), options.drawings)
        cells = network.image_encoder.img_size // STRIDE
        detail = by_cell(images, cells)
        detail = detail - detail.mean(1, keepdim=True)
        table[name] = {key: explained(by_cell(v, cells), detail) for key, v in held.items()}
    found = pd.DataFrame(table).round(3).rename_axis("layer").reset_index()
    write("cell_detail", f"Share of the grey values within a cell that {shipped.name} holds", found)


if __name__ == "__main__":
    main()

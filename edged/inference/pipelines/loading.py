"""Which pipeline a manifest asks for."""

from __future__ import annotations

from edged.errors import BadModel
from edged.inference.manifest import AudioInput, ImageInput, Keyword, TensorInput, VectorInput
from edged.inference.pipelines.audio import AudioPipeline
from edged.inference.pipelines.pipeline import Parts, Pipeline
from edged.inference.pipelines.single import ImagePipeline, TensorPipeline, VectorPipeline


def load(parts: Parts) -> Pipeline:
    """The pipeline for a manifest's kind of input."""
    match parts.manifest.input, parts.manifest.output:
        case ImageInput() as given, _:
            return ImagePipeline(parts, given)
        case AudioInput() as given, Keyword() as output:
            return AudioPipeline(parts, given, output)
        case VectorInput() as given, _:
            return VectorPipeline(parts, given)
        case TensorInput(), _:
            return TensorPipeline(parts)
    raise BadModel(f"{parts.manifest.name}: no pipeline for its kinds of input and output")

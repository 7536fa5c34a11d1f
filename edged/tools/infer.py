"""One tool for each active model, its schemas made from the manifest.

Arguments become a `Request`, the scheduler's `Answer` becomes a result; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from edged.errors import BadArgument, NotAllowed
from edged.inference.manifest import (
    Anomaly,
    AudioInput,
    Classification,
    Detection,
    ImageInput,
    Keyword,
    Manifest,
    Ssd,
    TensorInput,
    Tensors,
    VectorInput,
)
from edged.inference.outputs.decoders import describe
from edged.inference.request import Encoded, Given, GivenTensors, Numbers, Pcm, Raw, Request
from edged.inference.values import Answer, Deviation, Heard, Labels, Layout, Objects, Stages, TensorList
from edged.inference.worker import Reply
from edged.mcp.catalog import Annotations, Call, Image, Tier, Tool, ToolResult
from edged.tools.arguments import AudioArgument, ImageArgument, Sources

PRIORITY_OF_ALL = 5
"""Above it only operators may go: who may claim priority follows from the tier alone."""

Share = Annotated[float, Meta(ge=0, le=1)]
Rank = Annotated[int, Meta(ge=1, le=100)]
Patience = Annotated[float, Meta(gt=0, le=600)]
StreamName = Annotated[str, Meta(min_length=1, max_length=64)]

Submit = Callable[[Request, Reply | None], Awaitable[Answer]]


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every inference accepts."""

    variant: Annotated[str | None, Meta(description="Default: the best variant that the limits allow")] = None
    priority: Annotated[
        int, Meta(ge=0, le=9, description="0 lowest to 9 highest; above 5 for operators only")
    ] = PRIORITY_OF_ALL
    deadline_s: Annotated[
        Patience | None, Meta(description="Seconds it may wait to run; default: as configured")
    ] = None


class OfPicture(Common, frozen=True, kw_only=True):
    """A picture to look at."""

    image: ImageArgument
    annotate: Annotated[bool, Meta(description="Also return the picture with the finding drawn in")] = False
    threshold: Annotated[
        Share | None, Meta(description="Leave out what scores less; default: the manifest's")
    ] = None
    top_k: Annotated[Rank | None, Meta(description="At most so many; default: the manifest's")] = None


class OfSound(Common, frozen=True, kw_only=True):
    """A recording to listen to."""

    audio: AudioArgument
    stream: Annotated[
        StreamName | None,
        Meta(description="Continue this stream of yours; absent: judge the recording by itself"),
    ] = None
    threshold: Annotated[
        Share | None, Meta(description="Heard from this score on; default: the manifest's")
    ] = None


class OfNumbers(Common, frozen=True, kw_only=True):
    """Readings to judge."""

    values: Annotated[
        dict[str, float] | list[float],
        Meta(description="In natural units: every name with its number, or all in the manifest's order"),
    ]


class OfTensors(Common, frozen=True, kw_only=True):
    """Input tensors as they are."""

    tensors: Annotated[
        list[list[float]], Meta(description="Each input tensor, flat, row-major, in real units")
    ]


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What answered, how long each stage took, and under which limits."""

    model: str
    version: str
    variant: str
    limits: str
    stages: Stages


class _Shape(NamedTuple):
    arguments: type[Common]
    given: Callable[[Sources, Call, Any], Given]


class Endpoint:
    """One active model: arguments to a request, an answer to a result."""

    def __init__(self, manifest: Manifest, sources: Sources) -> None:
        self.manifest = manifest
        self.arguments, self._given = SHAPES[type(manifest.input)]
        self.shape = _result(manifest)
        self._sources = sources

    def request(self, call: Call, arguments: Any) -> Request:
        """What to run. Raises NotAllowed, BadArgument, NotFound, TooLarge."""
        if arguments.priority > PRIORITY_OF_ALL and call.principal.tier < Tier.OPERATOR:
            raise NotAllowed(f"$.priority: above {PRIORITY_OF_ALL} is for operators")
        given = self._given(self._sources, call, arguments)
        return _request(self.manifest.name, call, arguments, given)

    def result(self, answer: Answer) -> ToolResult:
        """What its tool answers."""
        return _answered(self.shape, answer)


def tool(endpoint: Endpoint, submit: Submit) -> Tool:
    """Build `infer_<name>` for an active model."""

    def infer(call: Call, arguments: Any) -> Awaitable[Any]:
        request = endpoint.request(call, arguments)
        return submit(request, lambda answer: call.answer(endpoint.result(answer)))

    manifest = endpoint.manifest
    return Tool(
        name=f"infer_{manifest.name}",
        title=manifest.title,
        description=manifest.description,
        arguments=endpoint.arguments,
        result=endpoint.shape,
        handler=infer,
        tier=Tier.ACT,
        annotations=Annotations(
            read_only=True, destructive=False, idempotent=not isinstance(manifest.input, AudioInput)
        ),
    )


def _request(model: str, call: Call, arguments: Any, given: Given) -> Request:
    return Request(
        model=model,
        given=given,
        peer=call.peer,
        top_k=getattr(arguments, "top_k", None),
        threshold=getattr(arguments, "threshold", None),
        annotate=getattr(arguments, "annotate", False),
        variant=arguments.variant,
        priority=arguments.priority,
        deadline_s=_shorter(arguments.deadline_s, call.patience_s),
        stream=getattr(arguments, "stream", None),
    )


def _shorter(a: float | None, b: float | None) -> float | None:
    """The shorter of two times that may be unlimited."""
    return min((s for s in (a, b) if s is not None), default=None)


def _answered(result: type[msgspec.Struct], answer: Answer) -> ToolResult:
    ran = Ran(
        model=answer.model,
        version=answer.version,
        variant=answer.variant,
        limits=answer.limits,
        stages=answer.stages,
    )
    finding = answer.finding
    fields = {name: getattr(finding, name) for name in finding.__struct_fields__}
    images = (Image(data=answer.annotated_png, mime="image/png"),) if answer.annotated_png else ()
    return ToolResult(structured=result(**fields, ran=ran), text=describe(finding), content=images)


def _result(manifest: Manifest) -> type[msgspec.Struct]:
    """Return the finding's Struct with `ran` beside it: an agent reads one flat object."""
    finding = FINDINGS[type(manifest.output)]
    name = f"{manifest.name.title().replace('_', '')}Answer"
    return msgspec.defstruct(name, [("ran", Ran)], bases=(finding,), frozen=True, kw_only=True)


def _picture(sources: Sources, call: Call, arguments: OfPicture) -> Given:
    image = arguments.image
    raw = (image.layout, image.width, image.height)
    if raw == (None, None, None):
        return Encoded(_private(sources.resolve(call, image, "$.image")))
    if image.layout is None or image.width is None or image.height is None:
        raise BadArgument(
            "$.image: raw pixels need layout, width and height; an encoded picture none of them"
        )
    layout = Layout(image.layout)
    length = layout.size(image.height, image.width)
    data = sources.resolve(call, image, "$.image", length)
    return Raw(layout=layout, width=image.width, height=image.height, data=data)


def _sound(sources: Sources, call: Call, arguments: OfSound) -> Given:
    data = _private(sources.resolve(call, arguments.audio, "$.audio"))
    rate_hz = arguments.audio.rate_hz
    return Encoded(data) if rate_hz is None else Pcm(rate_hz=rate_hz, data=data)


def _numbers(_sources: Sources, _call: Call, arguments: OfNumbers) -> Given:
    return Numbers(arguments.values)


def _tensors(_sources: Sources, _call: Call, arguments: OfTensors) -> Given:
    return GivenTensors(arguments.tensors)


def _private(data: bytes | memoryview) -> bytes | memoryview:
    """Copy encoded bytes out of a mapping: a decoder must not see them change under it."""
    return bytes(data) if isinstance(data, memoryview) else data


SHAPES: dict[type[Any], _Shape] = {
    ImageInput: _Shape(OfPicture, _picture),
    AudioInput: _Shape(OfSound, _sound),
    VectorInput: _Shape(OfNumbers, _numbers),
    TensorInput: _Shape(OfTensors, _tensors),
}

FINDINGS: dict[type[Any], type[msgspec.Struct]] = {
    Classification: Labels,
    Ssd: Objects,
    Detection: Objects,
    Keyword: Heard,
    Anomaly: Deviation,
    Tensors: TensorList,
}

"""The canary of a model that upstreams run: its inputs as a request, and whether an answer is what it expects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from modelward.config.canary import CanarySettings
from modelward.config.schema import Config
from modelward.config.upstream import UpstreamAddress, parse_upstream
from modelward.lazy import Lazy
from modelward.models.canary import Array, Arrays, Canary, Specs, compared, load
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import canonical
from modelward.rpc.contents import AnswerProblem, decode_all, encode
from modelward.rpc.protocol import INFERENCE_SERVICE, Code
from modelward.tensors import TensorSpec
from modelward.upstream.channel import CallError, method, open_channel

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

# An answer may take as long as that, from the connection on.
ANSWER_SECONDS = 30.0
# What says nothing of what the server would answer.
UNJUDGED = {
    Code.UNAVAILABLE: "it cannot be reached, or is not ready",
    Code.DEADLINE_EXCEEDED: "it timed out",
    Code.RESOURCE_EXHAUSTED: "it is busy",
    Code.CANCELLED: "it ended the call",
    Code.ABORTED: "it ended the call",
    Code.UNAUTHENTICATED: "it wants a credential",
    Code.PERMISSION_DENIED: "it wants another credential",
}


class Unjudged(Exception):
    """There is no answer to be judged, and why, in words."""


def load_canary(name: str, settings: CanarySettings, inputs: Specs, outputs: Specs) -> Canary | None:
    """None where the settings name no file. Raises ProblemsFound."""
    if settings.file is None:
        return None
    try:
        file = canonical(settings.file)
    except OSError as error:
        what, why = f"the canary of model {name} cannot be read", error.strerror or str(error)
        how = "Record it: modelward canary record MODEL --url HOST:PORT --data FILE --out FILE"
        raise ProblemsFound([Problem(what, str(settings.file), why, how)]) from error
    return load(file.parent, file, inputs, outputs)


async def ask(address: UpstreamAddress, model: str, canary: Canary, inputs: Specs, version: str = "") -> str | None:
    """What is wrong with the answer of the server there; None for nothing. version: empty for the server's choice.
    Raises Unjudged, ProblemsFound."""
    async with open_channel(address) as channel:
        path = f"/{INFERENCE_SERVICE}/ModelInfer"
        began = asyncio.get_running_loop().time()
        infer = method(channel, path, "inference.ModelInferRequest", "inference.ModelInferResponse")
        try:
            response = await infer(ANSWER_SECONDS, **request(model, canary.inputs, inputs), model_version=version)
        except CallError as error:
            words = f"{error.code.name}: {error.details}"[:300]
            if error.code in UNJUDGED:
                spent = asyncio.get_running_loop().time() - began
                took = f"after {spent:.1f} of {ANSWER_SECONDS:g} s"
                raise Unjudged(f"{UNJUDGED[error.code]}, {took} ({words})") from None
            return f"it refuses the canary's inputs: {words}"
    try:
        return compared(canary, answer(response))
    except AnswerProblem as problem:
        return f"its answer cannot be read: {problem}"


async def differences(
    config: Config, models: Iterable[tuple[str, Sequence[str], Canary | None, Specs]]
) -> list[Problem]:
    """Which endpoints do not answer as recorded now, as notes: serve begins without them, and asks on. models: name,
    addresses as configured, canary, inputs."""
    found = []
    for name, addresses, canary, inputs in models:
        for text in addresses if canary is not None else ():
            assert canary is not None
            try:
                why = await ask(parse_upstream(text, config.upstream_tls_of(name)), name, canary, inputs)
                what = f"the upstream fails the canary of model {name} and gets none of its requests"
            except (Unjudged, ProblemsFound) as reason:
                what, why = f"the upstream does not answer the canary of model {name} now", str(reason)
            if why is not None:
                found.append(Problem(what, text, why, "Find out what answers there"))
    return found


def request(model: str, inputs: Arrays, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Fields of a ModelInferRequest. inputs: as a canary has them."""
    given = [(spec, inputs[spec.name]) for spec in specs if spec.name in inputs]
    tensors = [{"name": spec.name, "datatype": spec.datatype, "shape": array.shape} for spec, array in given]
    return {"model_name": model, "inputs": tensors, "raw_input_contents": [_raw(spec, array) for spec, array in given]}


def answer(response: Any) -> Arrays:
    """Outputs of a ModelInferResponse by name, BF16 as float32. Raises AnswerProblem."""
    arrays = decode_all(response.outputs, response.raw_output_contents)
    return {output.name: array for output, array in zip(response.outputs, arrays, strict=True)}


def _raw(spec: TensorSpec, array: Array) -> bytes:
    # a canary has BF16 as its bits
    return array.astype("<u2").tobytes() if spec.datatype == "BF16" else encode(array, spec.datatype)


def as_engine(array: Array, datatype: str) -> Array:
    """An output as an engine gives it: BF16 as its bits."""
    return (array.view(np.uint32) >> np.uint32(16)).astype(np.uint16) if datatype == "BF16" else array

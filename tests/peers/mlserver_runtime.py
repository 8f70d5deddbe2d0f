"""Runs inside MLServer, never imported here: see the package for what the models do."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

SLOW_SECONDS = 0.5


class Add(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self.answer(NumpyCodec.decode_input(payload.inputs[0]) + 1)

    def answer(self, array: np.ndarray) -> InferenceResponse:
        y = NumpyCodec.encode_output("y", array)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[y])


class Slow(Add):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(SLOW_SECONDS)
        return await super().predict(payload)


class Repeat(Add):
    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for i in range(int(NumpyCodec.decode_input(payload.inputs[0]).item())):
                yield self.answer(np.array([[i]], np.int32))

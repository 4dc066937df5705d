"""An MLServer runtime: the score is the age."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Churn(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        ages = NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("score", ages)])

    async def predict_stream(self, payloads):
        async for payload in payloads:
            yield await self.predict(payload)

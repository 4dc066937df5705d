"""A KServe model server, by the peers' interpreter: the score is the age."""

import sys

PORT = int(sys.argv.pop(1))

import numpy as np  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402


class Churn(Model):
    def __init__(self):
        super().__init__("churn")
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        if not isinstance(payload, InferRequest):
            return {"predictions": [row["age"] for row in payload["instances"]]}
        ages = payload.inputs[0].as_numpy().astype(np.float32)
        score = InferOutput("score", list(ages.shape), "FP32")
        wanted = payload.request_outputs or []
        binary = any((output.parameters or {}).get("binary_data") for output in wanted)
        score.set_data_from_numpy(ages, binary_data=binary)
        return InferResponse(payload.id or "1", "churn", [score])


if __name__ == "__main__":
    ModelServer(http_port=PORT, enable_grpc=False, workers=1).start([Churn()])

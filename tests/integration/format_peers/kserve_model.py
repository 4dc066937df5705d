"""A KServe model server, by the peers' interpreter: the score is the age."""

import sys

PORT = int(sys.argv.pop(1))
GRPC_PORT = int(sys.argv.pop(1)) if len(sys.argv) > 1 else None

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
    grpc = {} if GRPC_PORT is None else {"grpc_port": GRPC_PORT}
    ModelServer(http_port=PORT, enable_grpc=bool(grpc), workers=1, **grpc).start([Churn()])

"""MLServer's own stubs ask one stream twice: ``python mlserver_stream.py URL`` prints what it answered."""

import json
import sys
from urllib.parse import urlsplit

import grpc
from mlserver.grpc import dataplane_pb2 as messages
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub


def asked(number, ages):
    request = messages.ModelInferRequest(model_name="churn", id=str(number))
    request.inputs.add(name="age", datatype="FP32", shape=[len(ages), 1]).contents.fp32_contents.extend(ages)
    return request


if __name__ == "__main__":
    with grpc.insecure_channel(urlsplit(sys.argv[1]).netloc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        answers = stub.ModelStreamInfer(iter([asked(1, [31.0, 12.0]), asked(2, [25.0])]))
        print("ANSWERED", json.dumps([list(a.outputs[0].contents.fp32_contents) for a in answers]))

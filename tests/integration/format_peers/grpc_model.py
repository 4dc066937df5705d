"""A model on gRPC's own server, with Triton's service: the score is the age, and a negative age is its failure."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc


def answer_to(request):
    ages = np.frombuffer(request.raw_input_contents[0], np.float32)
    if ages.min() < 0:
        raise ValueError("expected ages of at least 0")
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
    answer.outputs.add(name="score", datatype="FP32", shape=[len(ages)])
    answer.raw_output_contents.append(ages.tobytes())
    return answer


class Churn(service_pb2_grpc.GRPCInferenceServiceServicer):
    def ServerLive(self, request, context):  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    def ModelInfer(self, request, context):  # noqa: N802
        return answer_to(request)  # what it raises, gRPC answers with UNKNOWN

    def ModelStreamInfer(self, request_iterator, context):  # noqa: N802
        for request in request_iterator:
            try:
                yield service_pb2.ModelStreamInferResponse(infer_response=answer_to(request))
            except ValueError as error:
                named = service_pb2.ModelInferResponse(id=request.id)
                yield service_pb2.ModelStreamInferResponse(error_message=str(error), infer_response=named)


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Churn(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()

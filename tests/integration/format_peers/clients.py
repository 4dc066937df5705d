"""Other people's clients, by their own interpreter: ``python clients.py NAME URL`` prints what they were answered."""

import asyncio
import json
import sys
from urllib.parse import urlsplit

MODEL = "churn"
AGES, SPENDS, CITIES = [31.0, 12.0], [5.0, 25.0], ["b", "Zürich ☃"]


def triton(url: str, *, binary: bool, **options: str) -> list:
    import numpy as np
    import tritonclient.http as http

    client = http.InferenceServerClient(urlsplit(url).netloc)
    inputs = []
    for name, datatype, values in (
        ("age", "FP32", np.array(AGES, np.float32)),
        ("spend", "FP64", np.array(SPENDS, np.float64)),
        ("city", "BYTES", np.array([city.encode() for city in CITIES], object)),
    ):
        tensor = http.InferInput(name, [len(values)], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    outputs = [http.InferRequestedOutput("score", binary_data=binary)]
    answer = client.infer(MODEL, inputs, outputs=outputs, **options)
    return [float(value) for value in answer.as_numpy("score").ravel()]


def triton_grpc_inputs() -> list:
    import numpy as np
    import tritonclient.grpc as grpc

    inputs = []
    for name, datatype, values in (
        ("age", "FP32", np.array(AGES, np.float32)),
        ("spend", "FP64", np.array(SPENDS, np.float64)),
        ("city", "BYTES", np.array([city.encode() for city in CITIES], object)),
    ):
        tensor = grpc.InferInput(name, [len(values)], datatype)
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    return inputs


def triton_grpc(url: str, **options: str) -> list:
    import tritonclient.grpc as grpc

    with grpc.InferenceServerClient(urlsplit(url).netloc) as client:
        answer = client.infer(MODEL, triton_grpc_inputs(), **options)
    return [float(value) for value in answer.as_numpy("score").ravel()]


def triton_grpc_large(url: str) -> list:
    """Twenty calls of 1.2 MB each way on one connection."""
    import numpy as np
    import tritonclient.grpc as grpc

    ages = np.ones(300_000, np.float32)
    tensor = grpc.InferInput("age", [len(ages)], "FP32")
    tensor.set_data_from_numpy(ages)
    with grpc.InferenceServerClient(urlsplit(url).netloc) as client:
        return [int(client.infer(MODEL, [tensor]).as_numpy("score").sum()) for _ in range(20)]


def triton_grpc_error(url: str) -> list:
    """A model that fails, and the calls around it, on one connection."""
    import numpy as np
    import tritonclient.grpc as grpc

    bad = grpc.InferInput("age", [1], "FP32")
    bad.set_data_from_numpy(np.array([-1], np.float32))
    with grpc.InferenceServerClient(urlsplit(url).netloc) as client:
        first = client.infer(MODEL, triton_grpc_inputs()).as_numpy("score").tolist()
        try:
            client.infer(MODEL, [bad])
            status = "none"
        except grpc.InferenceServerException as error:
            status = error.status()
        last = client.is_server_live()
    return [*first, status, last]


def triton_grpc_stream(url: str) -> list:
    """Three requests of one stream, the second of which fails; answered in any order."""
    import queue

    import numpy as np
    import tritonclient.grpc as grpc

    answers: queue.Queue = queue.Queue()
    bad = grpc.InferInput("age", [1], "FP32")
    bad.set_data_from_numpy(np.array([-1], np.float32))
    with grpc.InferenceServerClient(urlsplit(url).netloc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number, inputs in enumerate((triton_grpc_inputs(), [bad], triton_grpc_inputs())):
            client.async_stream_infer(MODEL, inputs, request_id=str(number))
        got = [answers.get(timeout=20) for _ in range(3)]
        client.stop_stream()
    read = [[float(v) for v in result.as_numpy("score").ravel()] for result, error in got if error is None]
    return [*sorted(read), sum(error is not None for _, error in got)]


def kserve_grpc(url: str) -> list:
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    async def ask() -> object:
        client = InferenceGRPCClient(urlsplit(url).netloc)
        tensors = (("age", "FP64", AGES), ("spend", "FP64", SPENDS), ("city", "BYTES", CITIES))
        inputs = [InferInput(name, [len(data)], datatype, data) for name, datatype, data in tensors]
        answer = await client.infer(InferRequest(MODEL, inputs))
        await client.close()
        return [float(value) for value in answer.outputs[0].as_numpy().ravel()]

    return asyncio.run(ask())


def kserve(url: str, *, protocol: str) -> list:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    async def ask() -> object:
        client = InferenceRESTClient(RESTConfig(protocol=protocol, timeout=10))
        if protocol == "v1":
            rows = [
                dict(zip(("age", "spend", "city"), row, strict=True)) for row in zip(AGES, SPENDS, CITIES, strict=True)
            ]
            return (await client.infer(url, {"instances": rows}, model_name=MODEL))["predictions"]
        tensors = (("age", "FP64", AGES), ("spend", "FP64", SPENDS), ("city", "BYTES", CITIES))
        inputs = [InferInput(name, [len(data)], datatype, data) for name, datatype, data in tensors]
        answer = await client.infer(url, InferRequest(MODEL, inputs), model_name=MODEL)
        return answer.outputs[0].data

    return asyncio.run(ask())


def openai(url: str) -> list:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0)
    asked = [{"role": "user", "content": "Say hello."}]
    whole = client.chat.completions.create(model=MODEL, messages=asked)
    pieces = []
    told = {"include_usage": True}
    for chunk in client.chat.completions.create(model=MODEL, messages=asked, stream=True, stream_options=told):
        pieces += [choice.delta.content or "" for choice in chunk.choices]
    text = client.completions.create(model=MODEL, prompt="once", max_tokens=4)
    return [whole.choices[0].message.content, "".join(pieces), text.choices[0].text]


CLIENTS = {
    "triton-binary": lambda url: triton(url, binary=True),
    "triton-json": lambda url: triton(url, binary=False),
    "triton-grpc": triton_grpc,
    "triton-grpc-gzip": lambda url: triton_grpc(url, compression_algorithm="gzip"),
    "triton-grpc-large": triton_grpc_large,
    "triton-grpc-error": triton_grpc_error,
    "triton-grpc-stream": triton_grpc_stream,
    "kserve-grpc": kserve_grpc,
    "kserve-v1": lambda url: kserve(url, protocol="v1"),
    "kserve-v2": lambda url: kserve(url, protocol="v2"),
    "openai": openai,
}

if __name__ == "__main__":
    print("ANSWERED", json.dumps(CLIENTS[sys.argv[1]](sys.argv[2])))

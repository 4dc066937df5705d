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
    "kserve-v1": lambda url: kserve(url, protocol="v1"),
    "kserve-v2": lambda url: kserve(url, protocol="v2"),
    "openai": openai,
}

if __name__ == "__main__":
    print("ANSWERED", json.dumps(CLIENTS[sys.argv[1]](sys.argv[2])))

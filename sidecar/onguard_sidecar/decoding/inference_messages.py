"""
What is read of the messages of Open Inference over gRPC (service ``GRPCInferenceService``), as a table.

Names and numbers are those of the protocol's public definition (KServe's ``open_inference_grpc.proto``); fields that
say nothing of the data (parameters, requested outputs) are left out and skipped as unknown. This module loads protobuf,
about 6 MiB: import it when the first such message comes.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TEXT, _BYTES, _INT64 = _Field.TYPE_STRING, _Field.TYPE_BYTES, _Field.TYPE_INT64
PACKAGE: Final = "inference"

_TENSOR: Final = (
    ("name", 1, _TEXT, False),
    ("datatype", 2, _TEXT, False),
    ("shape", 3, _INT64, True),
    ("contents", 5, "InferTensorContents", False),
)
MESSAGES: Final[dict[str, tuple[tuple[str, int, int | str, bool], ...]]] = {
    "InferTensorContents": (
        ("bool_contents", 1, _Field.TYPE_BOOL, True),
        ("int_contents", 2, _Field.TYPE_INT32, True),
        ("int64_contents", 3, _INT64, True),
        ("uint_contents", 4, _Field.TYPE_UINT32, True),
        ("uint64_contents", 5, _Field.TYPE_UINT64, True),
        ("fp32_contents", 6, _Field.TYPE_FLOAT, True),
        ("fp64_contents", 7, _Field.TYPE_DOUBLE, True),
        ("bytes_contents", 8, _BYTES, True),
    ),
    "InferInputTensor": _TENSOR,
    "InferOutputTensor": _TENSOR,
    "ModelInferRequest": (
        ("model_name", 1, _TEXT, False),
        ("id", 3, _TEXT, False),
        ("inputs", 5, "InferInputTensor", True),
        ("raw_input_contents", 7, _BYTES, True),
    ),
    "ModelInferResponse": (
        ("model_name", 1, _TEXT, False),
        ("id", 3, _TEXT, False),
        ("outputs", 5, "InferOutputTensor", True),
        ("raw_output_contents", 6, _BYTES, True),
    ),
    # The answer within is left as bytes, which are read as a message of its own. MLServer sends answers without this
    # envelope: the last two fields, which the envelope does not have, tell.
    "ModelStreamInferResponse": (
        ("error_message", 1, _TEXT, False),
        ("infer_response", 2, _BYTES, False),
        ("id", 3, _TEXT, False),
        ("outputs", 5, _BYTES, True),
    ),
    # What of a request or an answer tells which belong together.
    "Identity": (("model_name", 1, _TEXT, False), ("id", 3, _TEXT, False)),
}
"""Message -> (field, number, type or message, repeated)."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference_read.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            told = message.field.add(name=field, number=number)
            told.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                told.type, told.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                told.type = kind  # type: ignore[assignment]  # the stubs have a type of their own for these integers
    return file


def _made() -> dict[str, Any]:
    """Message classes, in a pool of their own: another library's definition of the same names does not clash."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


_CLASSES: Final = _made()
REQUEST: Final = _CLASSES["ModelInferRequest"]
RESPONSE: Final = _CLASSES["ModelInferResponse"]
STREAM_RESPONSE: Final = _CLASSES["ModelStreamInferResponse"]
IDENTITY: Final = _CLASSES["Identity"]

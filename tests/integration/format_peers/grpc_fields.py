"""The fields of Triton's own definition of the protocol, by the peers' interpreter: message, field, number, type."""

import json

from tritonclient.grpc import service_pb2

found = {}
for message in service_pb2.DESCRIPTOR.message_types_by_name.values():
    for each in (message, *message.nested_types):
        found[each.name] = {field.name: [field.number, field.type] for field in each.fields}

if __name__ == "__main__":
    print(json.dumps(found))

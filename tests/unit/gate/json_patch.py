"""RFC 6902 for the three operations that we emit, on a copy; strict about paths, as the API server is."""

import json


def apply_patch(document, operations):
    result = json.loads(json.dumps(document))  # no two places share one object
    for operation in operations:
        *parents, last = [token.replace("~1", "/").replace("~0", "~") for token in operation["path"].split("/")[1:]]
        place = result
        for token in parents:
            place = place[int(token)] if isinstance(place, list) else place[token]
        value = json.loads(json.dumps(operation["value"]))
        if operation["op"] == "replace":
            index = int(last) if isinstance(place, list) else last
            assert place[index] is not None
            place[index] = value
        elif isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), value)
        else:
            place[last] = value
    return result

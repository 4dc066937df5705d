"""A mapping in the configuration takes the place of the protocol; a bad one keeps the last good configuration."""

from pathlib import Path

import msgspec

from onguard.sidecar_config import SidecarConfig, decode_config, of_spec
from onguard.spec import MappedField, PayloadMapping, parse_spec
from onguard_sidecar.analyst.settings import Settings
from onguard_sidecar.analyst.state import State
from tests.unit.analyst.test_analysing_exchanges import analysis, block, counted, exchange


def fields(paths: dict[str, str]) -> tuple[MappedField, ...]:
    return tuple(MappedField(name=name, path=path) for name, path in paths.items())


MAPPING = PayloadMapping(
    rows="$.who[*]",
    inputs=fields({"age": "$.a", "city": "$.c"}),
    output_rows="$.out[*]",
    outputs=fields({"score": "$.p"}),
)


def test_mapped_rows_are_counted_with_their_answers() -> None:
    one = analysis(mapping=MAPPING)
    body, answer = b'{"who": [{"a": 31, "c": "b"}, {"a": 12}]}', b'{"out": [{"p": 0.5}, {"p": 50}]}'
    assert one.take(exchange(body, answer, path="/score"), now=0) == "analysed"
    counts = counted(one)
    assert block(counts, "age") == [0, 1, 0, 1, 0, 0, 0, 0]
    assert block(counts, "score") == [1, 0, 0, 0, 0, 0, 0, 1]
    assert one.tally.missing == 1


def test_another_document_than_the_mapped_one_is_visible() -> None:
    one = analysis(mapping=MAPPING)
    assert one.take(exchange(b'{"instances": [[1]]}'), now=0) == "undecodable_no_decoder"
    assert one.take(exchange(b'{"who": [{"a": 1}]}', b'{"predictions": [1]}'), now=0) == "undecodable_response"


def test_a_mapping_that_finds_no_known_name_is_a_mismatch() -> None:
    one = analysis(mapping=PayloadMapping(inputs=fields({"x": "$.a", "y": "$.b"})))
    assert one.take(exchange(b'{"a": 1, "b": 2}'), now=0) == "undecodable_mismatch"


def test_a_mapping_comes_from_the_spec_to_the_sidecar() -> None:
    port = {"name": "http", "mapping": {"rows": "$.r", "inputs": [{"name": "age", "path": "$.a"}], "outputRows": "$.o"}}
    spec = parse_spec({"targetRef": {"name": "churn"}, "traffic": {"ports": [port]}})
    config = decode_config(msgspec.json.encode(of_spec("churn", spec, "")))
    assert config.mapping == PayloadMapping(rows="$.r", inputs=fields({"age": "$.a"}), output_rows="$.o")


def test_a_mapping_that_is_none_keeps_the_last_good_configuration(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.json"
    settings = Settings(model="churn", revision="r", config_path=path, profile_path=tmp_path / "profile.json")
    path.write_bytes(msgspec.json.encode(SidecarConfig(model="churn", mapping=MAPPING)))
    state = State(settings)
    state.poll()
    fresh = tmp_path / "new"
    fresh.write_bytes(
        msgspec.json.encode(SidecarConfig(model="churn", mapping=PayloadMapping(inputs=fields({"a": "$["}))))
    )
    fresh.rename(path)
    state.poll()
    assert state.config is not None
    assert state.config.mapping == MAPPING
    assert 'inputs.a: expected a JSONPath (RFC 9535) such as "$.customer.age", got "$["' in state.config_error

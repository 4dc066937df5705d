"""The CRD and ``onguard.spec`` say the same, field by field, both ways."""

from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec import inspect

from onguard import contract
from onguard.quantities import Duration, Ratio
from onguard.spec import Spec, parse_spec

FOLDER = Path(__file__).parents[2] / "charts" / "onguard" / "files" / "crds"
CRDS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def schema_of(plural):
    return CRDS[plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


SPEC = schema_of("modeldeployments")["properties"]["spec"]
NO_DEFAULT = object()


def bare(info):
    """The type without ``| None``."""
    if isinstance(info, inspect.UnionType):
        (info,) = [each for each in info.types if not isinstance(each, inspect.NoneType)]
    return info


def fields(info, schema, path="spec"):
    """Yield ``(path, field, schema)`` for each field of a struct, and of all structs below it."""
    assert {f.encode_name for f in info.fields} == set(schema.get("properties", {})), path
    for field in info.fields:
        below = schema["properties"][field.encode_name]
        yield f"{path}.{field.encode_name}", field, below
        kind = bare(field.type)
        if isinstance(kind, inspect.VarTupleType):
            kind, below = kind.item_type, below["items"]
        if isinstance(kind, inspect.StructType):
            yield from fields(kind, below, f"{path}.{field.encode_name}")


FIELDS = list(fields(inspect.type_info(Spec), SPEC))
TYPES = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.EnumType: "string",
    inspect.CustomType: "string",
    inspect.VarTupleType: "array",
    inspect.StructType: "object",
}


def test_both_know_the_same_fields():
    assert len(FIELDS) > 60


@pytest.mark.parametrize(("path", "field", "schema"), FIELDS, ids=[f[0] for f in FIELDS])
def test_a_field_has_one_type_and_one_set_of_values(path, field, schema):
    kind = bare(field.type)
    assert schema["type"] == TYPES[type(kind)]
    if isinstance(kind, inspect.EnumType):
        assert set(schema["enum"]) == {member.value for member in kind.cls}


@pytest.mark.parametrize(("path", "field", "schema"), FIELDS, ids=[f[0] for f in FIELDS])
def test_a_field_has_one_default(path, field, schema):
    kind, default = bare(field.type), field.default
    if isinstance(kind, (inspect.StructType, inspect.VarTupleType)) or default is None or default is msgspec.NODEFAULT:
        assert "default" not in schema
        return
    written = schema["default"]
    if isinstance(kind, inspect.CustomType):
        written = {Ratio: Ratio, Duration: Duration}[kind.cls].parse(written)
    assert written == (default.value if isinstance(kind, inspect.EnumType) else default)


@pytest.mark.parametrize(("path", "field", "schema"), FIELDS, ids=[f[0] for f in FIELDS])
def test_what_the_parser_requires_the_server_requires(path, field, schema):
    parent = SPEC
    for key in path.split(".")[1:-1]:
        parent = parent["properties"][key]
        parent = parent.get("items", parent)
    is_required = field.encode_name in parent.get("required", ())
    assert is_required >= field.required


def walk(schema, path):
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from walk(below, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")


NODES = [
    node
    for plural in CRDS
    for part in ("spec", "status")
    for node in walk(schema_of(plural)["properties"][part], f"{plural}.{part}")
]


@pytest.mark.parametrize(("path", "schema"), NODES, ids=[n[0] for n in NODES])
def test_every_node_is_bounded_and_explained(path, schema):
    if schema["type"] == "string":
        assert "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time"
    if schema["type"] == "array":
        assert {"maxItems", "items", "x-kubernetes-list-type"} <= set(schema)
    if schema["type"] == "integer" and ".spec." in path:
        assert {"minimum", "maximum"} <= set(schema) or "x-kubernetes-validations" in schema
    assert "x-kubernetes-preserve-unknown-fields" not in schema
    assert "additionalProperties" not in schema
    if not path.endswith("[]"):
        assert schema.get("description"), "kubectl explain says nothing"


RULES = [(path, rule) for path, schema in NODES for rule in schema.get("x-kubernetes-validations", ())]


@pytest.mark.parametrize(("path", "rule"), RULES)
def test_every_rule_says_what_was_expected(path, rule):
    assert rule["message"].startswith(("expected ", "a Decision is a record"))


@pytest.mark.parametrize("plural", sorted(CRDS))
def test_names_are_those_of_the_contract(plural):
    crd = CRDS[plural]
    kinds = {contract.MODEL_DEPLOYMENTS: contract.MODEL_DEPLOYMENT, contract.DECISIONS: contract.DECISION}
    assert crd["metadata"]["name"] == f"{plural}.{contract.GROUP}"
    assert crd["spec"]["group"] == contract.GROUP
    assert [v["name"] for v in crd["spec"]["versions"]] == [contract.VERSION]
    assert (crd["spec"]["names"]["plural"], crd["spec"]["names"]["kind"]) == (plural, kinds[plural])
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert crd["spec"]["versions"][0]["subresources"] == {"status": {}}


def test_no_reference_leaves_the_namespace():
    assert not any(path.endswith(".namespace") for path, _ in NODES)


def test_the_latency_slots_of_the_sidecar_are_the_limit_of_the_list():
    assert SPEC["properties"]["objectives"]["properties"]["latency"]["maxItems"] == contract.LATENCY_SLOTS


def defaults(schema):
    made = {k: v["default"] for k, v in schema.get("properties", {}).items() if "default" in v}
    below = {k: defaults(v) for k, v in schema.get("properties", {}).items() if v["type"] == "object"}
    return made | {k: v for k, v in below.items() if v}


def test_the_defaults_of_the_server_are_read_as_the_defaults_of_the_parser():
    written = defaults(SPEC)
    written["targetRef"]["name"] = "churn"
    del written["reference"], written["actions"]["retrain"], written["objectives"]
    assert parse_spec(written) == parse_spec({"targetRef": {"name": "churn"}})

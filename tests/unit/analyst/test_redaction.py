"""What is dropped or hashed before it is counted, and under which key."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from onguard.profile import encode_profile
from onguard.sidecar_config import SidecarConfig
from onguard.spec import Redact, Redaction
from onguard_sidecar.analyst import redaction
from onguard_sidecar.analyst.settings import Settings
from onguard_sidecar.analyst.state import State
from tests.unit.analyst.references import CHURN, categorical, numeric
from tests.unit.analyst.test_analysing_exchanges import analysis, block, counted, exchange

HASH_CITY = (Redact(field="city", how=Redaction.HASH),)


def state(folder: Path, token_digest: str) -> State:
    config = SidecarConfig(model="churn", counts_token_sha256=token_digest, redact=HASH_CITY)
    (folder / "sidecar.json").write_bytes(msgspec.json.encode(config))
    (folder / "profile.json").write_bytes(encode_profile(CHURN))
    settings = Settings(
        model="churn", revision="r", config_path=folder / "sidecar.json", profile_path=folder / "profile.json"
    )
    made = State(settings)
    made.poll()
    return made


def test_pods_of_a_model_hash_alike_and_models_do_not(tmp_path: Path) -> None:
    first, again, other = (state(tmp_path, digest).key for digest in ("ab" * 32, "ab" * 32, "cd" * 32))
    assert first == again != other


def test_a_hashed_category_is_found_in_the_reference_and_a_new_one_is_other() -> None:
    one = analysis(redact=HASH_CITY)
    for number, city in enumerate(("a", "b", "b", "secret")):
        one.take(exchange(b'{"instances": [{"age": %d, "city": "%s"}]}' % (number, city.encode())), now=0)
    assert block(counted(one), "city") == [1, 2, 1, 0, 0, 0, 0]


def test_a_dropped_feature_is_not_counted_at_all() -> None:
    one = analysis(redact=(Redact(field="age"), *HASH_CITY))
    one.take(exchange(b'{"instances": [{"age": 31, "spend": 5, "city": "b"}]}'), now=0)
    assert sum(block(counted(one), "age")) == 0
    assert sum(block(counted(one), "spend")) == 1


def test_bins_of_redacted_features_do_not_name_the_references_categories() -> None:
    city = categorical("city", ("Bern", "Zug"))
    names = redaction.bin_names(city, HASH_CITY, b"key")
    assert len(names) == len(city.bin_names)
    assert names[2:] == ("other", "missing", "unparseable", "below", "above")
    assert not {"Bern", "Zug"} & set(names)
    assert redaction.bin_names(city, (Redact(field="city"),), b"key") == ()
    assert redaction.bin_names(numeric("age"), HASH_CITY, b"key") == numeric("age").bin_names


@pytest.mark.parametrize("soft", [0, 1 << 30])
def test_a_crash_leaves_no_core_file(tmp_path: Path, soft: int) -> None:
    code = f"""
import os, resource
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, ({soft} if hard < 0 else 0, hard))
from onguard_sidecar.core_dumps import forbid_core_dumps
forbid_core_dumps()
os.abort()
"""
    crashed = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    _, status = os.waitpid(crashed.pid, 0)
    crashed.returncode = os.waitstatus_to_exitcode(status)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["onguard_sidecar.wire", "onguard_sidecar.analyst"])
def test_both_programs_forbid_core_dumps_as_they_start(program: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "ONGUARD_SHARED_DIR": str(tmp_path), "ONGUARD_ADMIN_PORT": "x"}
    code = f"""
import resource, runpy, sys
sys.argv = ["x", "serve"]
try:
    runpy.run_module("{program}", run_name="__main__")
except BaseException as error:
    pass
print(resource.getrlimit(resource.RLIMIT_CORE))
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] in ("(1, 1)", "(0, 0)")

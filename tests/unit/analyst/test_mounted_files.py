"""Configuration and reference by mounted files: reloaded on change, the last good one kept."""

import gzip
from pathlib import Path

import msgspec
import pytest

from onguard.profile import encode_profile
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar.analyst.settings import Settings
from onguard_sidecar.analyst.state import PROFILE_BYTES, State
from onguard_sidecar.analyst.watched import Watched
from tests.unit.analyst.references import CHURN, numeric, profile

OTHER = profile(numeric("other"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        model="churn",
        revision="r1",
        shared_dir=tmp_path,
        config_path=tmp_path / "sidecar.json",
        profile_path=tmp_path / "profile.json",
    )


def swap(path: Path, data: bytes) -> None:
    """Replace as the kubelet does: another file under the same name."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.rename(path)


def config(**changes: object) -> bytes:
    return msgspec.json.encode(SidecarConfig(model="churn", **changes))  # type: ignore[arg-type]


def test_a_file_is_read_once_and_again_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    watched = Watched(path, 10)
    first = watched.changed()
    assert first is not None
    assert "No such file" in first.fault
    assert watched.changed() is None
    swap(path, b"one")
    assert watched.changed() == (b"one", "")
    assert watched.changed() is None
    swap(path, b"two")
    assert watched.changed() == (b"two", "")
    swap(path, b"x" * 11)
    over = watched.changed()
    assert over is not None
    assert over.fault == "file: expected at most 10 bytes, got 11"


def test_a_link_that_is_swapped_above_the_file_is_seen(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_bytes(name.encode())
    link = tmp_path / "..data"
    link.symlink_to("a")
    watched = Watched(link / "key", 10)
    assert watched.changed() == (b"a", "")
    fresh = tmp_path / "..tmp"
    fresh.symlink_to("b")
    fresh.replace(link)
    assert watched.changed() == (b"b", "")


def test_gzip_is_undone_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(b"hello"))
    assert Watched(path, 100).changed() == (b"hello", "")
    path.write_bytes(gzip.compress(b"0" * 10_000))
    over = Watched(path, 100).changed()
    assert over is not None
    assert "expected gzip" in over.fault


def test_nothing_mounted_is_no_error_and_no_counts(settings: Settings) -> None:
    state = State(settings)
    state.poll()
    assert (state.config, state.profile, state.analysis.counts(), state.profile_error) == (None, None, None, "")
    assert "No such file" in state.config_error


def test_a_good_reference_starts_counting_under_a_new_boot(settings: Settings) -> None:
    state = State(settings)
    state.poll()
    boot = state.boot
    swap(settings.profile_path, encode_profile(CHURN))
    state.poll()
    counts = state.analysis.counts()
    assert counts is not None
    assert (counts.profile_hash, state.boot != boot) == (CHURN.hash, True)


def test_the_last_good_reference_stays_when_the_new_one_is_bad(settings: Settings) -> None:
    swap(settings.profile_path, encode_profile(CHURN))
    state = State(settings)
    state.poll()
    before, boot = state.analysis, state.boot
    for bad in (b"{", b"{}", b"x" * (PROFILE_BYTES + 1)):
        swap(settings.profile_path, bad)
        state.poll()
        assert state.profile_error
        assert (state.analysis, state.boot) == (before, boot)
    settings.profile_path.unlink()
    state.poll()
    assert (state.analysis, state.profile) == (before, CHURN)
    swap(settings.profile_path, encode_profile(OTHER))
    state.poll()
    assert (state.profile_error, state.profile, state.boot != boot) == ("", OTHER, True)


def test_the_last_good_configuration_stays_when_the_new_one_is_bad(settings: Settings) -> None:
    swap(settings.config_path, config(protocol="kserve-v1"))
    state = State(settings)
    state.poll()
    swap(settings.config_path, b'{"protocol": 3}')
    state.poll()
    assert "sidecar" in state.config_error
    assert state.config is not None
    assert (state.config.protocol, state.analysis.config.protocol) == ("kserve-v1", "kserve-v1")


def test_only_a_change_of_what_is_read_starts_the_counts_again(settings: Settings) -> None:
    swap(settings.profile_path, encode_profile(CHURN))
    swap(settings.config_path, config())
    state = State(settings)
    state.poll()
    boot = state.boot
    swap(settings.config_path, config(counts_token_sha256="ab", feature_bins=True, latency_bounds_s=(0.1,)))
    state.poll()
    assert state.boot == boot
    assert state.config is not None
    assert state.config.counts_token_sha256 == "ab"
    swap(settings.config_path, config(protocol="open-inference-v2"))
    state.poll()
    assert state.boot != boot
    assert state.analysis.config.protocol == "open-inference-v2"


def test_the_same_reference_in_another_file_keeps_the_counts(settings: Settings) -> None:
    swap(settings.profile_path, encode_profile(CHURN))
    state = State(settings)
    state.poll()
    boot = state.boot
    swap(settings.profile_path, gzip.compress(encode_profile(CHURN)))
    state.poll()
    assert (state.boot, state.profile_error) == (boot, "")

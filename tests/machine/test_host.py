"""Limits of a container, the Hub's token and disks are read as they are."""

from pathlib import Path

import pytest

from core.machine import host

GIB = 1 << 30


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Writes files of a control group in which this process lies."""

    def write(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        monkeypatch.setattr(host, "_own_cgroup", lambda v2, v1: (tmp_path,))

    return write


def test_a_containers_share_of_the_cores(cgroup, monkeypatch):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: set(range(64)))
    cgroup(cpu__max="350000 100000\n")
    assert host.cpu_cores() == 4
    cgroup(cpu__max="max 100000\n")
    assert host.cpu_cores() == 64


def test_a_containers_share_of_the_cores_by_the_older_interface(cgroup, monkeypatch):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: set(range(64)))
    cgroup(cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert host.cpu_cores() == 2
    cgroup(cpu__cfs_quota_us="-1")
    assert host.cpu_cores() == 64


def test_a_containers_memory_without_the_cache_that_it_can_give_back(cgroup):
    cgroup(
        memory__max=str(GIB),
        memory__current=str(GIB // 2),
        memory__stat=f"anon 1\ninactive_file {GIB // 4}\n",
    )
    assert host.memory() == (GIB, GIB - GIB // 4)


def test_no_limit_is_the_boxs_own_memory(cgroup):
    import psutil

    cgroup(memory__max="max\n", memory__limit_in_bytes="9223372036854771712")
    assert host.memory()[0] == psutil.virtual_memory().total


def test_a_container_that_is_full_has_nothing_left(cgroup):
    cgroup(memory__max=str(GIB), memory__current=str(2 * GIB))
    assert host.memory() == (GIB, 0)


@pytest.fixture
def no_login(monkeypatch, tmp_path):
    for name in (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_TOKEN_PATH",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    return tmp_path


def test_a_token_is_found_and_never_kept(no_login, monkeypatch):
    assert host.read_hub() == host.Hub(False, None, None)
    (no_login / "token").write_text("secret-of-a-file")
    assert host.read_hub().where == str(no_login / "token")
    monkeypatch.setenv("HF_TOKEN", "secret-of-the-environment")
    assert host.read_hub().where == "HF_TOKEN" and "secret" not in repr(host.read_hub())


def test_offline_and_cache_are_the_hubs_own(no_login, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert host.read_hub().offline
    assert host.hub_cache() == no_login / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", "/elsewhere")
    assert host.hub_cache() == Path("/elsewhere")


def test_a_disk_is_that_of_the_nearest_folder_there_is(tmp_path):
    disk = host.read_disks(tmp_path / "not" / "yet" / "there")[0]
    assert disk.purpose == "runs" and 0 < disk.free <= disk.total
    assert not (tmp_path / "not").exists()

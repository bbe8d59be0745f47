"""What is left of this machine, read from files like the kernel's."""

from pathlib import Path

import pytest

from datm.planning.machine import available_memory, bytes_in, existing, free_disk

MEMINFO = "MemTotal:  8000000 kB\nMemFree:  1000000 kB\nMemAvailable:  5000000 kB\n"
FREE = 5_000_000 * 1024


def machine(root: Path, cgroup: str, **files: str) -> Path:
    """A root with /proc/meminfo, /proc/self/cgroup and files below /sys/fs/cgroup."""
    contents = {"proc/meminfo": MEMINFO, "proc/self/cgroup": cgroup}
    contents |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_limits_it_is_what_the_kernel_has(tmp_path: Path) -> None:
    assert available_memory(machine(tmp_path, "0::/\n")) == FREE


@pytest.mark.parametrize("folder", ["", "job/", "job/step/"])
def test_the_limit_of_a_control_group_or_of_one_around_it(tmp_path: Path, folder: str) -> None:
    files = {"job/step/memory.max": "max\n", "job/step/memory.current": "7\n"}
    files |= {
        f"{folder}memory.max": "3000000\n",
        f"{folder}memory.current": "2000000\n",
        f"{folder}memory.stat": "anon 1\ninactive_file 400000\n",
    }
    assert available_memory(machine(tmp_path, "0::/job/step\n", **files)) == 1_400_000


def test_a_containers_limit_is_found_where_the_path_is_the_hosts(tmp_path: Path) -> None:
    files = {"memory.max": "1000\n", "memory.current": "400\n"}
    root = machine(tmp_path, "0::/system.slice/docker-1.scope\n", **files)
    assert available_memory(root) == 600


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    files = {
        "memory/job/memory.limit_in_bytes": "9000\n",
        "memory/job/memory.usage_in_bytes": "8000\n",
        "memory/job/memory.stat": "total_inactive_file 500\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "8000\n",
        "cpu/job/memory.limit_in_bytes": "1\n",
    }
    root = machine(tmp_path, "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n", **files)
    assert available_memory(root) == 1500


def test_more_used_than_allowed_leaves_nothing(tmp_path: Path) -> None:
    files = {"memory.max": "1000\n", "memory.current": "4000\n"}
    assert available_memory(machine(tmp_path, "0::/\n", **files)) == 0


def test_nothing_is_known_without_the_kernels_files(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


def test_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert free_disk(tmp_path / "a") == pytest.approx(free_disk(tmp_path), rel=0.1)
    assert bytes_in(tmp_path / "a") == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"12345")
    (tmp_path / "a" / "d").write_bytes(b"123")
    assert bytes_in(tmp_path / "a") == 8

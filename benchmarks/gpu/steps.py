"""What bounds an inner step: the host that launches, or the device that computes? Which kernels?"""

import time

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from datm.matching import Student, student_loss
from gpu.problems import Place, Problem, random_problem

CLASSES = 100
KERNELS = 14
"""How many of the slowest are shown."""


def steps(place: Place) -> None:
    """Print the times of an inner step at both ends of the batch sizes, by precision."""
    for precision in place.precisions("bfloat16", "tf32", "float32"):
        for batch, count in ((4, 2),) if place.quick else ((10, 20), (1000, 4)):
            network = place.network(precision, CLASSES)
            student = Student(student_loss(network), place.on_gpu)
            problem = random_problem(place, network, batch, count, classes=CLASSES)
            print(f"\n{precision}, B = {batch}", flush=True)
            _measure(place, student, problem, count)


def _timed(place: Place, student: Student, problem: Problem) -> tuple[float, float]:
    """Seconds until all is done, and until the host has nothing left to launch."""
    place.wait()
    began = time.perf_counter()
    problem.match(student)
    host = time.perf_counter() - began
    place.wait()
    return time.perf_counter() - began, host


def _measure(place: Place, student: Student, problem: Problem, count: int) -> None:
    """Milliseconds of the host and of all, per inner step; then the kernels."""
    for _ in range(3):
        problem.match(student)
    whole, host = min(_timed(place, student, problem) for _ in range(3))
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if place.on_gpu else [])]
    with profile(activities=activities) as recorded:
        problem.match(student)
        place.wait()
    device = DeviceType.CUDA if place.on_gpu else DeviceType.CPU
    kernels = sorted(
        (
            ((e.self_device_time_total if place.on_gpu else e.self_cpu_time_total), e.count, e.key)
            for e in recorded.key_averages()
            if e.device_type == device and not e.is_user_annotation
        ),
        reverse=True,
    )
    busy = sum(microseconds for microseconds, _, _ in kernels) / 1e6
    print(
        f"{1e3 * whole / count:.2f} ms per inner step; the host was done after"
        f" {1e3 * host / count:.2f}, the device computed for {1e3 * busy / count:.2f}",
        flush=True,
    )
    for microseconds, calls, name in kernels[:KERNELS]:
        print(f"{microseconds / count:10.1f} us  x{calls / count:6.1f}  {name[:100]}", flush=True)

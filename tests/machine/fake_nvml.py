"""A pynvml that tests describe: the boundary to the driver, and nothing of ours."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

GIB = 1 << 30


class NVMLError(Exception):
    def __init__(self, value: int = 999):
        super().__init__(f"error {value}")
        self.value = value


@dataclass
class Card:
    name: str = "NVIDIA A10G"
    total: int | None = 24 * GIB
    used: int = 0
    capability: tuple[int, int] | None = (8, 6)
    compute: list[tuple[int, int | None]] = field(default_factory=list)
    """(pid, bytes) of processes."""
    lost: bool = False
    """The handle cannot be had."""
    silent: bool = False
    """The handle can be had, but no question is answered."""
    parts: list["Card"] = field(default_factory=list)
    """MIG."""
    split: bool = False
    """MIG is on, with or without parts."""
    uuid: str = "GPU-0123"


class FakeNvml:
    """Stands in for the module `pynvml`."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, *cards: Card, driver: str = "580.65.06", cuda: int = 13000, fails: int | None = None):
        self.cards, self.driver, self.cuda, self.fails = cards, driver, cuda, fails
        self.open = 0

    def nvmlInit(self) -> None:
        if self.fails is not None:
            raise NVMLError(self.fails)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return self.driver.encode()

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        if self.cards[index].lost:
            raise NVMLError(self.NVML_ERROR_GPU_IS_LOST)
        return self.cards[index]

    def nvmlDeviceGetMigMode(self, card: Card) -> list[int]:
        if not (card.parts or card.split):
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, place: int) -> Card:
        if place >= len(card.parts):
            raise NVMLError(6)
        return card.parts[place]

    def nvmlDeviceGetName(self, card: Card) -> str:
        return self._said(card, card.name)

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return self._said(card, card.uuid)

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:
        if card.total is None:
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return self._said(
            card, SimpleNamespace(total=card.total, used=card.used, free=card.total - card.used)
        )

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:
        if card.capability is None:
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return self._said(card, card.capability)

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:
        return self._said(card, [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in card.compute])

    def nvmlDeviceGetGraphicsRunningProcesses(self, card: Card) -> list[Any]:
        return self._said(card, [])

    def nvmlDeviceGetUtilizationRates(self, card: Card) -> Any:
        return self._said(card, SimpleNamespace(gpu=97, memory=40))

    def nvmlDeviceGetPowerUsage(self, card: Card) -> int:
        return self._said(card, 612_345)

    def nvmlDeviceGetEnforcedPowerLimit(self, card: Card) -> int:
        raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetTemperature(self, card: Card, sensor: int) -> int:
        return self._said(card, 64)

    def nvmlDeviceGetClockInfo(self, card: Card, kind: int) -> int:
        return self._said(card, 1980 if kind == self.NVML_CLOCK_SM else 2619)

    def _said(self, card: Card, value: Any) -> Any:
        if card.silent:
            raise NVMLError(self.NVML_ERROR_GPU_IS_LOST)
        return value

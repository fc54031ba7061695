"""What this machine has, and what its model files say, through ComfyUI (see host.py).

Nothing here loads a model: sizes come from files' headers, memory from the host's own figures.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import comfy.model_management as management
import folder_paths
import torch
from safetensors import SafetensorError, safe_open

from ..atlasvid_core.calibration import Calibration, calibrate
from ..atlasvid_core.estimate import Machine
from ..atlasvid_core.record import device_name
from . import host, host_vae

WAN_PARAMETERS = 1_400_000_000
SUPPORTED = [torch.float16, torch.bfloat16, torch.float32]


def machine() -> Machine:
    """Totals rather than what is free just now, so that the figures of a plan keep still."""
    device, cpu = management.get_torch_device(), torch.device("cpu")
    total = int(management.get_total_memory(device))
    dtype = management.unet_dtype(device, model_params=WAN_PARAMETERS, supported_dtypes=SUPPORTED)
    return Machine(
        device=device_name(),
        shared=device.type == "cpu",
        device_bytes=total,
        host_bytes=int(management.get_total_memory(cpu)),
        output_free_bytes=_free_bytes(folder_paths.get_output_directory()),
        temp_free_bytes=_free_bytes(folder_paths.get_temp_directory()),
        detail_budget_bytes=host.auto_budget_bytes(),
        decode_budget_bytes=host_vae.decode_budget_bytes(device, total),
        value_bytes=dtype.itemsize,
        calibration=CALIBRATION.found(),
    )


def _free_bytes(folder: str) -> int:
    """Of the disk that a folder is, or will be, on."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def header(kind: str, name: str) -> Mapping[str, tuple[tuple[int, ...], str]] | None:
    """Names of a model file's weights -> shape and type; None where there is none to read.

    `kind` is one of ComfyUI's model folders; names that lead out of it are not found.
    """
    path = folder_paths.get_full_path(kind, name)
    if path is None or not path.lower().endswith((".safetensors", ".sft")):
        return None
    try:
        with safe_open(path, framework="pt") as file:
            slices = ((key, file.get_slice(key)) for key in file.keys())  # noqa: SIM118
            return {key: (tuple(part.get_shape()), part.get_dtype()) for key, part in slices}
    except (OSError, SafetensorError) as error:
        logging.warning("AtlasVid: %s can't be read (%s)", path, error)
        return None


def file_bytes(kind: str, name: str) -> int | None:
    """The size of a model file; None where there is none (see `header`)."""
    path = folder_paths.get_full_path(kind, name)
    return os.path.getsize(path) if path else None


class KeptCalibration:
    """How fast this machine is: measured in the background once a start, the fastest ever kept.

    A measurement beside other work comes out low; the next one on a quiet machine corrects it.
    """

    def __init__(self) -> None:
        self._value: Calibration | None = None
        self._thread: threading.Thread | None = None

    def found(self) -> Calibration | None:
        if self._value is None:
            self._value = self._read()
        return self._value

    def begin(self, idle: Callable[[], bool]) -> bool:
        """Measure, unless that was done, is under way, or a job runs. -> whether a better figure
        may come soon."""
        if self._thread is None and idle():
            self._thread = threading.Thread(target=self._measure, daemon=True)
            self._thread.start()
            return True  # even if it is over by now
        return self.found() is None if self._thread is None else self._thread.is_alive()

    def _measure(self) -> None:
        try:
            self._value = fastest(calibrate(management.get_torch_device()), self.found())
            self._write(self._value)
        except (RuntimeError, OSError) as error:
            logging.warning("AtlasVid: times are not predicted, or not kept: %s", error)

    @staticmethod
    def _file() -> Path:
        return Path(folder_paths.get_user_directory()) / "atlasvid_calibration.json"

    def _read(self) -> Calibration | None:
        try:
            kept = json.loads(self._file().read_text(encoding="utf-8"))
            if kept["measured_on"] != _measured_on():
                return None
            return Calibration(float(kept["flops_per_second"]), float(kept["bytes_per_second"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, value: Calibration) -> None:
        file = self._file()
        part = file.with_name(file.name + ".part")
        part.write_text(json.dumps({"measured_on": _measured_on(), **asdict(value)}, indent=1))
        os.replace(part, file)


def fastest(new: Calibration, old: Calibration | None) -> Calibration:
    """Of each figure the better one."""
    if old is None:
        return new
    return Calibration(
        max(new.flops_per_second, old.flops_per_second),
        max(new.bytes_per_second, old.bytes_per_second),
    )


def _measured_on() -> str:
    """What a measurement is valid for."""
    return f"{device_name()}; torch {torch.__version__}"


CALIBRATION = KeptCalibration()

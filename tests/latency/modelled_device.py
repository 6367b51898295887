"""A device whose times follow from the operators of a model, exactly."""

import functools

from tflite_tools.devices.device import DeviceInfo, Round
from tflite_tools.devices.errors import DeviceOfflineError
from tflite_tools.flatbuffer.inspection import inspect

CALL_US = 5.0
COSTS_US = {
    "CONV_2D": 8.0,
    "FULLY_CONNECTED": 4.0,
    "DEPTHWISE_CONV_2D": 6.0,
    "ADD": 2.0,
    "MEAN": 1.0,
}


class ModelledDevice:
    """Takes CALL_US per inference, and for each operator its cost and a hundredth per channel.

    Args:
      name: Of the device.
      slow_networks: By what factor models of many operators are slower.
      loads: Models it takes before it goes offline.
      disturbed: By name of a model, how often at first something else takes time as well.

    Attributes:
      loaded: Names of the models it was given.
    """

    def __init__(self, name="modelled", slow_networks=1.0, loads=None, disturbed=None):
        self.name = name
        self.disturbed = disturbed
        self.slow_networks = slow_networks
        self.loads = loads
        self.loaded = []

    def info(self):
        return DeviceInfo("host", self.name, "runtime 1", soc="S1")

    def temperature_celsius(self):
        return None

    def load(self, name, flatbuffer, options):
        if self.loads is not None and len(self.loaded) >= self.loads:
            raise DeviceOfflineError("the modelled device is offline")
        self.loaded.append(name)
        layers = _layers(flatbuffer)
        times = [
            COSTS_US[layer.operator] + layer.output_shape[-1] / 100
            for layer in layers
            if layer.operator in COSTS_US
        ]
        kinds = {layer.operator for layer in layers}
        if self.disturbed and self.loaded.count(name) <= self.disturbed.get(name, 0):
            times.append(100.0 / self.loaded.count(name))
        factor = self.slow_networks if {"MEAN", "CONV_2D"} <= kinds else 1.0
        return _Model(CALL_US + factor * sum(times))

    def close(self):
        pass


@functools.cache
def _layers(flatbuffer):
    return inspect(flatbuffer, delegation=False).layers


class _Model:
    def __init__(self, microseconds):
        self._ms = microseconds / 1e3

    def run(self, options):
        return Round(
            count=options.num_runs,
            mean_ms=2 * self._ms,
            std_ms=0.0,
            min_ms=self._ms,
            median_ms=self._ms,
            p5_ms=self._ms,
            p95_ms=3 * self._ms,
        )

    def close(self):
        pass

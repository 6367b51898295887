"""What can go wrong on a device; every message says what was met and what to do."""

from quantize_configs.errors import UnavailableError


class DeviceError(UnavailableError, ValueError):
    """A device cannot do what was asked."""


class DeviceNotFoundError(DeviceError):
    """No device of this serial number is connected, or adb itself is missing."""


class DeviceOfflineError(DeviceError):
    """The device does not answer, or the connection was lost."""


class DeviceUnauthorizedError(DeviceError):
    """The device has not accepted this computer."""


class DeviceStorageError(DeviceError):
    """The storage of the device is full."""


class WrongAbiError(DeviceError):
    """A program was built for another processor."""


class DeviceProcessError(DeviceError):
    """A program on the device failed or was killed."""


class DeviceOutputError(DeviceError):
    """The output of a program misses what was expected, for example because it was cut off."""


class DeviceTimeoutError(DeviceError):
    """The device did not finish in time."""

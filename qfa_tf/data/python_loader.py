"""Loaders of the user's own, named by module and function."""

import importlib

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.errors import DataError


def load_with_python(where: str, resolution: int, **options) -> DataSplits:
    """Calls a function of a module that Python can import.

    Args:
      where: "MODULE:FUNCTION", such as "my_package.photos:load_photos". It is called with the
        resolution and those of the options of `load` that were given, and returns `DataSplits`.
      resolution: Height and width to which the pipelines resize.
      **options: Passed on.

    Raises:
      DataError: There is no such function, or it returns something else.
    """
    module_name, _, function_name = where.partition(":")
    if not module_name or not function_name:
        raise DataError(
            f"A loader is named 'python:MODULE:FUNCTION'. Received: {'python:' + where!r}."
        )
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except ModuleNotFoundError as error:
        raise DataError(
            f"'python:{where}' cannot be imported: {error}. Install the package, or add its folder "
            "to PYTHONPATH."
        ) from error
    except AttributeError as error:
        raise DataError(f"The module {module_name} has no function {function_name!r}.") from error
    data = function(resolution, **options)
    if not isinstance(data, DataSplits):
        raise DataError(f"'python:{where}' must return DataSplits. It returned {type(data)}.")
    return data

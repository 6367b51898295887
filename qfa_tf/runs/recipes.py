"""Recipes: Python files with `get_config()`, by the name of one that comes along, or by a path."""

import importlib.util
import os
import pathlib

from ml_collections import ConfigDict

from qfa_tf.runs.errors import ConfigError

_INSTALLED = pathlib.Path(__file__).parents[1] / "recipes"
_CHECKOUT = pathlib.Path(__file__).parents[2] / "configs"
_SUFFIX = ".py"


def recipe_folder() -> pathlib.Path:
    """Where the recipes stand: `qfa_tf/recipes` of a wheel, `configs` of a checkout."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def recipe_names() -> list[str]:
    """The recipes that come along."""
    return sorted(path.stem for path in recipe_folder().glob(f"*{_SUFFIX}"))


def recipe_argument(recipe: str | os.PathLike) -> str:
    """The path of a recipe, followed by what `get_config` is called with, if anything.

    Args:
      recipe: A name such as "digits", or the path of a Python file; a colon and an argument may
        follow, as in "fashion_mnist_oqa:w4".

    Raises:
      ConfigError: There is none of that name; the message has those there are.
    """
    name, colon, argument = str(recipe).partition(":")
    if name.endswith(_SUFFIX) or os.sep in name:
        return str(recipe)
    if name not in recipe_names():
        raise ConfigError(
            f"There is no recipe {name!r}. Those that come along are {', '.join(recipe_names())}; "
            "others are named by the path of a Python file."
        )
    return f"{recipe_folder() / name}{_SUFFIX}{colon}{argument}"


def load_recipe(recipe: str | os.PathLike) -> ConfigDict:
    """The config of a recipe.

    Args:
      recipe: See `recipe_argument`.

    Raises:
      ConfigError: There is none, or it cannot be run.
    """
    path, colon, argument = recipe_argument(recipe).partition(":")
    if not pathlib.Path(path).is_file():
        raise ConfigError(f"There is no recipe {path}.")
    spec = importlib.util.spec_from_file_location("recipe", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(argument) if colon else module.get_config()
    except Exception as error:  # it is the user's own code, and may raise anything
        raise ConfigError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"get_config() of {path} must return a ConfigDict.")
    return ConfigDict(config.to_dict())

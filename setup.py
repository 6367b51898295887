import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Puts the recipes of configs/ into the wheel, as qfa_tf/recipes."""

    def run(self):
        super().run()
        if self.editable_mode:  # a checkout has them in their place
            return
        folder = pathlib.Path(self.build_lib) / "qfa_tf" / "recipes"
        folder.mkdir(parents=True, exist_ok=True)
        for recipe in sorted(pathlib.Path("configs").glob("*.py")):
            shutil.copy(recipe, folder)


setup(cmdclass={"build_py": BuildWithRecipes})

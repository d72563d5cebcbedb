"""Adds the stage notebooks and the sample parameters to the wheel; everything else is in pyproject.toml."""

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py

# They live at the top of the clone, where people look for them; an installed `tdsp init` copies them from the package.
SHIPPED = {"notebooks": ["*.ipynb"], "parameters": ["*.yaml", "*.sql"]}


class BuildWithNotebooks(build_py):
    """`build_py`, then copies into tdsp/notebooks and tdsp/parameters of the build folder."""

    def run(self) -> None:
        """Build; an editable install reads the clone's own folders and gets no copy."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._copies().items():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what the build wrote, the copies included."""
        return super().get_outputs(include_bytecode) + ([] if self.editable_mode else list(self._copies().values()))

    def _copies(self) -> dict[str, str]:
        """Return each shipped file and its place in the build folder."""
        found = [p for folder, patterns in SHIPPED.items() for g in patterns for p in sorted(Path(folder).glob(g))]
        return {str(p): str(Path(self.build_lib, "tdsp", p)) for p in found}


setup(cmdclass={"build_py": BuildWithNotebooks})

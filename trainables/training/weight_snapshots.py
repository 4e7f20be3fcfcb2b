"""A run's weights along the way, kept when asked: one NumPy array a moment, in a folder a run."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.models.lenet import SHAPES
from trainables.training.pack import Pack

PARAMETERS = sum(int(np.prod(shape)) for shape in SHAPES.values())


class SavedWeights:
    """The weights of a sweep's runs at their start, after every ``every`` epochs, and at their end."""

    def __init__(self, folder: Path, every: int = 1, wanted: Collection[str] | None = None) -> None:
        """``wanted`` are the ids of the runs whose weights are kept; all of the pack's without it."""
        self.folder = folder
        self.every = every
        self.wanted = wanted

    def _file(self, run_id: str, epoch: int) -> Path:
        return self.folder / run_id / f"epoch{epoch:06d}.npy"

    def save(self, pack: Pack, last_epoch: int) -> None:
        """Keep the weights of every live member of ``pack`` where its epoch is one that is kept.

        Raises:
            OSError: the folder cannot be written.
        """
        if pack.epoch % self.every and pack.epoch != last_epoch:
            return
        for k, member in enumerate(pack.members):
            if member.diverged_epoch is None and (self.wanted is None or member.run.run_id in self.wanted):
                path = self._file(member.run.run_id, pack.epoch)
                path.parent.mkdir(parents=True, exist_ok=True)
                aside = path.with_suffix(f".{os.getpid()}.tmp")
                try:
                    with aside.open("wb") as file:
                        np.save(file, flattened(pack.stack.member(k)), allow_pickle=False)
                    aside.replace(path)
                finally:
                    aside.unlink(missing_ok=True)

    def epochs(self, run_id: str) -> list[int]:
        """Return the epochs of which the run's weights are kept, ascending; 0 is its start."""
        files = (path for path in (self.folder / run_id).glob("epoch*.npy") if path.is_file())
        return sorted(int(path.stem[5:]) for path in files if re.fullmatch(r"[0-9]{1,9}", path.stem[5:]))

    def read(self, run_id: str, epoch: int) -> npt.NDArray[np.floating]:
        """Return the run's weights ``[69656]`` after ``epoch``, in the order of ``SHAPES``.

        Raises:
            OSError: the file is missing.
            ValueError: it is torn, or holds anything else; a pickle is not read.
        """
        path = self._file(run_id, epoch)
        try:
            found = np.load(path, allow_pickle=False)
        except (EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path.name} is torn") from error
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.shape != (PARAMETERS,):
            raise ValueError(f"{path.name} holds no weights of LeNet-5")
        return found


def flattened(parameters: Mapping[str, Tensor]) -> npt.NDArray[np.floating]:
    """Return one model's parameters as one vector ``[69656]``, in the order of ``SHAPES``."""
    return torch.cat([parameters[name].detach().reshape(-1).cpu() for name in SHAPES]).numpy()


def unflattened(vector: npt.NDArray[np.floating], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the parameters whose :func:`flattened` form is ``vector``, as ``dtype``."""
    parts = torch.as_tensor(vector).to(dtype).split([int(np.prod(shape)) for shape in SHAPES.values()])
    return {name: part.reshape(shape) for (name, shape), part in zip(SHAPES.items(), parts, strict=True)}

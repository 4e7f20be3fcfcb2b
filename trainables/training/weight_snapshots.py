"""Weight snapshots of runs during training: one NumPy array per epoch, in one folder per run."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.models.lenet import shapes
from trainables.storage.folder import FolderStorage
from trainables.storage.interface import Storage
from trainables.training.checkpoints import as_checkpoint_error
from trainables.training.pack import Pack

_NAME = re.compile(r"epoch([0-9]{1,9})\.npy")


class SavedWeights:
    """The weights of a sweep's runs at their start, after every ``every`` epochs, and at their end."""

    def __init__(self, place: Path | Storage, every: int = 1, wanted: Collection[str] | None = None) -> None:
        """``place`` is a folder or a storage; ``wanted`` are the ids of the runs to keep, all of the pack's if None."""
        self._storage = FolderStorage(place) if isinstance(place, Path) else place
        self.every = every
        self.wanted = wanted

    def save(self, pack: Pack, last_epoch: int) -> None:
        """Keep the weights of every live member of ``pack`` where its epoch is one that is kept.

        Raises:
            CheckpointError: the storage cannot be written.
        """
        if pack.epoch % self.every and pack.epoch != last_epoch:
            return
        for k, member in enumerate(pack.members):
            if member.diverged_epoch is None and (self.wanted is None or member.run.run_id in self.wanted):
                content = io.BytesIO()
                np.save(content, flattened(pack.stack.member(k)), allow_pickle=False)
                with as_checkpoint_error():
                    self._storage.write(_file(member.run.run_id, pack.epoch), content.getvalue())

    def epochs(self, run_id: str) -> list[int]:
        """Return the epochs of which the run's weights are kept, ascending; 0 is its start.

        Raises:
            StorageError: the storage cannot be listed.
        """
        found = (_NAME.fullmatch(name) for name in self._storage.names(run_id))
        return sorted(int(match[1]) for match in found if match)

    def read(self, run_id: str, epoch: int) -> npt.NDArray[np.floating]:
        """Return the weights ``[P]`` of a run of LeNet-5 after ``epoch``, in the order of ``SHAPES``.

        Raises:
            StorageError: the file cannot be read now.
            FileNotFoundError: the file is missing.
            ValueError: it is torn, or holds anything else; a pickle is not read.
        """
        name = _file(run_id, epoch)
        content = self._storage.read(name)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._storage.where(name))
        try:
            found = np.load(io.BytesIO(content), allow_pickle=False)
        except (EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{name} is torn") from error
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or not _classes(found.shape):
            raise ValueError(f"{name} holds no weights of LeNet-5")
        return found


def _file(run_id: str, epoch: int) -> str:
    return f"{run_id}/epoch{epoch:06d}.npy"


def flattened(parameters: Mapping[str, Tensor]) -> npt.NDArray[np.floating]:
    """Return one model's parameters as one vector ``[P]``, in their order; LeNet-5 for 100 classes has P = 69,656."""
    return torch.cat([parameter.detach().reshape(-1).cpu() for parameter in parameters.values()]).numpy()


def unflattened(vector: npt.NDArray[np.floating], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the parameters of the LeNet-5 whose :func:`flattened` form is ``vector``, as ``dtype``."""
    of_model = shapes(_classes(vector.shape))
    parts = torch.as_tensor(vector).to(dtype).split([math.prod(shape) for shape in of_model.values()])
    return {name: part.reshape(shape) for (name, shape), part in zip(of_model.items(), parts, strict=True)}


def _classes(shape: tuple[int, ...]) -> int:
    """Return the number of classes of the LeNet-5 whose parameters have this flattened shape; 0: of none."""
    none, one = (sum(map(math.prod, shapes(classes).values())) for classes in (0, 1))
    classes, rest = divmod(shape[0] - none, one - none) if len(shape) == 1 else (0, 0)
    return classes if classes > 0 and not rest else 0

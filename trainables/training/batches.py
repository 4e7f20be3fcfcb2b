"""The mini-batches of an epoch: order, crops, flips and dropout masks, all decided by the seed alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search_spaces import Protocol
from trainables.data import augmentation
from trainables.data.dataset import DataSet
from trainables.models.interface import NO_DRAWS, Draws, Masks
from trainables.models.registry import masked_units
from trainables.runtime.seeding import generator


@dataclass(frozen=True)
class Split:
    """A part of the data set on its device: ``images`` uint8 ``[N, 32, 32, 3]``, ``labels`` int64 ``[N]``."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray, device: torch.device) -> Split:
        """Move one part of a :class:`DataSet` to ``device``, without a copy where it is there already."""
        with warnings.catch_warnings():
            # Ray's object store hands out read-only arrays, and nothing here writes to them.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return cls(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device))


@dataclass(frozen=True)
class Batch:
    """One step's mini-batch. U is 1 where all runs share a seed, else the number of runs K."""

    images: Tensor  # uint8 [U, B, 32, 32, 3], augmented
    labels: Tensor  # int64 [U, B]
    masks: Masks | None  # LeNet-5's: [U, B, 120] and [U, B, 84], scaled by 1/(1-p)
    draws: Draws = NO_DRAWS  # what the draws in another model's forward pass depend on

    def part(self, start: int, stop: int) -> Batch:
        """Return the examples ``start`` to ``stop`` of it."""
        masks = None if self.masks is None else (self.masks[0][:, start:stop], self.masks[1][:, start:stop])
        return Batch(self.images[:, start:stop], self.labels[:, start:stop], masks, self.draws)

    def of_run(self, k: int) -> Batch:
        """Return the batch of run k alone."""
        row = slice(k, k + 1) if len(self.labels) > 1 else slice(None)
        masks = None if self.masks is None else (self.masks[0][row], self.masks[1][row])
        return Batch(self.images[row], self.labels[row], masks, self.draws)

    def copy(self) -> Batch:
        """Return a copy of the batch."""
        masks = None if self.masks is None else (self.masks[0].clone(), self.masks[1].clone())
        return Batch(self.images.clone(), self.labels.clone(), masks, self.draws)

    def take(self, other: Batch) -> None:
        """Copy ``other``, a batch of the same shape, into this one's memory."""
        self.images.copy_(other.images)
        self.labels.copy_(other.labels)
        for mine, theirs in zip(self.masks or (), other.masks or (), strict=True):
            mine.copy_(theirs)


class Batches:
    """The training batches that a pack's seeds ask for."""

    def __init__(self, data: DataSet, seeds: Sequence[int], protocol: Protocol, device: torch.device) -> None:
        """``seeds`` are the runs' seeds; where all are equal, one batch serves all runs."""
        self.seeds = sorted(set(seeds))
        # On the device: a list as an index would be copied there in every step, and the host would wait for it.
        self._members = torch.tensor([self.seeds.index(seed) for seed in seeds], device=device)
        self._protocol = protocol
        self._device = device
        self._units = masked_units(protocol.model) if protocol.dropout else ()
        self._dtype = getattr(torch, protocol.dtype)
        split = Split.of(data.train_images, data.train_labels, device)
        self._labels = split.labels
        self._images = augmentation.pad(split.images) if protocol.augment else split.images
        self._epoch = 0
        self._orders: list[Tensor] = []
        self._crops: list[augmentation.Crops] = []

    @property
    def examples(self) -> int:
        """Training images in an epoch."""
        return len(self._labels)

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch; the last batch may be smaller."""
        return -(-self.examples // self._protocol.batch_size)

    def batch(self, epoch: int, step: int) -> Batch:
        """Return the mini-batch of ``step`` (from 0) of ``epoch`` (from 1)."""
        self._begin(epoch)
        span = slice(step * self._protocol.batch_size, (step + 1) * self._protocol.batch_size)
        images, labels, masks = [], [], []
        for i, seed in enumerate(self.seeds):
            chosen = self._orders[i][span]
            labels.append(self._labels[chosen])
            if self._protocol.augment:
                crops = self._crops[i]
                images.append(
                    augmentation.crop_and_flip(
                        self._images, chosen, crops.top[span], crops.left[span], crops.flip[span]
                    )
                )
            else:
                images.append(self._images[chosen])
            if self._units:
                masks.append(self._mask(seed, epoch, step, len(chosen)))
        split = None
        if self._units:
            mask, first = self._each(masks), self._units[0]
            split = mask[..., :first], mask[..., first:]
        return Batch(self._each(images), self._each(labels), split, Draws(self.seeds[0], epoch, step))

    def _each(self, per_seed: list[Tensor]) -> Tensor:
        """Stack what each seed drew: ``[1, …]`` for one seed, else ``[K, …]``, a row for every run."""
        stacked = torch.stack(per_seed)
        return stacked if len(self.seeds) == 1 else stacked.index_select(0, self._members)

    def _begin(self, epoch: int) -> None:
        """Draw the order and the crops of ``epoch``, unless they are the last ones drawn."""
        if epoch == self._epoch:
            return
        self._epoch, n = epoch, self.examples
        rngs = [generator(self._device, seed, "order", epoch) for seed in self.seeds]
        self._orders = [torch.randperm(n, generator=rng, device=self._device) for rng in rngs]
        if self._protocol.augment:
            rngs = [generator(self._device, seed, "crops", epoch) for seed in self.seeds]
            self._crops = [augmentation.draw_crops(n, rng, self._device) for rng in rngs]

    def _mask(self, seed: int, epoch: int, step: int, size: int) -> Tensor:
        """Return the step's dropout masks side by side, LeNet-5's ``[B, 120 + 84]``."""
        p = self._protocol.dropout
        rng = generator(self._device, seed, "dropout", epoch, step)
        kept = torch.rand(size, sum(self._units), generator=rng, device=self._device) >= p
        return kept.to(self._dtype).div_(1 - p)

"""Checked against torchvision's own transforms, image by image, on the same draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainables.data import augmentation
from trainables.data.vision import import_torchvision


def random_images(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_padding_is_torchvisions() -> None:
    """Four black pixels on every side."""
    transforms = import_torchvision("transforms.functional")
    images = random_images(5)
    expected = transforms.pad(images.permute(0, 3, 1, 2), [4, 4, 4, 4]).permute(0, 2, 3, 1)
    padded = augmentation.pad(images)
    assert padded.is_contiguous()
    torch.testing.assert_close(padded, expected, rtol=0, atol=0)


def test_crop_and_flip_is_torchvisions_for_every_offset() -> None:
    """All 9 × 9 × 2 cuts, each of another image, exact to the bit."""
    transforms = import_torchvision("transforms.functional")
    padded = augmentation.pad(random_images(200))
    top, left, flip = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, (9, 9, 2)), indexing="ij"))
    flip = flip.bool()
    indices = torch.randperm(200, generator=torch.Generator().manual_seed(1))[:162]
    batch = augmentation.crop_and_flip(padded, indices, top, left, flip)
    assert batch.shape == (162, 32, 32, 3)
    assert batch.dtype == torch.uint8
    for row, index in enumerate(indices.tolist()):
        cut = transforms.crop(padded[index].permute(2, 0, 1), int(top[row]), int(left[row]), 32, 32)
        expected = transforms.hflip(cut) if flip[row] else cut
        assert torch.equal(batch[row].permute(2, 0, 1), expected)


def test_the_middle_crop_is_the_image_itself() -> None:
    """What padding adds, an offset of four takes away; a row may be drawn twice."""
    images = random_images(3)
    indices = torch.tensor([2, 0, 2])
    four, no = torch.full((3,), 4), torch.zeros(3, dtype=torch.bool)
    assert torch.equal(augmentation.crop_and_flip(augmentation.pad(images), indices, four, four, no), images[indices])


@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 1e-2)]
)
def test_normalising_is_torchvisions(dtype: torch.dtype, atol: float) -> None:
    """To the precision of the dtype; half precision is rounded once, at the end."""
    transforms = import_torchvision("transforms.functional")
    images = random_images(4)
    exact = transforms.normalize(
        images.permute(0, 3, 1, 2).double() / 255, [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]
    )
    normal = augmentation.normalise(images, dtype)
    assert normal.dtype == dtype
    torch.testing.assert_close(normal.double(), exact, rtol=0, atol=atol)


def test_normalising_keeps_the_pixels_where_they_are() -> None:
    """``[B, 3, 32, 32]`` is channels_last; leading dimensions are carried along; the input is not written to."""
    images = random_images(6)
    before = images.clone()
    normal = augmentation.normalise(images)
    assert normal.shape == (6, 3, 32, 32)
    assert normal.is_contiguous(memory_format=torch.channels_last)
    packed = augmentation.normalise(images.view(2, 3, 32, 32, 3))
    assert torch.equal(packed.flatten(0, 1), normal)
    assert torch.equal(images, before)


def test_draws_are_uniform_and_belong_to_their_generator() -> None:
    """Each offset 0..8 and each side equally often (5 standard errors); the same seed draws the same."""
    n = 90_000
    draws = [augmentation.draw_crops(n, torch.Generator().manual_seed(5), "cpu") for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
    top, left, flip = draws[0]
    assert flip.dtype == torch.bool
    for offsets in (top, left):
        counts = offsets.bincount()
        assert len(counts) == 9
        assert (counts - n / 9).abs().max() < 5 * (n * 1 / 9 * 8 / 9) ** 0.5
    assert abs(flip.sum().item() - n / 2) < 5 * (n / 4) ** 0.5
    together = torch.corrcoef(torch.stack([top, left, flip]).double())
    assert (together - torch.eye(3)).abs().max() < 5 / n**0.5

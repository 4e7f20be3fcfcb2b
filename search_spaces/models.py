"""The models by name, and what a text calls them."""

from __future__ import annotations

LENET5 = "lenet5"
"""The default."""

MODEL_TITLES = {
    LENET5: "LeNet-5",
    "lenet5_wide": "a LeNet-5 of twice the width",
    "resnet8_nonorm": "an 8-layer residual network without normalisation",
}
"""The models that a spec can name without a module."""


def model_title(name: str) -> str:
    """Return what a text calls the model ``name``; a ``module:factory`` keeps its name."""
    return MODEL_TITLES.get(name, name)

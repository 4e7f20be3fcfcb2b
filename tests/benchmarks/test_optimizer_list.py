"""Published optimizers train as their plain loops and resume exactly; docs/optimizers.md has what was found."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator

import pytest
import torch

from benchmarks.optimizer_list import LARGEST_DIFFERENCE, MARKS, PAGE, check, data
from benchmarks.published_optimizers import PUBLISHED, Published
from search_spaces import Configuration
from search_spaces.errors import SpecError
from trainables.data.dataset import DataSet
from trainables.optim.planning_trial import why_not_resumed
from trainables.optim.validation import complete_configuration

ROWS = PAGE.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0].splitlines()[2:]
CELLS = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in ROWS]
LISTED = {(cells[0].split()[0], cells[1].strip("`")): cells for cells in CELLS}


@pytest.fixture(scope="module")
def images() -> DataSet:
    return data()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def compared_with(published: Published, images: DataSet) -> None:
    """Check one entry against its row: the kind of resume, own packs, refusals, and the difference."""
    _, _, resume, difference, notes = LISTED[published.package, published.title]
    found = check(published, images)
    assert bool(found.refused) == resume.startswith("refused")
    if found.refused:
        return
    assert (resume == "restarts") == bool(found.restarts)
    assert found.resumed == (resume == "exact resume")
    assert ("own pack" in notes) == bool(found.own_pack)
    if "plain loop itself changes" not in notes:
        assert float(difference) <= LARGEST_DIFFERENCE
        assert found.difference <= LARGEST_DIFFERENCE


def test_the_page_lists_every_entry_in_its_order() -> None:
    assert list(LISTED) == [(one.package, one.title) for one in PUBLISHED]


def test_at_least_25_optimizers_of_six_packages_train_and_equal_their_plain_loops() -> None:
    equal = [cells for cells in CELLS if cells[3] and float(cells[3]) <= LARGEST_DIFFERENCE]
    assert len(equal) >= 25
    assert len({cells[0] for cells in equal} - {f"torch {torch.__version__}"}) >= 6
    assert all(re.fullmatch(r"exact resume|restarts", cells[2]) for cells in equal)


@pytest.mark.parametrize("published", [one for one in PUBLISHED if one.package == "torch"], ids=lambda one: one.title)
def test_a_class_of_pytorch_equals_its_plain_loop(published: Published, images: DataSet) -> None:
    compared_with(published, images)


@pytest.mark.slow
@pytest.mark.parametrize(
    "published",
    [one for one in PUBLISHED if one.package != "torch"],
    ids=lambda one: f"{one.package} {one.title}",
)
def test_a_published_class_equals_its_plain_loop(published: Published, images: DataSet) -> None:
    if importlib.util.find_spec(published.module) is None:
        pytest.skip(f"{published.package} is not installed: pip install -c constraints.txt -e '.[optimizers]'")
    compared_with(published, images)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SOAP", "PSGDKron", "KLShampoo", "LATHER"])
def test_heavyballs_preconditioned_classes_train_and_resume_in_float32(name: str) -> None:
    heavyball = pytest.importorskip("heavyball", reason="pip install -c constraints.txt -e '.[optimizers]'")
    heavyball.utils.compile_mode = None
    asked = Configuration(f"heavyball:{name}", {"lr": 0.01})
    found = complete_configuration(asked, 2, 7, "list", ["heavyball"])
    assert why_not_resumed(found, torch.float32, "list") == ""
    with pytest.raises(SpecError, match=f"heavyball:{name} fails"):
        why_not_resumed(found, torch.float64, "list")


def test_a_muon_without_groups_is_refused_with_an_example() -> None:
    pytest.importorskip("pytorch_optimizer", reason="pip install -c constraints.txt -e '.[optimizers]'")
    with pytest.raises(SpecError, match=r"optimizer\.groups: missing: pytorch_optimizer:Muon reads use_muon.*match"):
        complete_configuration(
            Configuration("pytorch_optimizer:Muon", {"lr": 0.01}), 2, 7, "list", ["pytorch_optimizer"]
        )

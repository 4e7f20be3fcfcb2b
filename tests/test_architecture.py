"""Imports go one way: between packages, between sub-packages, and without a cycle between modules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "search_spaces": set(),
    "trainables": {"search_spaces"},
    "results": {"search_spaces"},
    "sweep": {"search_spaces", "trainables", "results"},
}
"""A package → the other packages of this project that it may import."""

NEVER_IMPORT = {
    "search_spaces": {"torch", "torchvision", "ray", "pandas", "matplotlib"},
    "trainables": {"pandas", "matplotlib", "ray"},
    "results": {"torch", "torchvision", "ray"},
    "sweep": set(),
}
KNOWS_RAY_TUNE = "trainables.ray_trainable"
MAY_IMPORT_RAY = re.compile(r"trainables\.ray_trainable|sweep\.execution\.ray\..*|sweep\.cli\.doctor")

ARROWS = {
    "trainables": {
        "preload": {"ray_trainable"},
        "ray_trainable": {"analyses", "profiling", "training", "optim", "models", "data", "storage", "runtime"},
        "analyses": {"training", "optim", "models", "data", "storage", "runtime"},
        "profiling": {"training", "optim", "models", "data", "storage", "runtime"},
        "training": {"optim", "models", "data", "storage", "runtime"},
        "optim": {"runtime"},
        "models": {"runtime"},
        "data": {"runtime"},
        "storage": {"runtime"},
        "runtime": set(),
    },
    "results": {
        "reports": {"analyses", "figures", "tables", "ledger", "metrics", "atomic_write"},
        "analyses": {"figures", "tables", "ledger", "metrics", "atomic_write"},
        "figures": {"tables", "ledger", "metrics", "atomic_write"},
        "tables": {"ledger", "metrics", "atomic_write"},
        "ledger": {"metrics", "atomic_write"},
        "metrics": set(),
        "atomic_write": set(),
    },
    "sweep": {
        "__init__": {"api"},
        "__main__": {"cli", "process"},
        "cli": {
            "analyses", "driver", "execution", "live", "progress", "tracking", "folder", "planning", "config",
            "process",
        },
        "api": {"analyses", "driver", "execution", "progress", "folder", "planning", "config", "process"},
        "analyses": {"driver", "execution", "progress", "folder", "planning", "config", "process"},
        "driver": {"execution", "progress", "tracking", "folder", "planning", "config", "process"},
        "execution": {"progress", "tracking", "folder", "planning", "config", "process"},
        "tracking": {"folder"},
        "live": {"folder"},
        "progress": {"folder", "planning", "config", "process"},
        "folder": {"config", "process"},
        "planning": {"config", "process"},
        "config": {"process"},
        "process": set(),
    },
}  # fmt: skip
"""A package → each of its sub-packages, and modules beside them → those that it may import."""

MOST_LAYERS = {"trainables": 6, "results": 6, "sweep": 9}

MOST_LINES = 400
MOST_PARAMETERS = 7
MORE_PARAMETERS: dict[str, int] = {}  # a function → its parameters; none is needed
SAYS_NOTHING = {"utils", "common", "helpers", "base", "misc"}

FILES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports: in functions and for type checking, too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


IMPORTS = {module: set(imports_of(path)) for module, path in MODULES.items()}


def package_of(module: str) -> str:
    return module.partition(".")[0]


def unit_of(module: str) -> str:
    """The sub-package of a module, or the module itself if it is beside them."""
    return module.split(".")[1] if "." in module else "__init__"


def units_of(package: str) -> dict[str, set[str]]:
    """Each unit of a package → the other units that it imports."""
    found: dict[str, set[str]] = {}
    for module, imported in IMPORTS.items():
        if package_of(module) == package:
            units = {unit_of(name) for name in imported if package_of(name) == package}
            found.setdefault(unit_of(module), set()).update(units - {unit_of(module)})
    return found


def layer_of(unit: str, imported: Mapping[str, set[str]]) -> int:
    """One more than the highest layer that a unit imports; an endless recursion is a cycle."""
    return 1 + max((layer_of(other, imported) for other in imported[unit]), default=0)


def cycle_in(imported: Mapping[str, set[str]]) -> list[str]:
    """Any cycle, as the names along it; none as an empty list."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(imported.get(name, ())):
            if found := visit(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in imported if (found := visit(name, []))), [])


def test_a_package_imports_only_what_it_may() -> None:
    for module, imported in IMPORTS.items():
        package, names = package_of(module), {package_of(name) for name in imported}
        assert not names & set(MAY_IMPORT) - MAY_IMPORT[package] - {package}, module
        assert not names & NEVER_IMPORT[package] - ({"ray"} if module == KNOWS_RAY_TUNE else set()), module


def test_only_the_ray_executor_imports_ray() -> None:
    for module, imported in IMPORTS.items():
        assert "ray" not in map(package_of, imported) or MAY_IMPORT_RAY.fullmatch(module), module


def test_a_sub_package_imports_only_what_it_may() -> None:
    for package, arrows in ARROWS.items():
        for module, imported in IMPORTS.items():
            if package_of(module) == package and module != package:
                units = {unit_of(name) for name in imported if package_of(name) == package}
                assert units - {unit_of(module)} <= arrows[unit_of(module)], module
        assert units_of(package)["__init__"] <= arrows.get("__init__", set())


def test_no_import_goes_in_a_circle() -> None:
    assert cycle_in(IMPORTS) == []
    for package in ARROWS:
        assert cycle_in(units_of(package)) == []
        assert cycle_in(ARROWS[package]) == []


def test_a_cycle_is_found() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_packages_have_few_layers() -> None:
    for package, most in MOST_LAYERS.items():
        imported = units_of(package)
        assert max(layer_of(unit, imported) for unit in imported) <= most, package


def test_a_file_is_one_noun_and_fits_in_the_head() -> None:
    tests = sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in [*FILES, *tests]}
    longer = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert longer == {}
    assert not {path.stem for path in FILES} & SAYS_NOTHING


def functions_of(tree: ast.AST, place: str, in_class: bool = False) -> Iterator[tuple[str, int]]:
    """Every function of a module by its dotted name, and the number of its parameters, ``self`` left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [parameter.arg for parameter in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            names += [rest.arg for rest in (given.vararg, given.kwarg) if rest]
            yield f"{place}.{node.name}", len(names) - (in_class and names[:1] in (["self"], ["cls"]))
            yield from functions_of(node, f"{place}.{node.name}")
        elif isinstance(node, ast.ClassDef):
            yield from functions_of(node, f"{place}.{node.name}", in_class=True)
        else:
            yield from functions_of(node, place, in_class)


def test_a_function_has_few_parameters() -> None:
    """Outside of the command line, where each option is one."""
    found = {
        name: count
        for module, path in MODULES.items()
        if not module.startswith("sweep.cli")
        for name, count in functions_of(tree_of(path), module)
    }
    more = {name: count for name, count in found.items() if count > MORE_PARAMETERS.get(name, MOST_PARAMETERS)}
    assert more == {}
    assert [name for name in MORE_PARAMETERS if found.get(name, 0) <= MOST_PARAMETERS] == []  # needs no exception


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a new interpreter has imported after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return {package_of(name) for name in found.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import search_spaces", {"torch", "ray", "pandas", "matplotlib", "pydantic"}),
        (
            "import results, results.tables.registry, results.reports.export, results.ledger.frames",
            {"torch", "torchvision", "ray", "matplotlib", "trainables", "sweep"},
        ),
        ("import sweep.cli.app", {"torch", "ray", "pandas", "matplotlib", "pyarrow", "scipy"}),
        ("import trainables.training.loop, trainables.data.dataset", {"ray", "pandas", "matplotlib"}),
    ],
)
def test_importing_a_package_stays_light(statement: str, never: set[str]) -> None:
    """A table can be made without torch, and `sweep --help` waits for nothing."""
    assert not loaded_by(statement) & never


def test_the_file_tree_in_the_docs_names_every_sub_package() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("## File tree")[2].split("```")[1]
    place: list[str] = []
    named = set()
    for line in text.splitlines():
        if entry := re.match(r"( *)(\w+/)", line):
            place = [*place[: len(entry[1]) // 2], entry[2]]
            named.add("".join(place))
    folders = {path.parent for package in MAY_IMPORT for path in (ROOT / package).rglob("__init__.py")}
    assert {f"{folder.relative_to(ROOT)}/" for folder in folders} == {
        name for name in named if name.split("/")[0] in MAY_IMPORT
    }

"""The spec of a sweep: its keys, their types and their defaults. ``toml.py`` reads and writes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from search_spaces import Configuration, Protocol, expand
from search_spaces.axes import MAX_RUNS, counted_blocks
from search_spaces.errors import SpecError, shown
from search_spaces.method import Method, methods_of
from search_spaces.models import LENET5
from sweep.config.benchmark import Benchmark, Seed
from sweep.config.data import data_key

MOST_SEEDS = 100_000
DEFAULT_MAX_SEEDS = 30
"""For ``seeds = "auto"`` without ``max_seeds``."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProtocolTable(_Table):
    """``[protocol]``: the settings that all runs share; see :class:`search_spaces.Protocol`."""

    batch_size: int = Field(128, ge=1, le=100_000)
    dropout: float = Field(0.3, ge=0, lt=1)
    augment: bool = True
    val_fraction: float = Field(0.1, gt=0, lt=1)
    dtype: Literal["float32", "float64"] = "float32"
    grad_clip_norm: float = Field(0, ge=0, allow_inf_nan=False)  # 0: no clipping
    label_smoothing: float = Field(0, ge=0, lt=1)
    ema_decay: float = Field(0, ge=0, lt=1)  # 0: no average
    weight_decay_on: Literal["all", "matrices"] = "all"
    precision: Literal["float32", "tf32"] = "float32"


class Resources(_Table):
    """``[resources]``: how the runs are distributed. It is not part of a run's id."""

    pack: Literal["auto", "probe"] | Annotated[int, Field(ge=1, le=1024)] = "auto"  # probe: no earlier step times
    cpus_per_trial: Literal["auto"] | Annotated[float, Field(gt=0, le=1024)] = "auto"
    gpus_per_trial: Literal["auto"] | Annotated[float, Field(ge=0, le=1024)] = 0.0  # auto: measured by a probe
    max_concurrent: int = Field(0, ge=0)  # 0: no limit
    retries: int = Field(2, ge=0, le=100)
    kernels: Literal["torch", "compiled", "auto"] = "torch"  # of convolutions on a CPU; auto: the faster ones here
    checkpoint_seconds: float = Field(30, gt=0)  # time between two checkpoints within an epoch

    @model_validator(mode="after")
    def _whole_gpus_above_one(self) -> Self:
        if self.gpus_per_trial != "auto" and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError("gpus_per_trial: must be a fraction up to 1, or a whole number")
        return self

    @property
    def cpus(self) -> float:
        """CPUs per trial; 1 for `auto`, until it is chosen."""
        return 1.0 if self.cpus_per_trial == "auto" else self.cpus_per_trial

    @property
    def threads(self) -> int:
        """Threads per trial."""
        return max(1, int(self.cpus))

    @property
    def gpus(self) -> float:
        """GPUs per trial; 1 for `auto`, until it is measured."""
        return 1.0 if self.gpus_per_trial == "auto" else self.gpus_per_trial


class Cluster(_Table):
    """``[cluster]``: the Ray cluster that trains the sweep. It is not part of a run's id."""

    address: str = "local"  # or auto, or HOST:PORT; see sweep/execution/ray/cluster.py
    autoscale_timeout: float = Field(0, ge=0)  # seconds to wait for an autoscaling cluster to fit a trial


class Imports(_Table):
    """``[imports]``: the installed packages whose classes and functions the spec may name as ``module:name``.

    Modules in the working directory and PyTorch need no entry. It is not part of a run's id.
    """

    packages: list[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]] = []


class Lint(_Table):
    """``[lint]``: findings of the fairness lint to ignore, each with a reason that is printed beside it.

    It is not part of a run's id.
    """

    ignore: dict[str, Annotated[str, Field(max_length=500)]] = {}

    @model_validator(mode="after")
    def _codes_exist_and_have_a_reason(self) -> Self:
        from results.tables.lint_codes import LINT_CODES, LINT_PAGE

        for code, reason in self.ignore.items():
            if code not in LINT_CODES:
                raise ValueError(f"lint.ignore: {shown(code)} is no code of the lint; valid: {', '.join(LINT_CODES)}")
            if not reason.strip():
                raise ValueError(f"lint.ignore.{code}: needs a reason, which is printed beside it ({LINT_PAGE})")
        return self


class TrackingTable(_Table):
    """``[tracking]``: copies of the measurements in other programs. It is not part of a run's id."""

    trackers: list[Literal["tensorboard", "mlflow", "wandb"]] = []


class Spec(_Table):
    """A sweep as a user writes it. Every key has a default, except the configurations."""

    name: str = "sweep"
    description: str = ""
    data: str = "cifar100"
    model: str = Field(LENET5, min_length=1, max_length=200)  # of search_spaces.models, or module:factory
    labels: str = Field("", max_length=200)  # of data with several: fine, coarse, or a column of Parquet files
    max_images: int = Field(1_000_000, ge=1, le=100_000_000)  # a larger data set is refused before it is read
    storage: str = ""  # a folder that all nodes share, or s3://bucket/prefix; empty: the sweep's folder
    epochs: int = Field(50, ge=1, le=1_000_000)
    seeds: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_SEEDS)] | Annotated[list[Seed], Field(min_length=1)] = 3
    max_seeds: Literal[0] | Annotated[int, Field(ge=2, le=MOST_SEEDS)] = 0  # above 0: add seeds until decided
    max_runs: int = Field(MAX_RUNS, ge=1, le=10_000_000)  # a larger space is refused before it is built
    test_epochs: Literal["last", "all"] | list[Annotated[int, Field(ge=1)]] = "last"
    reference: str = ""  # label or id of the configuration that all others are compared with; not part of a run's id
    save_weights_every: int = Field(0, ge=0)  # epochs; 0: never. For `sweep trajectory`; not part of a run's id
    protocol: ProtocolTable = ProtocolTable()
    resources: Resources = Resources()
    cluster: Cluster = Cluster()
    imports: Imports = Imports()
    lint: Lint = Lint()
    tracking: TrackingTable = TrackingTable()
    benchmark: Benchmark | None = None
    methods: list[dict[str, Any]] = []  # of a benchmark, in place of the configurations
    configurations: list[dict[str, Any]] = []  # required, except in a benchmark

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if isinstance(self.seeds, list) and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: has a seed twice")
        return self

    @model_validator(mode="after")
    def _seeds_until_decided(self) -> Self:
        if (self.seeds == "auto" or self.max_seeds) and not self.reference:
            raise ValueError("seeds: until decided, a configuration to compare with is needed; name it as `reference`")
        if self.max_seeds and self.seeds != "auto" and len(self.seed_list) > self.max_seeds:
            raise ValueError(f"max_seeds: {self.max_seeds} is below the number of seeds, {len(self.seed_list)}")
        return self

    @model_validator(mode="after")
    def _precision_is_possible(self) -> Self:
        if self.protocol.precision == "tf32" and self.protocol.dtype != "float32":
            raise ValueError(f"protocol.precision: 'tf32' is for dtype 'float32', not {self.protocol.dtype!r}")
        if self.protocol.precision == "tf32" and self.resources.gpus_per_trial == 0:
            raise ValueError("protocol.precision: 'tf32' needs a GPU; set resources.gpus_per_trial, or use 'float32'")
        return self

    @model_validator(mode="after")
    def _test_epochs_exist(self) -> Self:
        if isinstance(self.test_epochs, list) and any(epoch > self.epochs for epoch in self.test_epochs):
            raise ValueError(f"test_epochs: {max(self.test_epochs)} is greater than epochs, which is {self.epochs}")
        return self

    @model_validator(mode="after")
    def _benchmark_is_whole(self) -> Self:
        if self.benchmark is None:
            if self.methods:
                raise ValueError("methods: need a table [benchmark] with a budget")
            if "configurations" not in self.model_fields_set:
                raise ValueError("configurations: missing")
            return self
        for key in ("configurations", "seeds", "max_seeds", "test_epochs", "reference"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: a benchmark has [[methods]], tuning_seeds and evaluation_seeds instead")
        if self.benchmark.tuning_epochs > self.epochs:
            tuning = self.benchmark.tuning_epochs
            raise ValueError(f"benchmark.tuning_epochs: {tuning} is greater than epochs, which is {self.epochs}")
        return self

    @property
    def tuning_epochs(self) -> int:
        """The epochs of a run of a benchmark's tuning."""
        return (self.benchmark.tuning_epochs if self.benchmark else 0) or self.epochs

    def checked_methods(self) -> list[Method]:
        """Return the methods of a benchmark.

        Raises:
            SpecError: an invalid method, or one that sets a key of ``[benchmark]``.
        """
        for i, table in enumerate(self.methods):
            for key in table:
                if key in Benchmark.model_fields or key in ("epochs", "seeds", "protocol"):
                    raise SpecError(
                        f"{self.name}: methods[{i}].{key}", "is the same for all methods of a benchmark",
                        "set it in [benchmark]" if key in Benchmark.model_fields else "set it for the whole spec",
                    )  # fmt: skip
        return methods_of(self.methods, self.name)

    @property
    def seed_list(self) -> list[int]:
        """The seeds; a number n means 0 … n-1, and `auto` the seeds of the first look."""
        if isinstance(self.seeds, list):
            return list(self.seeds)
        return list(range(self.seeds if self.seeds != "auto" else self.looks[0]))

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds after which the comparisons are tested; empty where the number of seeds is fixed."""
        most = self.max_seeds or (DEFAULT_MAX_SEEDS if self.seeds == "auto" else 0)
        if not most:
            return ()
        from results.metrics.sequential import looks

        return looks(most)

    @property
    def shared_protocol(self) -> Protocol:
        """The protocol, which is part of every run's id."""
        return Protocol(**self.protocol.model_dump(), model=self.model)

    @property
    def data_options(self) -> dict[str, Any]:
        """The options of ``load_data``: everything about the data but its source."""
        return {"val_fraction": self.protocol.val_fraction, "labels": self.labels, "max_images": self.max_images}

    def test_epoch_set(self) -> frozenset[int]:
        """The epochs after which the test split is evaluated."""
        if self.test_epochs == "last":
            return frozenset({self.epochs})
        if self.test_epochs == "all":
            return frozenset(range(1, self.epochs + 1))
        return frozenset(self.test_epochs)

    def expanded(self) -> list[Configuration]:
        """Return the configurations of all blocks, with expressions and without defaults.

        Raises:
            SpecError: an invalid block, or more than ``max_runs`` runs.
        """
        return expand(self.configurations, self.name, seeds=self._number_of_seeds, max_runs=self.max_runs)

    def check_size(self) -> None:
        """Count the runs and the synthetic images before anything is built or a large library is imported.

        Raises:
            SpecError: an invalid block, or more than ``max_runs`` runs.
            DataError: invalid options of synthetic data, or more than ``max_images`` images.
        """
        if self.benchmark is not None:
            self.checked_methods()
        else:
            counted_blocks(self.configurations, self.name, seeds=self._number_of_seeds, max_runs=self.max_runs)
        if self.data.startswith("synthetic"):
            from trainables.data.synthetic import check_size, is_synthetic

            if is_synthetic(self.data):
                with data_key():
                    check_size(self.data, self.max_images)

    @property
    def _number_of_seeds(self) -> int:
        return self.seeds if isinstance(self.seeds, int) else len(self.seed_list)

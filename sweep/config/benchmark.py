"""``[benchmark]``: how a benchmark tunes and evaluates its methods, the same for all of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seed = Annotated[int, Field(ge=0, le=2**53)]
MOST_STUDIES = 100
EVALUATION_SEEDS_FROM = 10_000
"""The evaluation seeds of study s begin at s times this number; all tuning seeds are below it."""


class Benchmark(BaseModel):
    """The table ``[benchmark]``. No method can have other values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    budget: int = Field(ge=1, le=10_000)  # points of each method
    sampler: Literal["random", "qmc", "tpe", "grid"] = "qmc"
    seed: int = Field(0, ge=0, le=2**53)  # of the samplers
    tuning_seeds: Annotated[int, Field(ge=1, le=1_000)] | Annotated[list[Seed], Field(min_length=1)] = 1
    tuning_epochs: int = Field(0, ge=0, le=1_000_000)  # 0: as many as in the evaluation
    evaluation_seeds: (
        Literal["auto"]
        | Annotated[int, Field(ge=2, le=EVALUATION_SEEDS_FROM)]
        | Annotated[list[Seed], Field(min_length=2)]
    ) = 10
    max_evaluation_seeds: int = Field(30, ge=2, le=EVALUATION_SEEDS_FROM)  # for "auto"
    studies: int = Field(1, ge=1, le=MOST_STUDIES)
    halving: Literal[0, 3] = 0  # 3: at E/9 and E/3 epochs of the tuning, a third of the points is continued

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        for key in ("tuning_seeds", "evaluation_seeds"):
            seeds = getattr(self, key)
            if isinstance(seeds, list) and self.studies > 1:
                raise ValueError(f"benchmark.{key}: a list, but each of {self.studies} studies has its own seeds")
            if isinstance(seeds, list) and len(set(seeds)) < len(seeds):
                raise ValueError(f"benchmark.{key}: has a seed twice")
        if isinstance(self.tuning_seeds, int) and self.tuning_seeds * self.studies > EVALUATION_SEEDS_FROM:
            raise ValueError(f"benchmark.tuning_seeds: at most {EVALUATION_SEEDS_FROM:,} in all studies")
        for study in range(1, self.studies + 1):
            if common := set(self.seeds_of_tuning(study)) & set(self.seeds_of_evaluation(study)):
                raise ValueError(
                    f"benchmark.evaluation_seeds: {min(common)} is also a tuning seed; the evaluation needs new seeds"
                )
        return self

    @model_validator(mode="after")
    def _halving_has_rungs(self) -> Self:
        if self.halving and self.sampler == "tpe":
            raise ValueError("benchmark.halving: tpe needs the result of every point; use another sampler")
        return self

    def seeds_of_tuning(self, study: int) -> list[int]:
        """Return the tuning seeds of a study, which counts from 1."""
        if isinstance(self.tuning_seeds, list):
            return list(self.tuning_seeds)
        return list(range((study - 1) * self.tuning_seeds, study * self.tuning_seeds))

    def seeds_of_evaluation(self, study: int, count: int | None = None) -> list[int]:
        """Return the evaluation seeds of a study; the first ``count`` for ``auto``, by default as many as allowed."""
        if isinstance(self.evaluation_seeds, list):
            return list(self.evaluation_seeds)
        most = self.max_evaluation_seeds if self.evaluation_seeds == "auto" else self.evaluation_seeds
        first = study * EVALUATION_SEEDS_FROM
        return list(range(first, first + (most if count is None else count)))

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of evaluation seeds after which the methods are compared; one number unless ``auto``."""
        from results.metrics.sequential import looks

        if self.evaluation_seeds == "auto":
            return looks(self.max_evaluation_seeds)
        return (len(self.seeds_of_evaluation(1)),)

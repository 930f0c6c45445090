"""The cases of a benchmark: which method meets which network, with which seed."""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta

from configs import Config, load
from configs.benchmark import Benchmark, Group
from tasks.benchmark_case import Case

__all__ = ["case_config", "cases"]


def cases(benchmark: Benchmark) -> list[Case]:
    """Return all cases, the short ones of each group first; of a case in two groups the longer.

    Raises:
        ValueError: A group names a method or a network that is not there.
    """
    base = load(benchmark.base, benchmark.settings)
    found: dict[str, Case] = {}
    for number, group in enumerate(benchmark.groups):
        check_names(group.methods, benchmark.methods, f"groups.{number}.methods")
        check_names(group.networks, benchmark.networks, f"groups.{number}.networks")
        for case in group_cases(benchmark, group, base):
            if case.name not in found or case.steps > found[case.name].steps:
                found[case.name] = case
    if benchmark.cost is not None:
        check_names(benchmark.cost.methods, benchmark.methods, "cost.methods")
        check_names([benchmark.cost.network], benchmark.networks, "cost.network")
    return list(found.values())


def check_names(names: Sequence[str], known: Collection[str], where: str) -> None:
    """Refuse labels that the benchmark does not define."""
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: {name!r}; allowed: {', '.join(known)}")


def group_cases(benchmark: Benchmark, group: Group, base: Config) -> Iterator[Case]:
    """Yield the cases of one group."""
    cycled, uncycled = benchmark.cycled, benchmark.uncycled
    repeats = (
        [(timedelta(0), base.step, cycled.cycles, cycled.seeds)]
        if group.kind == "cycled"
        else [(lead, uncycled.every, uncycled.dates, uncycled.seeds) for lead in uncycled.leads]
    )
    for lead, every, steps, seeds in repeats:
        for network in group.networks:
            for seed in seeds:
                for method in group.methods:
                    yield Case(
                        kind=group.kind,
                        method=method,
                        network=network,
                        seed=seed,
                        lead=lead,
                        every=every,
                        steps=group.analyses or steps,
                        config=case_config(benchmark, base, method, network, seed),
                    )


def case_config(
    benchmark: Benchmark, base: Config, method: str, network: str, seed: int
) -> Config:
    """Return the configuration of a case."""
    observations = base.observations.model_copy(update={"network": benchmark.networks[network]})
    changes = {"method": benchmark.methods[method], "observations": observations, "seed": seed}
    return base.model_copy(update=changes)

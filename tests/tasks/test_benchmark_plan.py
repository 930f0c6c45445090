from configs.benchmark import Benchmark
from tasks.benchmark_plan import cases

GROUP = {"methods": ["free"], "networks": ["n", "m"]}


def test_a_group_can_have_a_length_of_its_own_and_the_longer_one_counts() -> None:
    benchmark = Benchmark(
        name="b",
        reference="free",
        methods={"free": {"kind": "free"}},
        networks={"n": {"kind": "columns"}, "m": {"kind": "points"}},
        groups=(
            GROUP | {"analyses": 5},
            GROUP | {"networks": ["m"]},
            GROUP | {"kind": "uncycled", "analyses": 3},
        ),
        cycled={"cycles": 9},
        uncycled={"leads": ["PT24H"]},
    )
    lengths = {(case.kind, case.network): case.steps for case in cases(benchmark)}
    assert lengths == {
        ("cycled", "n"): 5,
        ("cycled", "m"): 9,
        ("uncycled", "n"): 3,
        ("uncycled", "m"): 3,
    }

from benchmarks.kills import Arguments, measure


def test_a_run_that_is_killed_again_and_again_loses_nothing_and_ends_as_if_it_had_not_been() -> (
    None
):
    left = measure(Arguments(kills=3, steps=500, seed=1))
    assert left["kills"] == 3
    assert sum(left["moments"].values()) == 3
    assert left["passed"]["metrics and policy in the end equal to the undisturbed run's"] >= 1

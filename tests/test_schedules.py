"""Learning rates over time."""

import pytest

from core.schedules import ReduceOnPlateau, constant, cosine, linear, one_cycle, step_decay


def test_constant():
    assert [constant(0.1)(step) for step in (0, 10**6)] == [0.1, 0.1]


def test_step_decay():
    schedule = step_decay(1.0, (milestone for milestone in (10, 20)), 0.1)
    assert [schedule(step) for step in (0, 9, 10, 19)] == [1.0, 1.0, 0.1, 0.1]
    assert schedule(20) == pytest.approx(0.01)


def test_linear_warms_up_and_would_reach_its_minimum_after_the_last_step():
    schedule = linear(1.0, steps=110, warm_up=10, minimum=0.2)
    assert [schedule(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert schedule(60) == pytest.approx(0.6)
    assert schedule(109) == pytest.approx(0.2 + 0.8 / 100)
    assert schedule(110) == schedule(500) == pytest.approx(0.2)


def test_cosine_warms_up_and_ends_at_its_minimum():
    schedule = cosine(1.0, steps=110, warm_up=10, minimum=0.1)
    rates = [schedule(step) for step in range(110)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert (schedule(59) + schedule(60)) / 2 == pytest.approx(0.55, abs=0.01)  # halfway
    assert schedule(10**6) == pytest.approx(0.1)


def test_one_cycle_rises_and_falls():
    schedule = one_cycle(0.5, steps=51, rising=0.3)
    rates = [schedule(step) for step in range(51)]
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates[15] == pytest.approx(0.5)
    assert rates[50] == pytest.approx(0.5 / 25 * 1e-4)
    assert rates[:16] == sorted(rates[:16])
    assert rates[15:] == sorted(rates[15:], reverse=True)


def test_one_cycle_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    # PyTorch puts the peak at pct_start * steps - 1; with 51 steps this share puts it where ours is.
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=51, pct_start=16 / 51)
    ours = one_cycle(0.5, steps=51, rising=0.3)
    for step in range(51):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        if step < 50:
            optimizer.step()
            theirs.step()


def test_reduce_on_plateau_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.5)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=0.01, threshold_mode="abs", min_lr=0.1
    )
    ours = ReduceOnPlateau(0.5, factor=0.5, patience=2, min_delta=0.01, minimum=0.1)
    for value in [1.0, 0.9, 0.895, 0.894, 0.893, 0.892, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]:
        ours.observe(value)
        theirs.step(value)
        assert ours(0) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_reduce_on_plateau_continues_from_its_state():
    first = ReduceOnPlateau(0.5, patience=1)
    for value in (1.0, 1.0):
        first.observe(value)
    second = ReduceOnPlateau(0.5, patience=1)
    second.load_state_dict(first.state_dict())
    for schedule in (first, second):
        schedule.observe(1.0)
    assert first(0) == second(0) == pytest.approx(0.05)


@pytest.mark.parametrize("schedule", [linear, cosine])
def test_a_warm_up_is_of_whole_steps(schedule):
    """After 0.3 steps the rate would stand at three times the highest one."""
    with pytest.raises(ValueError, match=r"warm_up to be a whole number of at least 0, got 0\.3"):
        schedule(1e-3, 10, warm_up=0.3)

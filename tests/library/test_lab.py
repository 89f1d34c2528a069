"""The lab without a browser: what its messages do, and that watching changes nothing."""

import asyncio

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.games import GAMES
from ganlib.lab.widget import DATASETS, HISTORY, UNSEEN_FRAMES, Lab
from ganlib.networks import mlp_players
from ganlib.objectives import OBJECTIVES
from ganlib.training import evaluate, train

torch.set_num_threads(1)


def obey(lab: Lab, **message) -> dict:
    """What the widget says after one message of the browser."""
    lab._post(lab._obey, message)
    return lab.status


def weights(*networks: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for network in networks for p in network.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def head(lab: Lab) -> dict:
    names = ("id", "index", "frames", "rows", "floats", "bytes", "step", "d_moves", "quality")
    return dict(zip(names, np.frombuffer(lab.frame, "f4", 9).tolist(), strict=True))


def test_watching_does_not_change_training():
    lab = Lab(data="ring", seed=3)
    for _ in range(10):
        lab.advance(3)  # ten pictures
        obey(lab, do="look", index=1)
    G, D = mlp_players((2,), activation=nn.Tanh, seed=3)
    for _ in train(G, D, GAMES["non-saturating"], DATASETS["ring"](), steps=30, every=30, seed=3):
        pass
    assert same(weights(lab.G, lab.D), weights(G, D))


def test_a_run_played_live_is_the_run_played_at_once():
    async def live() -> Lab:
        lab = Lab(seed=5)
        obey(lab, do="play")
        while lab.step < 40:
            await asyncio.sleep(0.01)
        obey(lab, do="pause")
        await asyncio.sleep(0.2)
        return lab

    lab = asyncio.run(live())
    other = Lab(seed=5)
    other.advance(lab.step)
    assert same(weights(lab.G, lab.D), weights(other.G, other.D))


def test_pause_stops_and_nobody_watching_stops_the_pictures():
    async def live():
        lab = Lab()
        obey(lab, do="play")
        while lab.step < 10:
            await asyncio.sleep(0.01)
        lab._seen = lab._sent - UNSEEN_FRAMES  # as if the browser had fallen behind
        sent, step = lab._sent, lab.step
        while lab.step < step + 100:
            await asyncio.sleep(0.01)
        assert lab._sent == sent  # trained on, sent nothing: no queue can build up
        obey(lab, do="seen", frame=lab._sent)
        while lab._sent == sent:
            await asyncio.sleep(0.01)
        obey(lab, do="pause")
        await asyncio.sleep(0.2)
        step = lab.step
        await asyncio.sleep(0.2)
        assert lab.step == step and lab.status["playing"] is False

    asyncio.run(asyncio.wait_for(live(), 60))


def test_single_moves_move_one_player():
    lab = Lab()
    before_g, before_d = weights(lab.G), weights(lab.D)
    obey(lab, do="d_move")
    assert same(weights(lab.G), before_g) and not same(weights(lab.D), before_d)
    before_d = weights(lab.D)
    obey(lab, do="g_move")
    assert not same(weights(lab.G), before_g) and same(weights(lab.D), before_d)
    assert (head(lab)["step"], head(lab)["d_moves"]) == (1, 1)
    obey(lab, do="set", name="k", value="3")
    obey(lab, do="frame")
    assert (head(lab)["step"], head(lab)["d_moves"]) == (11, 31)


def test_looking_back_shows_the_very_frame():
    lab = Lab()
    lab.advance(5)
    frame = lab.frame[36:]
    lab.advance(5)
    obey(lab, do="look", index=1)
    assert lab.frame[36:] == frame and head(lab)["step"] == 5
    obey(lab, do="g_move")  # acts on the present, and shows it
    assert head(lab)["step"] == 11
    obey(lab, do="look", index=10**9)
    assert head(lab)["step"] == 11


def test_history_is_bounded_and_covers_the_whole_run():
    lab = Lab()
    for _ in range(3 * HISTORY):
        lab.step += 1  # frames without training: only the keeping is looked at
        lab._draw()
    frames = lab._frames()
    steps = np.array([row[0] for row, *_ in frames])
    assert len(frames) <= HISTORY + 1
    assert steps[0] == 0 and steps[-1] == lab.step
    assert np.ptp(np.diff(steps[:-1])) == 0  # evenly spaced


@pytest.mark.parametrize("data", DATASETS)
@pytest.mark.parametrize("objective", GAMES)
def test_every_pair_of_menu_entries_plays(data, objective):
    lab = Lab(data=data, objective=objective)
    lab.advance(2)
    assert head(lab)["step"] == 2
    _, d_loss, g_loss, _ = lab._latest[0]
    assert np.isfinite([d_loss, g_loss]).all()


def test_every_objective_is_in_the_menu():
    assert set(OBJECTIVES) <= set(Lab().scene["menus"]["objective"])


@pytest.mark.parametrize("value", ["", " ", "-1", "0", "2", "1e400", "nan", "abc", None, [], "0.0.1"])
@pytest.mark.parametrize("name", ["lr_g", "lr_d"])
def test_a_nonsense_learning_rate_gets_a_message_and_the_run_goes_on(name, value):
    lab = Lab()
    lab.advance(3)
    status = obey(lab, do="set", name=name, value=value)
    assert (
        status["error"]
        and "expected a number from 1e-06 to 1" in status["message"]
        and name in status["errors"]
    )
    assert "The run goes on" in status["message"] and "Traceback" not in status["message"]
    lab.advance(1)
    assert lab.step == 4
    status = obey(lab, do="set", name=name, value="0.002")
    assert not status["error"] and not status["errors"] and lab.settings[name] == 0.002


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", "0"),
        ("k", "1.5"),
        ("k", "101"),
        ("seed", "-1"),
        ("seed", "x"),
        ("data", "cats"),
        ("objective", ""),
    ],
)
def test_other_nonsense_gets_a_message_too(name, value):
    lab = Lab()
    before = dict(lab.settings)
    assert "expected" in obey(lab, do="set", name=name, value=value)["message"]
    assert lab.settings == before


def test_learning_rates_change_at_once_and_data_starts_a_new_run():
    lab = Lab()
    lab.advance(3)
    obey(lab, do="set", name="lr_d", value="0.25")
    assert lab.match.opt_d.param_groups[0]["lr"] == 0.25 and lab.step == 3
    assert "New run: data is now grid" in obey(lab, do="set", name="data", value="grid")["message"]
    assert lab.step == 0 and lab.match.opt_d.param_groups[0]["lr"] == 0.25


def test_reset_gives_the_same_run_again():
    lab = Lab(seed=9)
    lab.advance(20)
    first = weights(lab.G, lab.D)
    obey(lab, do="reset")
    assert lab.step == 0
    lab.advance(20)
    assert same(weights(lab.G, lab.D), first)


def test_a_diverged_run_says_so_and_keeps_its_frames():
    lab = Lab()
    lab.advance(5)
    with torch.no_grad():
        next(lab.D.parameters()).fill_(torch.nan)
    status = obey(lab, do="frame")
    assert status["error"] and "not finite" in status["message"] and "step 15" in status["message"]
    assert len(lab._frames()) == 2


def test_an_unexpected_error_is_shown(monkeypatch):
    lab = Lab()
    monkeypatch.setattr(lab, "_g_move", lambda: 1 / 0)
    assert "ZeroDivisionError" in obey(lab, do="g_move")["message"]


def test_bad_arguments():
    for wrong in ({"data": "cats"}, {"lr_g": -1}, {"k": 0}, {"seed": 0.5}):
        with pytest.raises(ValueError, match="expected"):
            Lab(**wrong)
    with pytest.raises(ValueError, match="event loop"):
        Lab().play()


def test_two_labs_do_not_disturb_each_other():
    one, two, alone = Lab(seed=1), Lab(seed=2), Lab(seed=1)
    for _ in range(5):
        one.advance(2)
        two.advance(2)
    alone.advance(10)
    assert same(weights(one.G, one.D), weights(alone.G, alone.D))


def test_drawn_points_are_the_data():
    lab = Lab()
    status = obey(lab, do="points", points=[[1.0, 1.0], [-1.0, 0.5]])
    assert "2 drawn points" in status["message"] and lab.settings["data"] == "drawn by hand"
    lab.advance(2)
    for nonsense in ([], [[1.0]], [[float("nan"), 0.0]], [[0.0, 0.0]] * 2001):
        assert "expected" in obey(lab, do="points", points=nonsense)["message"]
    assert lab.step == 2  # the run goes on


def test_seeds_at_once_are_the_runs_one_by_one():
    lab, alone = Lab(runs=3, seed=4), Lab(seed=5)
    lab.advance(20)
    alone.advance(20)
    torch.testing.assert_close(lab.G(lab._z)[1], alone.G(alone._z), rtol=1e-3, atol=1e-4)
    assert len(lab._latest[0]) == 3 + 3  # step, two losses, modes of each run
    status = obey(lab, do="set", name="runs", value="2")
    assert "seeds at once is now 2" in status["message"] and lab.step == 0
    obey(lab, do="set", name="data", value="digits")
    assert lab.settings["runs"] == 1
    assert "for points" in obey(lab, do="set", name="runs", value="6")["message"]
    assert lab.settings["runs"] == 1


# ---- the numbers that some games have of their own ---------------------------------------------------------------


def test_a_games_own_number_is_shown_and_obeyed():
    lab = Lab(objective="WGAN", c=0.05)
    assert lab.scene["dial"] == "c" and lab.settings["k"] == 5 and head(lab)["d_moves"] == 0
    lab.advance(2)
    assert head(lab)["d_moves"] == 10
    assert max(p.abs().max() for p in lab.D.parameters()) <= 0.05
    assert "the run goes on" in obey(lab, do="set", name="c", value="0.02")["message"]
    lab.advance(1)
    assert max(p.abs().max() for p in lab.D.parameters()) <= 0.02
    obey(lab, do="set", name="objective", value="WGAN-GP")
    assert lab.scene["dial"] == "lambda_gp" and lab.match.game.penalty.weight == 1.0
    obey(lab, do="set", name="lambda_gp", value="7")
    assert lab.match.game.penalty.weight == 7.0
    obey(lab, do="set", name="objective", value="unrolled")
    obey(lab, do="set", name="unroll_steps", value="2")
    assert lab.match.game.unroll_steps == 2 and lab.settings["k"] == 1
    obey(lab, do="set", name="objective", value="hinge")
    assert lab.scene["dial"] == "" and not lab.match.game.penalty


@pytest.mark.parametrize("runs", [1, 2])
def test_a_penalty_turned_up_while_it_runs_flattens_the_critic(runs):
    """Seven hundred moves under a huge weight: slopes near 1, as WGAN-GP wants them."""
    lab = Lab(objective="WGAN-GP", lambda_gp=0, runs=runs, lr_d=3e-3)
    lab.advance(40)
    obey(lab, do="set", name="lambda_gp", value="1000")
    lab.advance(60)
    x = lab._points.clone().requires_grad_()
    slope = torch.autograd.grad(lab.D(x).sum(), x)[0].norm(dim=-1)
    assert 0.5 < slope.median() < 1.5


@pytest.mark.parametrize(
    "bad", [("c", "0"), ("c", "-1"), ("lambda_gp", "-1"), ("lambda_gp", "inf"), ("k", "0")]
)
def test_nonsense_numbers_of_a_game_get_a_message(bad):
    lab = Lab(objective="WGAN")
    status = obey(lab, do="set", name=bad[0], value=bad[1])
    assert status["error"] and "expected" in status["message"]


@pytest.mark.parametrize("data", ["ring", "1-D normal"])
@pytest.mark.parametrize("runs", [1, 3])
def test_a_critics_surface_does_not_depend_on_its_scale_and_offset(data, runs):
    lab = Lab(objective="WGAN-GP", data=data, runs=runs)
    values = evaluate(lab.D, lab._points)
    assert torch.allclose(lab._surface(values), lab._surface(5 * values + 3), atol=0.01)
    assert lab._surface(values).abs().max() <= 1.2 and lab._surface(0 * values).abs().max() == 0

"""The lab without a browser: its run, what its messages do, and that watching changes nothing."""

import asyncio
import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import weights
from torch import nn

from ganlib.distributions import mixture_1d, ring
from ganlib.games import DIALS, GAMES
from ganlib.images import Images
from ganlib.lab import Lab
from ganlib.lab import widget as widgets
from ganlib.lab.run import HISTORY, Run
from ganlib.lab.widget import DATASETS, DRAWN, PRESETS, UNSEEN_FRAMES
from ganlib.networks import MLPGenerator, mlp_players
from ganlib.training import evaluate, train


def obey(lab: Lab, **message) -> dict:
    """What the widget says after one message of the browser."""
    lab._post(lab._obey, message)
    return lab.status


def players_of(lab: Lab) -> torch.Tensor:
    return torch.cat([weights(lab.run.G), weights(lab.run.D)])


def shown(lab: Lab, name: str) -> np.ndarray:
    return np.frombuffer(lab.frame[name], "u1" if name == "pixels" else "f4")


# ---- the run ---------------------------------------------------------------------------------------------------


def test_a_run_needs_no_widget():
    code = (
        "import sys, ganlib.lab.run; assert not {'anywidget', 'traitlets', 'ipywidgets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("objective", ["non-saturating", "unrolled", "WGAN-GP"])
def test_watching_does_not_change_training(objective):
    """With all that can be shown, switched on and off, and looking back."""
    lab = Lab(data="ring", objective=objective, seed=3, arrows=True, grid=True)
    for i in range(5):
        lab.advance(3)  # five pictures
        obey(lab, do="look", index=1)
        obey(lab, do="set", name="arrows", value=i % 2 == 0)
        lab.run.verdict()
    G, D = mlp_players((2,), activation=nn.Tanh, seed=3)
    for _ in train(G, D, GAMES[objective], ring(), steps=15, every=15, seed=3):
        pass
    assert torch.equal(players_of(lab), torch.cat([weights(G), weights(D)]))


def test_watching_many_seeds_does_not_change_training():
    shown_, plain = Lab(runs=3, arrows=True, grid=True), Lab(runs=3)
    for _ in range(4):
        shown_.advance(2)
    plain.advance(8)
    assert torch.equal(players_of(shown_), players_of(plain))
    assert shown(shown_, "arrows").shape == (3 * 64 * 2,) and shown(shown_, "grid").shape == (
        3 * 18 * 33 * 2,
    )


# ---- arrows, grid, verdicts --------------------------------------------------------------------------------------


def test_arrows_are_minus_the_slope_of_gs_cost():
    """By finite differences, sample by sample; and by hand where D is a plane: slope (1 - D) w for non-saturating,
    D w for minimax."""
    run = Lab(seed=1).run
    for _ in range(5):
        run.round()
    x = run._real[:6].double()
    run.D.double()
    push, h = run.push(x), 1e-5

    def cost(x):
        return nn.functional.softplus(-evaluate(run.D, x))

    for axis in (0, 1):
        step = torch.zeros(2, dtype=x.dtype)
        step[axis] = h
        torch.testing.assert_close(
            push[:, axis], -(cost(x + step) - cost(x - step)) / (2 * h), rtol=1e-5, atol=1e-8
        )

    class Plane(nn.Module):
        def forward(self, x):
            return x @ torch.tensor([3.0, -1.0])

    run, x = Lab(objective="minimax").run, torch.randn(7, 2)
    run.D = Plane()
    belief = run.D(x).sigmoid()[:, None]
    torch.testing.assert_close(run.push(x), belief * torch.tensor([3.0, -1.0]))
    run.game = GAMES["non-saturating"]
    torch.testing.assert_close(run.push(x), (1 - belief) * torch.tensor([3.0, -1.0]))
    run.game = GAMES["wasserstein"]
    torch.testing.assert_close(run.push(x), torch.tensor([3.0, -1.0]).expand(7, 2))


def test_in_an_unrolled_game_arrows_point_where_g_is_sent():
    """Not D as it stands, but as it will be: with K = 0 the two are one, with K = 5 they are not."""
    lab = Lab(objective="unrolled", lr_d=1e-2)
    lab.advance(20)
    fake = evaluate(lab.run.G, lab.run._z)[:64]
    ahead = lab.run.push(fake)
    lab.run.game = dataclasses.replace(lab.run.game, unroll_steps=0)
    assert not torch.allclose(ahead, lab.run.push(fake), rtol=0.05)


def test_every_run_has_its_own_arrows():
    lab = Lab(runs=2, seed=3)
    lab.advance(5)
    fake = evaluate(lab.run.G, lab.run._z)[:, :10]
    alone = Lab(seed=4)
    alone.advance(5)
    torch.testing.assert_close(lab.run.push(fake)[1], alone.run.push(fake[1]), rtol=1e-3, atol=1e-4)


def test_the_grid_is_gs_image_of_a_square_of_latents():
    lab = Lab(latent_dim=2, grid=True)
    lines = shown(lab, "grid").reshape(*lab.scene["grid"], 2)
    assert lab.scene["grid"] == [18, 33]
    corners = torch.tensor([[-2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]])
    expected = evaluate(lab.run.G, corners).numpy()
    found = lines[[0, 0, 8], [0, -1, -1]]  # the first line keeps z1 = -2, the ninth z1 = 2
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(lines[9, 0], expected[0], atol=1e-6)  # the lines of the other way keep z2
    sixteen = Lab(grid=True).run
    z = sixteen._z_grid
    assert z.shape == (18 * 33, 16) and (z[:, 2:] == z[0, 2:]).all() and z[:, :2].abs().max() == 2
    assert len(shown(Lab(latent_dim=1, grid=True), "grid")) == 33 * 2
    assert Lab("digits", grid=True, arrows=True).frame["grid"] == b""


def test_what_is_not_shown_is_not_computed(monkeypatch):
    lab = Lab()
    monkeypatch.setattr(lab.run, "push", lambda fake: 1 / 0)
    lab.advance(2)
    assert lab.frame["arrows"] == lab.frame["grid"] == b""
    assert "two numbers of z" in obey(lab, do="set", name="grid", value=True)["message"]
    assert lab.frame["grid"] and len(lab.run.frames()) == 2 and lab.status["settings"]["grid"] == "True"
    obey(lab, do="set", name="grid", value=False)
    assert lab.frame["grid"] == b"" and lab.status["message"] == ""
    assert "expected True or False" in obey(lab, do="set", name="grid", value="yes")["message"]
    monkeypatch.undo()
    obey(lab, do="set", name="arrows", value=True)
    obey(lab, do="reset")
    assert len(lab.frame["arrows"]) == 128 * 2 * 4  # switches outlive a run
    samples = torch.from_numpy(shown(lab, "samples").reshape(-1, 2)[:128].copy())
    np.testing.assert_allclose(
        shown(lab, "arrows").reshape(-1, 2), lab.run.push(samples), rtol=1e-4, atol=1e-7
    )


def test_a_move_says_what_it_did():
    lab = Lab(seed=2)
    before = lab.run.verdict()
    says = obey(lab, do="d_move", times=10)["message"]
    after = lab.run.verdict()
    assert lab.run.d_moves == 10 and lab.run.step == 0
    for name, label in (("d_loss", "d_loss"), ("real", "D(real)"), ("fake", "D(fake)")):
        assert f"{label} {before[name]:.3f} → {after[name]:.3f}" in says
    assert after["d_loss"] < before["d_loss"] and after["real"] > after["fake"]
    game, run = lab.run.game, lab.run
    real, fake = evaluate(run.D, run._real), evaluate(run.D, evaluate(run.G, run._z))
    assert after["d_loss"] == pytest.approx(game.objective.discriminator(real, fake).item(), rel=1e-5)
    assert after["real"] == pytest.approx(real.sigmoid().mean().item(), rel=1e-5)
    says = obey(lab, do="g_move")["message"]
    assert says.startswith("G moved: g_loss") and "D(fake)" in says and "D(real)" not in says
    assert "expected 1 or 10" in obey(lab, do="g_move", times=10**6)["message"] and lab.run.step == 1
    says = obey(Lab(objective="WGAN-GP", runs=2), do="d_move")["message"]
    assert "critic of real" in says and "without the penalty" in says and "mean of 2 seeds" in says


def test_the_axis_counts_the_moves_of_either_player():
    """In rounds; thirty moves of D alone are fifteen, so that they can be seen."""
    lab = Lab(k=2)
    lab.advance(3)
    obey(lab, do="d_move")
    obey(lab, do="g_move")
    assert shown(lab, "times").tolist() == [0, 3, 3.25, 3.75]


def test_a_change_while_a_run_goes_on_leaves_a_mark():
    lab = Lab()
    lab.advance(3)
    obey(lab, do="set", name="lr_d", value="0.002")
    lab.advance(2)
    obey(lab, do="set", name="k", value="2")
    assert lab.frame["marks"] == "3.0 lr D = 0.002\n5.0 k = 2"
    obey(lab, do="look", index=1)
    assert lab.frame["marks"] == "3.0 lr D = 0.002"
    obey(lab, do="reset")
    assert lab.frame["marks"] == ""


def test_looking_back_shows_the_very_frame():
    lab = Lab()
    lab.advance(5)
    fields = dict(lab.frame)
    lab.advance(5)
    obey(lab, do="look", index=1)
    kept = ("step", "samples", "pixels", "modes", "d_loss")
    assert lab.frame["step"] == 5 and all(lab.frame[name] == fields[name] for name in kept)
    obey(lab, do="g_move")  # acts on the present, and shows it
    assert lab.frame["step"] == 11
    obey(lab, do="look", index=10**9)
    assert lab.frame["step"] == 11


def test_history_is_bounded_and_covers_the_whole_run():
    run = Lab().run
    for _ in range(3 * HISTORY):
        run.step, run.time = run.step + 1, run.time + 1  # no training: only the keeping is looked at
        run.draw()
    steps = np.frombuffer(run.frame()["times"], "f4")
    assert len(steps) <= HISTORY + 1 and steps[0] == 0 and steps[-1] == run.step
    assert np.ptp(np.diff(steps[:-1])) == 0  # evenly spaced


def test_a_frame_holds_the_mean_losses_since_the_last_one_each_under_its_name():
    lab, run = Lab(seed=2), Lab(seed=2).run
    lab.advance(3)
    losses = [run.game(run.match) for _ in range(3)]
    for player, name in (("D", "d_loss"), ("G", "g_loss")):
        expected = np.mean([loss[player] for loss in losses])
        assert shown(lab, name)[-1] == pytest.approx(expected, rel=1e-5)
    assert math.isnan(shown(lab, "d_loss")[0])  # nothing was played before the first frame


def test_the_picture_is_d_s_belief_by_rows_from_the_bottom():
    """Blue, 255, where D believes: here on the right; and from the bottom, where it believes a little less."""
    run = Lab().run

    class Slope(nn.Module):
        def forward(self, x):
            return 3 * x[..., 0] + 0.5 * x[..., 1]

    run.D = Slope()
    run.draw()
    picture = np.frombuffer(run.frame()["pixels"], "u1").reshape(40, 40)
    assert (picture[:, -1] > 200).all() and (picture[:, 0] < 50).all()
    assert (np.diff(picture[:, 20].astype(int)) >= 0).all() and picture[-1, 20] > picture[0, 20]


@pytest.mark.parametrize("data", ["ring", "1-D normal"])
@pytest.mark.parametrize("runs", [1, 3])
def test_a_critics_surface_does_not_depend_on_its_scale_and_offset(data, runs):
    run = Lab(objective="WGAN-GP", data=data, runs=runs).run
    points = run._points.expand(*run.match.batch_shape[:-1], *run._points.shape)
    values = evaluate(run.D, points)
    assert torch.allclose(run._belief(values), run._belief(5 * values + 3), atol=0.01)
    assert run._belief(values).abs().max() <= 1.2 and run._belief(0 * values).abs().max() == 0


def test_seeds_at_once_are_the_runs_one_by_one():
    lab, alone = Lab(runs=3, seed=4), Lab(seed=5)
    lab.advance(20)
    alone.advance(20)
    together = evaluate(lab.run.G, *lab.run.match.fixed_latents(50))[1]
    torch.testing.assert_close(
        together, evaluate(alone.run.G, *alone.run.match.fixed_latents(50)), rtol=1e-3, atol=1e-4
    )
    assert (
        len(shown(lab, "modes")) == 3 * 2 and len(shown(alone, "modes")) == 2
    )  # of every run, in two frames


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"game": lambda match: {}}, "plays a Game"),
        ({"make_players": lambda shape, seed: {**dict(zip("GD", mlp_players(shape), strict=True)),
                                               "encoder": mlp_players(shape)[0]}}, "two players"),
        ({"data": Images(torch.zeros(9, 3, 8, 8), torch.zeros(9).long(), "a")}, "can show"),
        ({"data": mixture_1d([0.0]), "batch_size": 0}, "batch_size"),
    ],
)  # fmt: skip
def test_a_run_that_the_lab_cannot_show_is_refused(change, says):
    usual = {"data": ring(), "game": GAMES["hinge"], "make_players": mlp_players}
    with pytest.raises(ValueError, match=says):
        Run(**usual | change)


# ---- settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", DATASETS)
@pytest.mark.parametrize("objective", ["minimax", "unrolled", "WGAN", "WGAN-GP"])
def test_menu_entries_play(data, objective):
    lab = Lab(data=data, objective=objective)
    lab.advance(2)
    assert lab.frame["step"] == 2 and lab.frame["d_moves"] == 2 * GAMES[objective].n_critic
    assert np.isfinite([shown(lab, name)[-1] for name in ("d_loss", "g_loss")]).all()


@pytest.mark.parametrize("value", ["", "-1", "0", "2", "1e400", "nan", "abc", None, [], "0.0.1"])
@pytest.mark.parametrize("name", ["lr_g", "k"])
def test_nonsense_gets_a_message_and_the_run_goes_on(name, value):
    lab = Lab()
    lab.advance(3)
    if name == "k" and value == "2":
        value = "101"
    status = obey(lab, do="set", name=name, value=value)
    assert status["error"] and "expected a" in status["message"] and name in status["errors"]
    assert "The run goes on" in status["message"] and "Traceback" not in status["message"]
    lab.advance(1)
    assert lab.run.step == 4
    status = obey(lab, do="set", name=name, value="1")
    assert not status["errors"] and lab.settings[name] == 1


@pytest.mark.parametrize(("name", "value"), [("seed", "-1"), ("seed", "x"), ("data", "cats"), ("objective", ""),
                                             ("c", "0"), ("lambda_gp", "inf"), ("runs", "13")])  # fmt: skip
def test_other_nonsense_changes_nothing(name, value):
    lab = Lab()
    before = dict(lab.settings)
    assert "expected" in obey(lab, do="set", name=name, value=value)["message"] and lab.settings == before


def test_settings_reach_the_run():
    lab = Lab(activation="ReLU", lr_g=3e-3, lr_d=2e-3, k=2, seed=7, batch_size=32)
    adams = lab.run.match.optimisers
    assert {name: a.param_groups[0]["lr"] for name, a in adams.items()} == {"G": 3e-3, "D": 2e-3}
    assert all(a.param_groups[0]["betas"] == (0.5, 0.999) for a in adams.values())
    assert isinstance(lab.run.G.body[1], nn.ReLU) and isinstance(Lab().run.G.body[1], nn.Tanh)
    lab.advance(3)
    assert lab.frame["d_moves"] == 6 and lab.run.match.batch_size == 32
    obey(lab, do="set", name="lr_g", value="0.25")
    obey(lab, do="set", name="k", value="3")
    assert adams["G"].param_groups[0]["lr"] == 0.25 and lab.run.step == 3
    lab.advance(1)
    assert lab.frame["d_moves"] == 9 and lab.run.game.n_critic == 3  # one home for k
    assert "New run" in obey(lab, do="set", name="activation", value="tanh")["message"]
    assert isinstance(lab.run.G.body[1], nn.Tanh) and lab.run.step == 0


def test_a_games_own_number_is_shown_and_obeyed():
    lab = Lab(objective="WGAN", c=0.05)
    lab.advance(2)
    assert "c" not in lab.scene["hidden"] and {"unroll_steps", "lambda_gp"} <= set(lab.scene["hidden"])
    assert lab.settings["k"] == 5 and weights(lab.run.D).abs().max() <= 0.05
    assert "the run goes on" in obey(lab, do="set", name="c", value="0.02")["message"]
    lab.advance(1)
    assert weights(lab.run.D).abs().max() <= 0.02
    obey(lab, do="set", name="objective", value="WGAN-GP")
    assert lab.run.game.penalty.weight == DIALS["WGAN-GP"].default
    obey(lab, do="set", name="lambda_gp", value="7")
    assert lab.run.game.penalty.weight == 7.0
    obey(lab, do="set", name="objective", value="unrolled")
    obey(lab, do="set", name="unroll_steps", value="2")
    assert lab.run.game.unroll_steps == 2 and lab.settings["k"] == 1


def test_every_bad_number_is_explained_until_it_is_mended():
    lab = Lab()
    obey(lab, do="set", name="lr_d", value="-1")
    status = obey(lab, do="set", name="seed", value="x")
    assert status["error"] and len(status["message"].splitlines()) == 2
    status = obey(lab, do="set", name="k", value="3")
    assert "k, moves of D is now 3" in status["message"] and "seed: expected" in status["message"]
    obey(lab, do="set", name="lr_d", value="0.001")
    assert obey(lab, do="set", name="seed", value="0")["message"] == "" and not lab.status["error"]


def test_the_networks_are_as_they_are_set():
    lab = Lab(width=32, depth=3, latent_dim=2)
    sizes = [layer.in_features for layer in lab.run.G.body if isinstance(layer, nn.Linear)]
    assert sizes == [2, 32, 32, 32] and lab.run.G.latent_dim == 2
    assert "New run: numbers in z is now 5" in obey(lab, do="set", name="latent_dim", value="5")["message"]
    assert lab.run.G.latent_dim == 5 and lab.run.step == 0
    obey(lab, do="set", name="depth", value="1")
    assert [layer.in_features for layer in lab.run.D.body if isinstance(layer, nn.Linear)] == [2, 32]
    assert "expected a whole number from 1 to 6" in obey(lab, do="set", name="depth", value="7")["message"]
    obey(lab, do="set", name="data", value="digits")
    assert lab.settings["width"] == 128 and lab.run.G.body[0].out_features == 128


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_one_click(name):
    lab = Lab(seed=4, runs=2, lr_g=0.5, k=9, grid=True)
    obey(lab, do="set", name="k", value="no")
    obey(lab, do="set", name="lr_g", value="0.25")  # a broken setting does not outlive a preset
    status = obey(lab, do="preset", name=name)
    assert name in status["message"] and not status["errors"] and lab.run.step == 0
    chosen = PRESETS[name]
    assert all(lab.settings[each] == value for each, value in chosen.items())
    assert "lr_g" in chosen or lab.settings["lr_g"] == 1e-3
    assert (
        lab.settings["seed"] == 4
        and lab.settings["grid"]
        and lab.settings["runs"] == (1 if "data" in chosen else 2)
    )
    lab.advance(2)
    obey(lab, do="defaults")
    assert lab.settings["k"] == 9 and lab.settings["lr_g"] == 0.5 and lab.settings["data"] == "ring"


def test_presets_of_networks_that_are_not_the_players():
    lab = Lab(data="digits", players=mlp_players)
    assert (
        lab.scene["presets"] == [] and "expected one of" in obey(lab, do="preset", name="rotates")["message"]
    )
    assert "expected one of" in obey(Lab(), do="preset", name="no such")["message"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"objective": "unrolled", "unroll_steps": 3, "activation": "ReLU"}, {"data": "digits", "width": 64},
     {"data": "1-D mixture", "runs": 2, "batch_size": 32, "arrows": True}, {"objective": "WGAN", "k": 1, "c": 0.1}],
)  # fmt: skip
def test_the_copied_call_opens_the_same_lab(settings):
    lab = Lab(**settings)
    again = eval(lab.status["call"])
    assert again.settings == lab.settings and again._batch_size == lab._batch_size
    lab.advance(2)
    again.advance(2)
    assert torch.equal(players_of(lab), players_of(again))
    assert Lab().call() == 'Lab(data="ring", objective="non-saturating")'


def test_players_of_ones_own_are_not_concerned_by_the_activation():
    """In the lab of notebook 05 the activation "was now ReLU", and nothing had changed."""

    def players(shape, seed):
        return mlp_players(shape, hidden=(8,), seed=seed)

    lab = Lab(data="digits", players=players)
    assert "activation" in lab.scene["hidden"] and "runs" in lab.scene["hidden"]
    obey(lab, do="set", name="data", value="ring")
    lab.advance(1)
    assert lab.run.kind == "plane" and lab.run.G.body[0].out_features == 8


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_what_cannot_be_built_leaves_the_old_run(error, monkeypatch):
    """Players that fit no other data; a data file that is missing."""

    def players(shape, seed):
        if shape != (2,):
            raise error("no such thing")
        return mlp_players(shape, seed=seed)

    lab = Lab(players=players)
    lab.advance(2)
    before, run = dict(lab.settings), lab.run
    status = obey(lab, do="set", name="data", value="digits")
    assert "no such thing. The run goes on with ring" in status["message"] and "data" in status["errors"]
    assert lab.settings == before and lab.run is run
    obey(lab, do="frame")
    assert lab.run.step == 12


def test_reset_gives_the_same_run_again():
    lab = Lab(seed=9)
    lab.advance(20)
    first = players_of(lab)
    obey(lab, do="reset")
    assert lab.run.step == 0
    lab.advance(20)
    assert torch.equal(players_of(lab), first)


def test_drawn_points_are_the_data():
    lab = Lab(data=DRAWN)
    assert "Draw on the square" in lab.status["message"] and "smile" in lab.status["message"]
    lab = Lab()
    assert "Draw on the square" in obey(lab, do="set", name="data", value=DRAWN)["message"]
    status = obey(lab, do="points", points=[[1.0, 1.0], [-1.0, 0.5]])
    assert "2 drawn points" in status["message"] and lab.settings["data"] == DRAWN
    real = torch.tensor(lab.scene["real"]).view(-1, 2)
    nearest = torch.cdist(real, torch.tensor([[1.0, 1.0], [-1.0, 0.5]])).min(1).values
    assert nearest.max() < 0.5 and lab.scene["drawable"]
    lab.advance(2)
    for nonsense in ([], [[1.0]], [[float("nan"), 0.0]], [[0.0, 0.0]] * 2001):
        assert "expected" in obey(lab, do="points", points=nonsense)["message"]
    assert lab.run.step == 2  # the run goes on


def test_bad_arguments():
    for wrong in (
        {"data": "cats"},
        {"lr_g": -1},
        {"k": 0},
        {"seed": 0.5},
        {"betas": (0, 1)},
        {"batch_size": 0},
    ):
        with pytest.raises(ValueError):
            Lab(**wrong)
    with pytest.raises(ValueError, match="event loop"):
        Lab().play()


# ---- play, pause, and what goes wrong ----------------------------------------------------------------------------


def live(scenario):
    """Run an async function as a notebook would, within a minute."""
    return asyncio.run(asyncio.wait_for(scenario(), 60))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_a_run_played_live_is_the_run_played_at_once():
    async def scenario():
        lab = Lab(seed=5)
        obey(lab, do="play")
        await until(lambda: lab.run.step >= 40)
        obey(lab, do="pause")
        await until(lambda: lab._task.done())
        return lab

    lab, other = live(scenario), Lab(seed=5)
    other.advance(lab.run.step)
    assert torch.equal(players_of(lab), players_of(other))


def test_pausing_trains_and_draws_nothing_more(monkeypatch):
    """GAN Lab trains one more iteration on pause. A pause that comes between two frames stops before the next."""
    rounds, frames = [], []

    async def scenario():
        lab = Lab()
        monkeypatch.setattr(
            widgets.Run, "round", lambda run: (rounds.append(1), setattr(run, "step", run.step + 1))
        )
        monkeypatch.setattr(lab, "_draw", lambda: frames.append(1))
        obey(lab, do="play")
        await until(lambda: len(frames) >= 2)
        counted = len(rounds), len(frames)
        lab.pause()
        await until(lambda: lab._task.done())
        assert (len(rounds), len(frames)) == counted and lab.status["playing"] is False

    live(scenario)


def test_ten_rounds_are_ten_and_can_be_paused():
    async def scenario():
        lab = Lab()
        obey(lab, do="frame")
        await until(lambda: lab._task and lab._task.done())
        assert lab.run.step == 10 and lab.frame["step"] == 10
        slow = lab.run.game
        lab.run.game = dataclasses.replace(slow, n_critic=100)
        obey(lab, do="frame")
        await until(lambda: lab.run.step > 10)
        obey(lab, do="pause")
        await until(lambda: lab._task.done())
        assert 10 < lab.run.step < 20

    live(scenario)


def test_nobody_watching_stops_the_pictures_and_then_the_run():
    async def scenario():
        lab = Lab()
        obey(lab, do="hello")
        obey(lab, do="hello")  # a second view
        obey(lab, do="play")
        await until(lambda: lab.run.step >= 10)
        lab._seen = lab._sent - UNSEEN_FRAMES  # as if the browser had fallen behind
        sent, step = lab._sent, lab.run.step
        await until(lambda: lab.run.step >= step + 50)
        assert lab._sent == sent  # trained on, sent nothing: no queue can build up
        obey(lab, do="seen", frame=1e300)  # a nonsense answer does not open the gates for ever
        obey(lab, do="seen", frame=10**9)
        await until(lambda: lab._seen > sent - UNSEEN_FRAMES)
        assert lab._seen <= lab._sent
        obey(lab, do="bye")
        await asyncio.sleep(0.05)
        assert lab.playing  # one view is left
        obey(lab, do="bye")
        await until(lambda: not lab.playing)

    live(scenario)


def test_single_moves_move_one_player():
    lab = Lab()
    G, D = weights(lab.run.G), weights(lab.run.D)
    obey(lab, do="d_move")
    assert torch.equal(weights(lab.run.G), G) and not torch.equal(weights(lab.run.D), D)
    D = weights(lab.run.D)
    obey(lab, do="g_move")
    assert not torch.equal(weights(lab.run.G), G) and torch.equal(weights(lab.run.D), D)
    assert (lab.frame["step"], lab.frame["d_moves"]) == (1, 1)


def test_a_diverged_run_says_so_and_keeps_its_frames():
    lab = Lab()
    lab.advance(5)
    with torch.no_grad():
        next(lab.run.D.parameters()).fill_(torch.nan)
    status = obey(lab, do="frame")
    assert status["error"] and "not finite" in status["message"] and len(lab.run.frames()) == 2


def test_an_unexpected_error_is_shown(monkeypatch):
    lab = Lab()
    monkeypatch.setattr(lab.run, "g_move", lambda: 1 / 0)
    assert "ZeroDivisionError" in obey(lab, do="g_move")["message"]


def test_two_labs_do_not_disturb_each_other():
    one, two, alone = Lab(seed=1), Lab(seed=2), Lab(seed=1)
    for _ in range(5):
        one.advance(2)
        two.advance(2)
    alone.advance(10)
    assert torch.equal(players_of(one), players_of(alone))
    assert isinstance(one.run.G, MLPGenerator)


def test_every_press_is_answered_even_if_it_changes_nothing(monkeypatch):
    lab, heard = Lab(), []
    monkeypatch.setattr(lab, "send", lambda content: heard.append(content["heard"]))
    for message in ({"do": "pause"}, {"do": "set", "name": "k", "value": "1"}, {"do": "seen", "frame": 1}):
        obey(lab, **message)
    assert heard == ["pause", "set"]

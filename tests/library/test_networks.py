"""The players: shapes, ranges, and weights that a seed fixes."""

from functools import partial

import pytest
import torch
from helpers import rng
from torch import nn

from ganlib.networks import dcgan_players, mlp, mlp_players, rowwise

SHAPES = [(1,), (2,), (1, 28, 28)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 5])
def test_shapes(shape, n):
    G, D = mlp_players(shape, latent_dim=4, hidden=(8,))
    samples = G(torch.randn(n, 4, generator=rng()))
    assert samples.shape == (n, *shape)
    assert D(samples).shape == (n,)


def test_images_lie_in_minus_one_to_one_and_points_anywhere():
    z = 100 * torch.randn(50, 16, generator=rng())
    assert mlp_players((1, 28, 28))[0](z).abs().max() <= 1
    assert mlp_players((2,))[0](z).abs().max() > 1


def test_discriminator_returns_logits():
    """Both signs and beyond 1: no sigmoid at the end."""
    _, D = mlp_players((2,))
    logits = D(100 * torch.randn(500, 2, generator=rng()))
    assert logits.min() < -1 and logits.max() > 1


def test_mlp_has_no_activation_after_the_last_layer():
    layers = list(mlp([3, 5, 7, 2], nn.Tanh))
    assert [type(layer) for layer in layers] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert [layer.out_features for layer in layers[::2]] == [5, 7, 2]


def test_hidden_sizes_and_activation_are_used():
    for player in mlp_players((2,), latent_dim=3, hidden=(10, 11, 12), activation=nn.Tanh):
        assert [layer.out_features for layer in player.body if isinstance(layer, nn.Linear)][:-1] == [
            10,
            11,
            12,
        ]
        assert sum(isinstance(layer, nn.Tanh) for layer in player.body) == 3


@pytest.mark.parametrize("make", [partial(mlp_players, (2,)), partial(dcgan_players, width=4)])
def test_the_seed_fixes_the_weights_and_nothing_else(make):
    def weights(seed):
        return torch.cat([p.flatten() for player in make(seed=seed) for p in player.state_dict().values()])

    before = torch.get_rng_state()
    first = weights(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(weights(1), first)
    assert not torch.equal(weights(2), first)


def test_what_is_given_with_a_sample_reaches_both_players():
    G, D = mlp_players((2,), n_given=3)
    z, x = torch.randn(4, 16, generator=rng(0)), torch.randn(4, 2, generator=rng(1))
    one, other = torch.eye(3)[:1].expand(4, 3), torch.eye(3)[1:2].expand(4, 3)
    assert not torch.equal(G(z, one), G(z, other)) and not torch.equal(D(x, one), D(x, other))


def test_batch_norm_and_modules_of_ones_own_are_not_known_to_be_rowwise():
    class Own(nn.Sequential):
        pass

    assert all(map(rowwise, mlp_players((1, 28, 28)))) and not any(map(rowwise, dcgan_players(width=4)))
    assert not rowwise(nn.BatchNorm1d(2)) and not rowwise(Own(nn.Linear(2, 2)))
    Own.rowwise = True
    assert rowwise(Own(nn.Linear(2, 2)))

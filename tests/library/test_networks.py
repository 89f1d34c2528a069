"""The players: shapes, ranges, and weights that a seed fixes."""

from functools import partial

import pytest
import torch
from torch import nn

from ganlib.networks import dcgan_players, mlp, mlp_players

SHAPES = [(1,), (2,), (1, 28, 28)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 5])
def test_shapes(shape, n):
    G, D = mlp_players(shape, latent_dim=4, hidden=(8,))
    samples = G(torch.randn(n, 4, generator=torch.Generator().manual_seed(0)))
    assert samples.shape == (n, *shape)
    assert D(samples).shape == (n,)


def test_images_lie_in_minus_one_to_one_and_points_anywhere():
    z = 100 * torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    assert mlp_players((1, 28, 28))[0](z).abs().max() <= 1
    assert mlp_players((2,))[0](z).abs().max() > 1


def test_discriminator_returns_logits():
    """Both signs and beyond 1: no sigmoid at the end."""
    _, D = mlp_players((2,))
    logits = D(100 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0)))
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

"""The DCGAN players, the classifier that judges images, and the networks that come trained."""

import math
import re

import pytest
import torch
from helpers import rng
from safetensors import safe_open
from torch import nn

from ganlib import pretrained
from ganlib.games import GAMES
from ganlib.images import DATA, IMAGES, halves
from ganlib.metrics import frechet_distance
from ganlib.networks import Classifier, DCDiscriminator, DCGenerator, dcgan_players, down, init_dcgan, up
from ganlib.training import Match, evaluate, train

SHAPES = [(1, 28, 28), (3, 16, 24)]


def layers(network, *kinds):
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


# ---- shapes and where batch norm stands ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape):
    G, D = dcgan_players(shape, latent_dim=6, width=4)
    images = G(torch.randn(5, 6, generator=rng()))
    assert images.shape == (5, *shape) and images.abs().max() <= 1
    assert D(images).shape == (5,)


def test_blocks_double_and_halve():
    assert up(4, 3)(torch.zeros(2, 4, 5, 7)).shape == (2, 3, 10, 14)
    assert down(4, 3)(torch.zeros(2, 4, 10, 14)).shape == (2, 3, 5, 7)


def test_batch_norm_follows_every_layer_but_the_last_of_g_and_both_ends_of_d():
    G, D = dcgan_players()
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    names = {nn.Linear: "linear", nn.Conv2d: "conv", nn.ConvTranspose2d: "up", nn.BatchNorm2d: "norm"}
    assert [names[type(layer)] for layer in layers(G, *kinds)] == ["linear", "norm", "up", "norm", "up"]
    assert [names[type(layer)] for layer in layers(D, *kinds)] == ["conv", "conv", "norm", "linear"]


def test_a_layer_before_batch_norm_has_no_bias():
    """It would be subtracted again with the mean."""
    G, D = dcgan_players()
    for player, biases in ((G, [False, False, True]), (D, [True, False, True])):
        found = layers(player, nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        assert [layer.bias is not None for layer in found] == biases


# ---- initial weights -------------------------------------------------------------------------------------------


def test_weights_are_drawn_with_deviation_0_02():
    """A sample deviation of n normal numbers has a standard error of sigma / sqrt(2 n)."""
    for player in dcgan_players(width=64):
        for layer in layers(player, nn.Linear, nn.Conv2d, nn.ConvTranspose2d):
            weight, n = layer.weight.detach(), layer.weight.numel()
            assert abs(weight.std() - 0.02) < 5 * 0.02 / math.sqrt(2 * n)
            assert abs(weight.mean()) < 5 * 0.02 / math.sqrt(n)
            assert layer.bias is None or not layer.bias.any()


def test_batchnorm_scale_starts_near_one():
    """d2l draws it from N(0, 0.02), so that every layer begins by all but closing."""
    for player in dcgan_players(width=64):
        for layer in layers(player, nn.BatchNorm2d):
            n = len(layer.weight)
            assert abs(layer.weight.mean() - 1) < 5 * 0.02 / math.sqrt(n)
            assert 0.01 < layer.weight.std() < 0.03
            assert not layer.bias.any()


def test_batchnorm_eps_is_small():
    """PyTorch-GAN passes 0.8 where eps stands: a channel of variance 1 would come out with 0.56."""
    for player in dcgan_players():
        for layer in layers(player, nn.BatchNorm2d):
            assert 0 < layer.eps <= 1e-4
            assert 0.05 <= layer.momentum <= 0.2  # the running averages look back over about ten moves


def test_init_works_in_place_on_any_network():
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    nn.init.ones_(network[0].bias)
    assert init_dcgan(network) is network
    assert network[0].weight.abs().max() < 0.2 and not network[0].bias.any()


def test_channels_last_is_the_same_network():
    G, D = dcgan_players(width=8)
    z = torch.randn(4, 32, generator=rng())
    images = G.eval()(z)
    assert layers(G, nn.ConvTranspose2d)[0].weight.is_contiguous(memory_format=torch.channels_last)
    plain_g, plain_d = DCGenerator(width=8).eval(), DCDiscriminator(width=8).eval()
    plain_g.load_state_dict(G.state_dict())
    plain_d.load_state_dict(D.state_dict())
    torch.testing.assert_close(plain_g(z), images, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(plain_d(images), D.eval()(images), rtol=1e-4, atol=1e-6)


# ---- what the players refuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(28, 28), (1, 28, 30), (1, 0, 28), (0, 28, 28), (1, 2, 28), (1, 28, 28, 1)]
)
def test_a_shape_that_cannot_be_built_is_refused(shape):
    with pytest.raises(ValueError, match="multiples of 4"):
        dcgan_players(shape)


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 28), (2, 3, 28, 28), (2, 1, 32, 32), (2, 784)])
def test_d_refuses_images_of_another_shape(shape):
    _, D = dcgan_players(width=2)
    with pytest.raises(ValueError, match=re.escape(f"expects images of shape (n, 1, 28, 28), got {shape}")):
        D(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(32,), (4, 31), (4, 32, 1, 1)])
def test_g_refuses_latents_of_another_shape(shape):
    G, _ = dcgan_players(width=2)
    with pytest.raises(ValueError, match=re.escape(f"expects latents of shape (n, 32), got {shape}")):
        G(torch.zeros(shape))


# ---- playing ---------------------------------------------------------------------------------------------------


def test_a_short_run_is_repeatable_and_leaves_no_statistics_behind():
    """Looking at a run happens in evaluation mode: the running averages of batch norm stay as they were."""
    data, settings = halves(IMAGES["digits"]())[0], {"batch_size": 8, "lr_g": 2e-3, "lr_d": 5e-4}

    def run(every):
        G, D = dcgan_players(width=4)
        shots = list(
            train(G, D, GAMES["non-saturating"], data, steps=4, every=every, n_samples=3, **settings)
        )
        return shots[-1], G.state_dict(), D.state_dict()

    (often, *states), (once, *others) = run(1), run(4)
    assert often.losses == once.losses and torch.equal(often.samples, once.samples)
    for one, other in zip(states, others, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_real_and_generated_pass_through_batch_norm_apart():
    """Together they would be normalised by shared statistics, and each verdict would lean on the other half."""
    G, D = dcgan_players(width=4)
    match, sizes = Match((G, D), IMAGES["digits"](), batch_size=8), []
    D.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    GAMES["non-saturating"].discriminator_move(match)
    assert sizes == [8, 8]


# ---- the networks that come trained ------------------------------------------------------------------------------


def stored(name):
    with safe_open(DATA / f"{name}.safetensors", framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize(("name", "needed"), [("fashion", 0.85), ("digits", 0.95)])
def test_the_classifier_is_as_good_as_its_file_says(name, needed):
    _, held_out = halves(IMAGES[name]())
    hits = evaluate(pretrained.classifier(name), held_out.images).argmax(dim=1) == held_out.labels
    accuracy = hits.double().mean().item()
    assert accuracy >= needed
    assert accuracy == pytest.approx(float(stored(f"{name}-classifier")["accuracy"]), abs=2 / len(held_out))


@pytest.mark.parametrize("name", IMAGES)
def test_the_generator_is_as_good_as_its_file_says(name):
    """And far nearer to images it never saw than an untrained one. Of twelve sets of latents none moved the score
    by more than a fifth."""
    features = pretrained.classifier(name).features
    real = evaluate(features, halves(IMAGES[name]())[1].images[::2])

    def score(G, seed):
        images = evaluate(G, torch.randn(len(real), 32, generator=rng(seed)))
        return frechet_distance(real, evaluate(features, images))

    expected = float(stored(f"{name}-generator")["frechet_distance"])
    assert score(pretrained.generator(name), seed=1) == pytest.approx(expected, rel=1e-3)
    assert score(pretrained.generator(name), seed=2) == pytest.approx(expected, rel=0.4)
    assert score(dcgan_players()[0], seed=1) > 10 * expected


def test_the_more_noise_on_real_images_the_farther_they_are():
    features, (one, two) = pretrained.classifier("digits").features, halves(halves(IMAGES["digits"]())[1])
    noise, real = torch.randn(two.images.shape, generator=rng()), evaluate(features, one.images)
    noisy = ((two.images + level * noise).clamp(-1, 1) for level in (0, 0.2, 0.4, 0.8))
    scores = [frechet_distance(real, evaluate(features, images)) for images in noisy]
    assert all(after > 2 * before for before, after in zip(scores[:-1], scores[1:], strict=True)), scores


@pytest.mark.parametrize("kind", ["classifier", "generator"])
def test_a_trained_network_comes_in_evaluation_mode_and_another_name_is_refused(kind):
    assert not any(layer.training for layer in getattr(pretrained, kind)("fashion").modules())
    with pytest.raises(ValueError, match="expected one of digits, fashion, got 'faces'"):
        getattr(pretrained, kind)("faces")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(4, 28, 28), r"expected images of shape \(n, 1, 28, 28\), got \(4, 28, 28\)"),
        (torch.zeros(4, 3, 28, 28), "expected images of shape"),
        (torch.zeros(0, 1, 28, 28), "expected images of shape"),
        (torch.full((4, 1, 28, 28), 255.0), r"from -1 \(black\) to 1 \(white\).*from 255 to 255"),
        (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), "expected floats.*torch.uint8"),
        (torch.full((4, 1, 28, 28), math.nan), "nan to nan"),
    ],
)
def test_the_classifier_refuses_what_is_no_set_of_images(images, said):
    judge = Classifier()
    for look in (judge, judge.features):
        with pytest.raises(ValueError, match=said):
            look(images)

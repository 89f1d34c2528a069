"""The DCGAN players, the networks that come trained, and the image score: what they are, and what they refuse."""

import math
import re

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ganlib import pretrained
from ganlib.games import GAMES
from ganlib.images import DATA, IMAGES, Images
from ganlib.networks import DCDiscriminator, DCGenerator, dcgan_players, down, init_dcgan, up
from ganlib.pretrained import Classifier, frechet_distance, halves, load_weights
from ganlib.training import Match, evaluate, train

SHAPES = [(1, 28, 28), (3, 16, 24)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


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
    assert often[:3] == once[:3] and torch.equal(often.samples, once.samples)
    for one, other in zip(states, others, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_generator_move_leaves_the_weights_of_d():
    G, D = dcgan_players(width=4)
    match = Match(G, D, GAMES["non-saturating"], IMAGES["digits"](), batch_size=8)
    before = [p.clone() for p in D.parameters()]
    match.generator_move()
    assert all(torch.equal(p, q) for p, q in zip(D.parameters(), before, strict=True))
    assert all(p.requires_grad for p in D.parameters())


def test_real_and_generated_pass_through_batch_norm_apart():
    """Together they would be normalised by shared statistics, and each verdict would lean on the other half."""
    G, D = dcgan_players(width=4)
    match = Match(G, D, GAMES["non-saturating"], IMAGES["digits"](), batch_size=8)
    sizes = []
    D.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    match.discriminator_move()
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
    real = halves(IMAGES[name]())[1].images[::2]
    G, judge = pretrained.generator(name), pretrained.classifier(name)

    def score(G, seed):
        return frechet_distance(real, evaluate(G, torch.randn(len(real), 32, generator=rng(seed))), judge)

    expected = float(stored(f"{name}-generator")["frechet_distance"])
    assert score(G, seed=1) == pytest.approx(expected, rel=1e-3)
    assert score(G, seed=2) == pytest.approx(expected, rel=0.4)
    assert score(dcgan_players()[0], seed=1) > 10 * expected


@pytest.mark.parametrize("kind", ["classifier", "generator"])
@pytest.mark.parametrize("name", IMAGES)
def test_a_trained_network_comes_in_evaluation_mode_and_in_a_small_file(name, kind):
    network = getattr(pretrained, kind)(name)
    assert not network.training
    limit = 1e6 if kind == "classifier" else 2e6
    assert (DATA / f"{name}-{kind}.safetensors").stat().st_size < limit


def test_the_readme_of_the_data_lists_their_checksums():
    import hashlib

    readme = (DATA / "README.md").read_text()
    for path in DATA.glob("*.safetensors"):
        assert f"`{path.name}`" in readme
        assert hashlib.sha256(path.read_bytes()).hexdigest() in readme


def test_halves_share_no_image_and_lose_none():
    rows = torch.arange(11.0).view(-1, 1, 1, 1)
    first, second = halves(Images(rows, torch.arange(11), "abcdefghijk"))
    assert first.images.flatten().tolist() == [0, 2, 4, 6, 8, 10] == first.labels.tolist()
    assert second.images.flatten().tolist() == [1, 3, 5, 7, 9] == second.labels.tolist()


# ---- files that cannot be used ---------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A file with the weights of a small G."""
    path = tmp_path / "g.safetensors"
    save_file({k: v.contiguous() for k, v in DCGenerator(width=4).state_dict().items()}, path)
    return path


def test_weights_come_back(saved):
    G = load_weights(DCGenerator(width=4), saved)
    again = load_weights(DCGenerator(width=4), str(saved))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in G.state_dict().items())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (
            lambda: DCGenerator(width=8),
            r"does not fit DCGenerator: body.0.weight should be of shape \(784, 32\)",
        ),
        (
            lambda: DCGenerator(width=4, latent_dim=16),
            r"\(392, 16\), and is of shape \(392, 32\) in the file",
        ),
        (lambda: DCDiscriminator(width=4), "does not fit DCDiscriminator"),
        (Classifier, "does not fit Classifier: features.0.weight .* is absent in the file"),
        (
            lambda: nn.ModuleDict({"body": DCGenerator(width=4).body[:1]}),
            r"body\.\d\.?\w*.* should be absent",
        ),
    ],
)
def test_weights_of_another_network_are_refused_and_it_stays_as_it_was(saved, network, said):
    network = network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=said):
        load_weights(network, saved)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"", lambda b: b"not weights" * 20])
def test_a_damaged_file_is_refused(saved, damage):
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ValueError, match="no safetensors file, or damaged"):
        load_weights(DCGenerator(width=4), saved)


def test_weights_that_are_not_finite_are_refused(saved):
    weights = {k: v.contiguous() for k, v in DCGenerator(width=4).state_dict().items()}
    weights["body.0.weight"][0, 0] = math.nan
    save_file(weights, saved)
    with pytest.raises(ValueError, match="not finite"):
        load_weights(DCGenerator(width=4), saved)


def test_a_missing_file_is_named_and_how_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors is missing. Save one there"):
        load_weights(DCGenerator(), tmp_path / "nowhere.safetensors")
    monkeypatch.setattr(pretrained, "DATA", tmp_path)
    for make in (pretrained.classifier, pretrained.generator):
        with pytest.raises(FileNotFoundError, match=r"git checkout -- data/digits-\w+.safetensors"):
            make("digits", tmp_path)


def test_another_name_is_refused():
    for make in (pretrained.classifier, pretrained.generator):
        with pytest.raises(ValueError, match="expected one of digits, fashion, got 'faces'"):
            make("faces")


# ---- the image score ---------------------------------------------------------------------------------------------


class Linear(Classifier):
    """Its features are a fixed linear map of the pixels, so Gaussian pixels give Gaussian features."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(784, 64))
        self.features.num_features = 64


def pictures(n, mean, deviation, seed):
    return (mean + deviation * torch.randn(n, 1, 28, 28, generator=rng(seed))).clamp(-1, 1)


def test_it_is_the_distance_of_the_two_gaussians_with_these_moments():
    """The oracle takes the square root of the matrix product itself, in double precision."""
    judge, one, two = Linear(), pictures(300, 0.1, 0.2, 1), pictures(300, -0.1, 0.3, 2)
    with torch.no_grad():
        a, b = (judge.features(x).double().numpy() for x in (one, two))
    covariances = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sum(covariances) - 2 * root)
    assert frechet_distance(one, two, judge) == pytest.approx(expected, rel=1e-4)


def test_it_is_zero_for_equal_sets_symmetric_and_does_not_look_at_the_order():
    judge, one, two = Linear(), pictures(200, 0.1, 0.2, 1), pictures(200, -0.1, 0.3, 2)
    assert frechet_distance(one, one.flip(0), judge) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(one, two, judge) == pytest.approx(frechet_distance(two, one, judge), rel=1e-4)


def test_the_more_noise_on_real_images_the_larger_it_is():
    judge, (one, two) = pretrained.classifier("digits"), halves(halves(IMAGES["digits"]())[1])
    noise = torch.randn(two.images.shape, generator=rng())
    scores = [
        frechet_distance(one.images, (two.images + level * noise).clamp(-1, 1), judge)
        for level in (0, 0.2, 0.4, 0.8)
    ]
    assert all(after > 2 * before for before, after in zip(scores[:-1], scores[1:], strict=True)), scores


def test_a_classifier_in_training_mode_is_judged_with_as_it_is_in_evaluation():
    judge, one, two = Classifier(), pictures(200, 0.1, 0.2, 1), pictures(200, -0.1, 0.3, 2)
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    assert frechet_distance(one, two, judge) == frechet_distance(one, two, judge.eval())
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        (torch.zeros(100, 28, 28), r"expected images of shape \(n, 1, 28, 28\), got \(100, 28, 28\)"),
        (torch.zeros(100, 3, 28, 28), "expected images of shape"),
        (torch.full((100, 1, 28, 28), 255.0), r"from -1 \(black\) to 1 \(white\).*from 255 to 255"),
        (torch.zeros(100, 1, 28, 28, dtype=torch.uint8), "expected floats.*torch.uint8"),
        (torch.full((100, 1, 28, 28), math.nan), "nan to nan"),
        (torch.zeros(64, 1, 28, 28), "expected at least 65 images in each set, got 64"),
    ],
)
def test_what_is_no_set_of_images_is_refused(fake, said):
    real = pictures(100, 0, 0.1, 0)
    with pytest.raises(ValueError, match=said):
        frechet_distance(real, fake, Classifier())
    with pytest.raises(ValueError, match=said):
        frechet_distance(fake, real, Classifier())

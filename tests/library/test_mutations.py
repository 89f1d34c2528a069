"""Bugs put into a copy of ganlib on purpose, and the tests that must notice each.

A row of MUTATIONS is a module, a text in it, the text that a bug would have instead, and the tests. PyTorch is loaded
once: `python test_mutations.py FOLDER` imports it and then forks a process for each mutation (so not on Windows), which
runs its tests on the mutated copy in FOLDER and says whether one failed. Before that all these tests must pass on the
copy as it is.
"""

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AT_MOST = 60  # seconds of computing for one mutation's tests: one that hangs counts as unnoticed

MUTATIONS = [
    # The bugs of published code that have a test of ours by name.
    ("distributions", "torch.arange(n_modes) * (2 * math.pi / n_modes)", "torch.linspace(0, 2 * math.pi, n_modes)",
     "test_distributions.py::test_ring_has_eight_distinct_modes"),
    ("objectives", '"minimax", cross_entropy, lambda fake_logits: -softplus(fake_logits)',
     '"minimax", cross_entropy, lambda fake_logits: softplus(-fake_logits)',
     "test_objectives.py::test_minimax_is_not_non_saturating"),
    ("penalties", "gradient.flatten(logits.dim()).norm(dim=-1)", "gradient.norm()[None]",
     "test_penalties.py::test_penalty_of_a_1_lipschitz_critic_is_zero_for_any_batch"),
    ("penalties", "eps * real + (1 - eps) * fake", "real", "test_penalties.py::test_penalty_depends_on_fakes"),
    ("penalties", "eps = torch.rand(", "eps = torch.randn(",
     "test_penalties.py::test_interpolates_lie_between_real_and_fake"),
    ("penalties", "torch.rand(len(real), *[1] * (real.ndim - 1)", "torch.rand(real.shape",
     "test_penalties.py::test_interpolates_lie_between_real_and_fake"),
    ("unrolling", "create_graph=True)  # itself", "create_graph=False)  # itself",
     "test_unrolling.py::test_unrolled_gradient_has_its_second_term"),
    ("objectives", "softplus(-real_logits).mean(-1) + softplus(fake_logits).mean(-1)",
     "-(real_logits.sigmoid() + 1e-8).log().mean(-1) - (1 - fake_logits.sigmoid() + 1e-8).log().mean(-1)",
     "test_objectives.py::test_cross_entropy_is_binary_cross_entropy"),
    ("objectives", '"non-saturating", cross_entropy, lambda fake_logits: softplus(-fake_logits)',
     '"non-saturating", cross_entropy, lambda fake_logits: -(fake_logits.sigmoid() + 1e-8).log()',
     "test_objectives.py::test_gradient_survives_confident_rejection"),
    ("networks", "1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0", "0.0",
     "test_dcgan.py::test_batchnorm_scale_starts_near_one"),
    ("training", "z = self._over_runs(streams, lambda rng: self._z(n, rng))",
     "z = self._over_runs(self.rngs, lambda rng: self._z(n, rng))",
     "test_training.py::test_watching_does_not_change_training"),
    ("training", 'evaluate(match.players["G"], *fixed)', 'evaluate(match.players["G"], match.draw_latents())',
     "test_training.py::test_watching_does_not_change_training"),
    ("training", "return network.eval()(*inputs)", "return network(*inputs)",
     "test_training.py::test_evaluate_leaves_the_network_as_it_was"),
    ("games", "            loss = loss + self.penalty.at(lambda x: D(x, *given), points)\n",
     "            self.penalty.at(lambda x: D(x, *given), points)\n",
     "test_games.py::test_the_penalised_loss_is_the_one_descended"),
    # Objectives.
    ("objectives", '"hinge", hinge, lambda fake_logits: -fake_logits.mean(-1)',
     '"hinge", hinge, lambda fake_logits: relu(1 - fake_logits).mean(-1)',
     "test_objectives.py::test_generators_hinge_has_no_margin"),
    ("objectives", "return 0.5 * ((real_logits", "return 1.0 * ((real_logits",
     "test_objectives.py::test_optimal_least_squares_is_twice_the_harmonic_overlap"),
    ("objectives", "lambda fake_logits: 0.5 * fake_logits.square()", "lambda fake_logits: fake_logits.square()",
     "test_objectives.py::test_generators_least_squares_cost_is_a_pearson_chi_squared"),
    ("objectives", "relu(1 + fake_logits)", "relu(1 - fake_logits)", "test_objectives.py"),
    ("objectives", "fake_logits.mean(-1) - real_logits.mean(-1)", "real_logits.mean(-1) - fake_logits.mean(-1)",
     "test_objectives.py"),
    ("objectives", "softplus(fake_logits).mean(-1)\n", "softplus(fake_logits).sum(-1)\n",
     "test_objectives.py::test_losses_are_means_over_the_batch"),
    # Penalties and constraints.
    ("penalties", "(slopes - 1).square())\n\n\ndef dragan", "(slopes - 1).relu().square())\n\n\ndef dragan",
     "test_penalties.py::test_a_penalty_is_that_of_a_loop_over_samples"),
    ("penalties", "gamma / 2, lambda", "gamma, lambda", "test_penalties.py"),
    ("penalties", "real + spread * torch.randn(", "real + spread * torch.rand(",
     "test_penalties.py::test_dragan_looks_around_the_data"),
    ("penalties", "weights.clamp_(-c, c)", "weights.mul_(c)", "test_penalties.py"),
    # Moves and matches.
    ("games", "range(self.n_critic)", "range(1)", "test_games.py::test_a_round_is_n_critic_moves_of_d_and_one_of_g"),
    ("games", "        if self.constrain:\n            self.constrain(match.D)\n", "",
     "test_games.py::test_the_constraint_holds_after_every_discriminator_move"),
    ("games", "opponent = self._look_ahead(match, fake, given)", 
     "opponent = self._look_ahead(match, fake.detach(), given)",
     "test_unrolling.py::test_the_generator_descends_the_unrolled_loss"),
    ("games", "if self.unroll_steps else match.D", "if False else match.D",
     "test_unrolling.py::test_the_generator_descends_the_unrolled_loss"),
    ("training", "for optimiser in optimisers:\n            optimiser.zero_grad()", 
     "for optimiser in ():\n            pass", "test_training.py::test_watching_does_not_change_training"),
    ("training", "loss.sum().backward(inputs=weights)", "loss.sum().backward()",
     "test_training.py::test_descend_is_a_step_of_the_named_player_and_of_nobody_else"),
    ("training", "            layer.training = mode", "            layer.training = True",
     "test_training.py::test_evaluate_leaves_the_network_as_it_was"),
    ("training", "step % every == 0 or step == steps", "step % every == 0",
     "test_training.py::test_snapshots_come_every_so_often_and_at_the_end"),
    ("training", "manual_seed(seed + offset)", "manual_seed(offset)",
     "test_training.py::test_same_seed_same_losses_bitwise"),
    # Looking ahead.
    ("unrolling", "value=-lr / (1 - beta1**t)", "value=-lr",
     "test_unrolling.py::test_it_looks_ahead_as_adam_would_move"),
    ("unrolling", "v = torch.lerp(v, gradient.square(), 1 - beta2)", 
     "v = torch.lerp(v, gradient.detach().square(), 1 - beta2)",
     "test_unrolling.py::test_gradient_is_the_finite_difference"),
    ("unrolling", "(v + tiny).sqrt()", "v.sqrt()", "test_unrolling.py::test_a_dead_unit_does_not_spoil_the_gradient"),
    ("unrolling", 't = int(states[0].get("step", 0))', "t = 0",
     "test_unrolling.py::test_it_looks_ahead_as_adam_would_move"),
    # Numbers.
    ("metrics", "mixture.means.to(samples)) / mixture.sigmas.to(samples)\n    return distances.min(dim=1)",
     "mixture.means.to(samples))\n    near = distances.min(dim=1)\n"
     "    return near.values / mixture.sigmas.to(samples)[near.indices], near.indices",
     "test_metrics.py::test_distances_are_in_units_of_each_modes_own_sigma"),
    ("metrics", "mode[distance <= within]", "mode", "test_metrics.py::test_samples_between_the_modes_cover_nothing"),
    ("metrics", "(a + b) / 2)) / 2\n", "(a + b) / 2))\n", "test_metrics.py::test_jsd_of_overlapping_uniforms"),
    ("distributions", "self.sigmas.to(rng.device)[which, None] * noise", "self.sigmas.to(rng.device)[0] * noise",
     "test_distributions.py::test_mixture_moments"),
    # Many at once.
    ("batched", "vmap(lambda state, *x: functional_call(self.network, state, x))(state, *inputs)",
     "functional_call(self.network, {k: v[0] for k, v in state.items()}, inputs)", "test_batched.py"),
]  # fmt: skip
NAMES = [
    f"{module}: {new.strip().splitlines()[0] if new.strip() else 'without ' + old.strip()}"[:70]
    for module, old, new, _ in MUTATIONS
]


def failing(folder: Path, tests: list[str]) -> int:
    """pytest's exit status for `tests`, in a forked process where ganlib is the one in `folder`; -1 if it hangs."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 99
    try:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, AT_MOST)
        sys.path.insert(0, str(folder))
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            options = ["-x", "-q", "-o", "addopts=", "-p", "no:cacheprovider", f"--rootdir={ROOT}", "--tb=no"]
            status = int(pytest.main([*options, *tests]))
        if not Path(sys.modules["ganlib"].__file__).is_relative_to(folder):
            status = 98
    finally:
        os._exit(status)


def run_all(folder: Path) -> list[int]:
    """Exit statuses: first of all tests on an unchanged copy, then of each mutation."""
    for slow in ("scipy.optimize", "scipy.stats", "scipy.integrate", "joblib", "torch._dynamo"):
        importlib.import_module(slow)  # once for all of them

    shutil.copytree(ROOT / "ganlib", folder / "ganlib", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data").symlink_to(ROOT / "data")
    paths = [[f"{ROOT / 'tests' / 'library' / test}" for test in tests.split()] for *_, tests in MUTATIONS]
    statuses = [failing(folder, sorted({test for tests in paths for test in tests}))]
    for (module, old, new, _), tests in zip(MUTATIONS, paths, strict=True):
        file = folder / "ganlib" / f"{module}.py"
        source = file.read_text(encoding="utf-8")
        if source.count(old) != 1:
            statuses.append(97)
            continue
        file.write_text(source.replace(old, new), encoding="utf-8")
        statuses.append(failing(folder, tests))
        file.write_text(source, encoding="utf-8")
    return statuses


@pytest.fixture(scope="module")
def statuses(tmp_path_factory) -> list[int]:
    if not hasattr(os, "fork"):
        pytest.skip("needs a system that can fork")
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # half a second each
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path_factory.mktemp("mutations"))],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_without_a_mutation_these_tests_pass(statuses):
    assert statuses[0] == pytest.ExitCode.OK


@pytest.mark.parametrize("number", range(len(MUTATIONS)), ids=NAMES)
def test_is_noticed(statuses, number):
    module, old, *_ = MUTATIONS[number]
    assert statuses[1 + number] != 97, f"ganlib/{module}.py should hold once: {old}"
    assert statuses[1 + number] == pytest.ExitCode.TESTS_FAILED


if __name__ == "__main__":
    print(json.dumps(run_all(Path(sys.argv[1]))))

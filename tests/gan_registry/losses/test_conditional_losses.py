"""The losses of discriminators that score classes: multi-class hinge and auxiliary classifiers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_registry.backbones.base import realness
from gan_registry.losses.conditional import AuxiliaryClassifier, classification_terms
from gan_registry.losses.hinge import Hinge
from gan_registry.losses.multi_hinge import MultiHinge, class_margin, class_scores


def scores_and_labels(count: int = 40, classes: int = 5) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(count, classes + 1, generator=rng, dtype=torch.float64)
    return scores, torch.randint(classes, (count,), generator=rng)


def crammer_singer(row: np.ndarray, target: int) -> float:
    wrong = max(score for k, score in enumerate(row) if k != target)
    return max(0.0, 1.0 - row[target] + wrong)


def test_multi_hinge_terms_sample_by_sample():
    scores, y = scores_and_labels()
    loss = MultiHinge(realness, mh_lambda=0.05)
    rows, labels = scores.numpy(), y.tolist()
    real = [crammer_singer(row, label) for row, label in zip(rows, labels, strict=True)]
    fake = [crammer_singer(row, 5) for row in rows]  # the last class is "generated"
    np.testing.assert_allclose(loss.real_terms(scores, y), real)
    np.testing.assert_allclose(loss.fake_terms(scores, y), fake)
    np.testing.assert_allclose(loss.fake_terms(scores), fake)
    np.testing.assert_allclose(loss.generator_terms(scores, y), 0.05 * np.array(real))
    np.testing.assert_allclose(MultiHinge(realness).generator_terms(scores, y), real)
    margins = [row[label] - row[5] for row, label in zip(rows, labels, strict=True)]
    np.testing.assert_allclose(loss.log_density_ratio(scores, y), margins)
    best = rows[:, :5].max(1) - rows[:, 5]
    np.testing.assert_allclose(loss.log_density_ratio(scores), best)
    np.testing.assert_allclose(loss.logits(scores), best)
    assert not loss.is_density_ratio
    assert any(real)
    assert not all(real)


def test_with_one_class_multi_hinge_is_the_hinge_loss_on_its_margin():
    scores, y = scores_and_labels(classes=1)
    margin = scores[:, 0] - scores[:, 1]
    multi, hinge = MultiHinge(realness), Hinge(realness)
    torch.testing.assert_close(multi.real_terms(scores, y), hinge.real_terms(margin))
    torch.testing.assert_close(multi.fake_terms(scores, y), hinge.fake_terms(margin))
    torch.testing.assert_close(multi.log_density_ratio(scores, y), margin)


def test_a_trained_multi_hinge_discriminator_tells_classes_and_generated_samples_apart():
    # Classes 0 and 1 lie at -3 and 3, generated samples (of class 0) at 0.
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    real = (6.0 * y - 3.0) + 0.3 * torch.randn(200, generator=rng)
    fake = 0.3 * torch.randn(200, generator=rng)
    weights = torch.zeros(3, 3, requires_grad=True)

    def discriminate(x: Tensor) -> Tensor:
        return torch.stack([torch.ones_like(x), x, x.square()], 1) @ weights

    loss = MultiHinge(realness)
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        out = discriminate(real), discriminate(fake)
        (loss.real_terms(out[0], y).mean() + loss.fake_terms(out[1]).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        assert loss.real_terms(discriminate(real), y).mean() < 0.05
        assert (loss.log_density_ratio(discriminate(real), y) > 0).float().mean() > 0.98
        assert (loss.log_density_ratio(discriminate(fake), torch.zeros_like(y)) < 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", ["real_terms", "fake_terms", "generator_terms", "logits"])
def test_multi_hinge_in_half_precision_and_in_every_container(method, dtype):
    scores, y = scores_and_labels()
    half = scores.to(dtype).requires_grad_()
    loss = MultiHinge(realness)
    arguments = () if method == "logits" else (y,)
    terms = getattr(loss, method)(half, *arguments)
    assert terms.dtype == torch.float32
    expected = getattr(loss, method)(half.detach().float(), *arguments)
    torch.testing.assert_close(terms, expected, rtol=0, atol=0)
    terms.sum().backward()
    assert torch.isfinite(half.grad).all()
    for out in ((half, None), [half], {"adv_output": half, "h": None}):
        torch.testing.assert_close(getattr(loss, method)(out, *arguments), expected)
    empty = tuple(labels[:0] for labels in arguments)
    assert getattr(loss, method)(half[:0], *empty).shape == (0,)
    single = tuple(labels[3:4] for labels in arguments)
    torch.testing.assert_close(getattr(loss, method)(half[3:4], *single), expected[3:4])


def test_multi_hinge_keeps_nan_in_its_sample_and_refuses_what_it_cannot_read():
    scores, y = scores_and_labels(count=3)
    loss = MultiHinge(realness)
    for column in (0, 5):
        broken = scores.clone()
        broken[1, column] = float("nan")
        for terms in (
            loss.real_terms(broken, torch.full((3,), column % 5)),
            loss.fake_terms(broken),
            loss.generator_terms(broken, y),
        ):
            assert terms.isnan().tolist() == [False, True, False]
    with pytest.raises(ValueError, match="labels"):
        loss.real_terms(scores)
    with pytest.raises(ValueError, match="labels"):
        loss.generator_terms(scores)
    for out in (torch.zeros(4), torch.zeros(4, 1), {"other": scores}, None, ()):
        with pytest.raises(ValueError, match="num_classes \\+ 1"):
            class_scores(out)


def test_the_margin_has_one_reading_with_labels_and_one_without():
    scores = torch.tensor([[3.0, 1.0, 2.0]])
    assert class_margin(scores).tolist() == [1.0]
    assert class_margin(scores, torch.tensor([1])).tolist() == [-1.0]


def cross_entropy(logits: np.ndarray, labels: list[int]) -> np.ndarray:
    log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -log_softmax[np.arange(len(labels)), labels]


def classifier_output(classes: int) -> tuple[dict[str, Tensor | None], Tensor]:
    rng = torch.Generator().manual_seed(1)
    out: dict[str, Tensor | None] = {
        "adv_output": torch.zeros(12),
        "cls_output": torch.randn(12, classes, generator=rng, dtype=torch.float64),
        "mi_cls_output": torch.randn(12, classes, generator=rng, dtype=torch.float64),
        "embed": None,
    }
    return out, torch.randint(classes // 2, (12,), generator=rng)


def test_the_auxiliary_classifier_is_trained_on_real_samples_alone():
    out, y = classifier_output(6)
    classifier = AuxiliaryClassifier(cond_lambda=0.5)
    expected = 0.5 * cross_entropy(out["cls_output"].numpy(), y.tolist())
    np.testing.assert_allclose(classifier.real_terms(out, y), expected)
    np.testing.assert_allclose(classifier.generator_terms(out, y), expected)
    assert classifier.fake_terms(out, y) is None


def test_the_twin_is_trained_by_d_on_generated_samples_and_confused_by_g():
    out, y = classifier_output(6)
    classifier = AuxiliaryClassifier(0.5, "TAC", tac_dis_lambda=2.0, tac_gen_lambda=0.25)
    own = cross_entropy(out["cls_output"].numpy(), y.tolist())
    twin = cross_entropy(out["mi_cls_output"].numpy(), y.tolist())
    np.testing.assert_allclose(classifier.real_terms(out, y), 0.5 * own)
    np.testing.assert_allclose(classifier.fake_terms(out, y), 2.0 * twin)
    np.testing.assert_allclose(classifier.generator_terms(out, y), 0.5 * own - 0.25 * twin)


def test_the_discriminative_classifier_knows_real_and_generated_samples_of_each_class():
    out, y = classifier_output(6)  # three classes, each twice
    classifier = AuxiliaryClassifier(0.5, "ADC")
    logits = out["cls_output"].numpy()
    as_real = cross_entropy(logits, [2 * label for label in y.tolist()])
    as_fake = cross_entropy(logits, [2 * label + 1 for label in y.tolist()])
    np.testing.assert_allclose(classifier.real_terms(out, y), 0.5 * as_real)
    np.testing.assert_allclose(classifier.fake_terms(out, y), 0.5 * as_fake)
    np.testing.assert_allclose(classifier.generator_terms(out, y), 0.5 * (as_real - as_fake))


def test_classification_in_half_precision_and_its_mistakes():
    logits = torch.tensor([[300.0, 0.0], [0.0, 300.0]], dtype=torch.float16)
    terms = classification_terms({"cls_output": logits}, torch.tensor([0, 0]))
    assert terms.dtype == torch.float32
    assert terms.tolist() == [0.0, 300.0]
    empty = classification_terms({"cls_output": logits[:0]}, torch.empty(0, dtype=torch.int64))
    assert empty.shape == (0,)
    with pytest.raises(ValueError, match="under 'cls_output', but got one with the keys"):
        classification_terms({"adv_output": logits, "cls_output": None}, torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="but got Tensor"):
        classification_terms(logits, torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="aux_cls_type"):
        AuxiliaryClassifier(1.0, "XYZ")

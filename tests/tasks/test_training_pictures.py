from pathlib import Path

import torch
from PIL import Image

from tasks.training_pictures import draw_curves, loss_curves, loss_summaries
from tasks.workshop import Workshop


def product(curve: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": torch.zeros(2), "loss_curve": curve}


def test_every_trained_product_has_its_curve_in_the_order_of_the_training(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    workshop.tensors("statistics", lambda: {"std": torch.ones(3)})
    workshop.tensors("b-first", lambda: product(torch.linspace(2, 1, 95)))
    workshop.tensors("gaussian", lambda: product(torch.zeros(0)))
    workshop.tensors("a-second", lambda: product(torch.rand(7) + 1))
    assert {name: len(curve.training) for name, curve in loss_curves(tmp_path).items()} == {
        "b-first": 95,
        "a-second": 7,
    }
    path = draw_curves(tmp_path)
    assert path is not None
    with Image.open(path) as picture:
        assert picture.width > 1.5 * picture.height


def test_without_a_curve_there_is_no_picture(tmp_path: Path) -> None:
    assert draw_curves(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_card_tells_how_the_loss_fell_and_which_weights_were_kept(tmp_path: Path) -> None:
    evaluations = torch.tensor([[0, 3.0], [50, 1.5], [100, 2.0]], dtype=torch.float64)
    curve = torch.arange(100, 0, -1.0)
    made = product(curve) | {"validation_curve": evaluations}
    Workshop(tmp_path).tensors("autoencoder", lambda: made)
    assert loss_summaries(tmp_path) == {
        "autoencoder": {
            "iterations": 100,
            "training": [98.0 - 5 * k for k in range(20)],
            "validation": [[0, 3.0], [50, 1.5], [100, 2.0]],
            "best_iteration": 50,
        }
    }

"""The residual discriminator against its definitions."""

import pytest
import torch
import torch.nn.functional as F

from invcomp.training.discriminator import Conv, Discriminator, minibatch_deviation

from ..generators.test_stylegan2 import upfirdn


def test_minibatch_deviation_of_strided_groups() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 2, 2)
    found = minibatch_deviation(x, 4)
    assert found.shape == (8, 1, 2, 2)
    for first in (0, 1):
        group = x[first::2]
        expected = (group.var(0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(found[first::2], expected, atol=1e-6)


def test_equal_images_have_no_deviation() -> None:
    assert float(minibatch_deviation(torch.ones(4, 2, 3, 3), 4).max()) < 1e-3


@pytest.mark.parametrize(("kernel", "pad"), [(3, 2), (1, 1)])
def test_halving_is_the_filter_then_the_convolution(kernel: int, pad: int) -> None:
    torch.manual_seed(0)
    conv = Conv(3, 4, kernel, down=True, bias=False, activate=False).double()
    x = torch.randn(2, 3, 8, 8).double()
    smoothed = upfirdn(x, 1, (pad, pad), 1)
    expected = F.conv2d(smoothed, conv.weight / (3 * kernel**2) ** 0.5, stride=2)
    assert expected.shape == (2, 4, 4, 4)
    assert torch.allclose(conv(x), expected, atol=1e-12)


def test_gradients() -> None:
    torch.manual_seed(0)
    network = Discriminator([2, 2, 2], group=2).double()
    x = torch.randn(2, 3, 16, 16).double().requires_grad_()

    def features(x: torch.Tensor) -> torch.Tensor:
        return network.b8(network.b16(x))

    assert torch.autograd.gradcheck(features, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(features, (x,), fast_mode=True)


def test_names_are_nvidias() -> None:
    names = set(Discriminator([8, 6, 4]).state_dict())
    assert {"b16.fromrgb.weight", "b16.conv0.bias", "b16.conv1.weight", "b16.skip.weight"} <= names
    assert {"b4.conv.weight", "b4.fc.weight", "b4.out.bias"} <= names
    assert "b16.skip.bias" not in names
    assert Discriminator([8, 6, 4]).b4.conv.weight.shape == (8, 9, 3, 3)
    assert Discriminator([8, 6, 4], group=1).b4.conv.weight.shape == (8, 8, 3, 3)


def test_logits() -> None:
    assert Discriminator([4, 4])(torch.randn(4, 3, 8, 8)).shape == (4,)


def test_two_batches_in_one_pass_are_two_passes() -> None:
    torch.manual_seed(0)
    network = Discriminator([8, 8, 8], group=2).double()
    one, other = torch.randn(2, 4, 3, 16, 16, dtype=torch.float64)
    both = network(torch.cat([one, other]), batches=2)
    torch.testing.assert_close(both, torch.cat([network(one), network(other)]))
    assert not torch.allclose(both, network(torch.cat([one, other])))

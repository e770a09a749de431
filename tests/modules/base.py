"""What every module must do: inherit a class, name the module, and get its tests.

``ModuleTests`` asks only for a module and its inputs; ``ContextModuleTests`` adds what holds for a
module in the context slot, ``b c h w`` to ``b c h w``.
"""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import io
import re
from collections.abc import Callable

import pytest
import torch
from beartype import beartype
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from contextlab import catalogue, context
from contextlab.costs import measure

# one inherited property runs on many modules, which hypothesis would otherwise report
INHERITED = settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.differing_executors]
)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
SMALL = st.tuples(st.integers(1, 6), st.integers(1, 6))  # for the loops of the plain versions
DOCSTRING = ("Squeeze:", "Reason:", "Reconstruct:", "Args:", "Shape:", "Cost:", "Example:")
DOCSTRING += ("Source:", "Differs from the official code:")


class Options(dict):
    """The options with which a class builds its module."""


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and running statistics far from their start, so that every term counts."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / 2)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=draw) / 2)
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=draw))
    return module


@functools.cache
def checked_forward(module: type[nn.Module]):
    """``forward`` with its shape annotations checked at run time."""
    return jaxtyped(typechecker=beartype)(module.forward)


def macs(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of convolutions, layers and matrix products."""
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def peak_bytes(call: Callable[[], object]) -> int:
    """The most that ``call`` holds at once; the timed run makes what stays, such as gradients."""
    gc.freeze()  # what the test session holds is no garbage: spare the search through it
    try:
        return measure(call, repeats=1, warmup=0, device="cpu").peak_bytes
    finally:
        gc.unfreeze()


class ModuleTests:
    """Tests of any module; a subclass sets ``module`` and the rest as far as it differs."""

    module: type[nn.Module]
    arguments: tuple = ()
    options = Options()
    #: parameters whose gradient is zero by the mathematics of the module
    dead: frozenset[str] = frozenset()
    #: step size with which a zero start is left in the search for gradients
    rate = 10.0
    #: (options, pattern of the message) of constructions that must be refused
    refused: tuple = ()
    #: patterns with which wrong inputs must be refused, and those inputs
    refused_inputs: tuple = ()

    #: channels of the map on which float16 is tried
    hot_channels = 32
    #: pools its map, so that its cost depends on the parity of h and w
    pools = False

    def build(self, **options) -> nn.Module:
        torch.manual_seed(0)
        return self.module(*self.arguments, **(self.options | options))

    def inputs(self, size=(5, 6), batch: int = 2, dtype=torch.float32, seed: int = 1) -> tuple:
        raise NotImplementedError

    def expected_shape(self, *inputs: Tensor) -> tuple[int, ...]:
        return tuple(inputs[0].shape)

    def oracle(self, module: nn.Module, *inputs: Tensor) -> Tensor:
        """The plain version, in float64 loops."""
        raise NotImplementedError

    def agrees(self, module: nn.Module, inputs: tuple) -> bool:
        expected = self.oracle(module, *inputs)
        return torch.allclose(module(*inputs), expected, rtol=1e-9, atol=1e-9)

    @INHERITED
    @given(size=SIZES, batch=st.integers(1, 3))
    def test_shapes_and_untouched_input(self, size, batch):
        module, inputs = self.build().eval(), self.inputs(size, batch)
        before = copy.deepcopy(inputs)
        y = checked_forward(self.module)(module, *inputs)
        assert tuple(y.shape) == self.expected_shape(*inputs)
        assert torch.isfinite(y).all()
        assert all(torch.equal(x, was) for x, was in zip(inputs, before))

    @INHERITED
    @given(size=SMALL, batch=st.integers(1, 2), seed=st.integers(0, 99))
    def test_equals_the_plain_version(self, size, batch, seed):
        inputs = self.inputs(size, batch, torch.float64, seed)
        module = randomise(self.build(), seed).double()
        assert self.agrees(module.eval(), inputs)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype):
        inputs = self.inputs((6, 5), dtype=dtype)
        module = randomise(self.build()).eval()
        for parameter in module.parameters():
            parameter.data /= 2  # keeps the answers near 1, where the tolerance means something
        exact = module.double()(*(x.double() for x in inputs))
        y = module.to(dtype)(*inputs)
        assert y.dtype == dtype
        spread = exact.abs().max().item()
        torch.testing.assert_close(y.double(), exact, rtol=0, atol=0.05 * spread)

    @pytest.mark.parametrize("training", [False, True])
    @torch.no_grad()
    def test_an_answer_that_float16_can_hold_is_finite(self, training):
        """Even where all activations lie near 30, as behind a ReLU, and sums run far beyond it."""
        self.channels = self.hot_channels
        side, batch = (33, 2) if training else (65, 1)
        module = self.build().train(training)
        inputs = [30 + x for x in self.inputs((side, side), batch)]
        fits = copy.deepcopy(module)(*inputs).abs().max() < torch.finfo(torch.float16).max
        assert torch.isfinite(module.half()(*(x.half() for x in inputs))).all() or not fits

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_trains_in_every_precision(self, dtype):
        module, inputs = self.build().to(dtype), self.inputs(dtype=dtype)
        module(*inputs).float().square().mean().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name

    @pytest.mark.skipif(not torch.accelerator.is_available(), reason="no accelerator here")
    def test_accelerator(self):
        device = torch.accelerator.current_accelerator()
        module, inputs = randomise(self.build()).eval(), self.inputs()
        y = copy.deepcopy(module).to(device)(*(x.to(device) for x in inputs))
        torch.testing.assert_close(y.cpu(), module(*inputs), rtol=2e-2, atol=2e-2)

    def test_gradients_reach_every_parameter(self):
        module = self.build().double().eval()
        inputs = self.inputs(batch=4, dtype=torch.float64)
        aim = torch.randn(self.expected_shape(*inputs), dtype=torch.float64)
        step = torch.optim.SGD(module.parameters(), lr=self.rate)
        for _ in range(2):  # a zero start lets most gradients through only at the second step
            step.zero_grad()
            (module(*inputs) * aim).sum().backward()
            grads = {name: p.grad.abs().max().item() for name, p in module.named_parameters()}
            step.step()
        still = {name for name, size in grads.items() if size < 1e-12}
        assert still == self.dead

    def test_gradients_are_right(self):
        module = randomise(self.build()).double().eval()
        names, parameters = zip(*module.named_parameters())
        inputs = [x.requires_grad_() for x in self.inputs((2, 3), 1, torch.float64)]

        def run(*tensors):
            state = dict(zip(names, tensors))
            return torch.func.functional_call(module, state, tensors[len(names) :])

        assert torch.autograd.gradcheck(run, (*parameters, *inputs), fast_mode=True)

    def test_second_derivatives_are_right_or_are_said_to_be_missing(self):
        module = randomise(self.build()).double().eval()
        x, *rest = self.inputs((2, 3), 1, torch.float64)

        def slopes(x):
            (slope,) = torch.autograd.grad(module(x, *rest).square().sum(), x, create_graph=True)
            return slope

        try:
            assert torch.autograd.gradcheck(slopes, x.requires_grad_(), fast_mode=True)
        except RuntimeError as refused:
            assert "not implemented" in str(refused)
            assert "no second derivatives on a CPU" in " ".join(self.module.__doc__.split())

    def test_state_round_trip(self):
        module, other = randomise(self.build()).eval(), self.build().eval()
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        inputs = self.inputs()
        assert torch.equal(module(*inputs), other(*inputs))

    def test_no_state_between_calls(self):
        module = randomise(self.build()).eval()
        inputs, others = self.inputs((5, 6)), self.inputs((3, 4), seed=7)
        state = copy.deepcopy(module.state_dict())
        first = module(*inputs)
        module(*others)
        assert torch.equal(module(*inputs), first)
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())

    def test_images_do_not_see_each_other(self):
        """What is drawn in a call is drawn for one image after the other, so the seed tells all."""
        module = randomise(self.build()).double().eval()
        x, *rest = self.inputs(batch=3, dtype=torch.float64)
        torch.manual_seed(2)
        alone = torch.cat([module(image, *rest) for image in x.split(1)])
        torch.manual_seed(2)
        torch.testing.assert_close(module(x, *rest), alone)

    @pytest.mark.parametrize("training", [False, True])
    def test_an_empty_batch(self, training):
        module = self.build().train(training)
        inputs = [x.requires_grad_() for x in self.inputs(batch=0)]
        y = module(*inputs)
        assert tuple(y.shape) == self.expected_shape(*inputs)
        y.sum().backward()
        assert all(x.grad.shape == x.shape for x in inputs)
        assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
        for name, buffer in module.named_buffers():
            assert torch.isfinite(buffer).all(), name

    def test_construction_is_deterministic(self):
        first, second = self.build().state_dict(), self.build().state_dict()
        assert all(torch.equal(value, second[key]) for key, value in first.items())

    def test_compiles_in_one_graph(self):
        torch._dynamo.reset()
        module, inputs = randomise(self.build()).eval(), self.inputs()
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*inputs), module(*inputs))

    def dynamic_shapes(self) -> tuple | None:
        return None

    def test_exports(self):
        if self.pools and torch.__version__ < "2.10":
            pytest.skip("before 2.10, torch exports a pooled map for sizes of one parity only")
        module = randomise(self.build()).eval()
        program = torch.export.export(module, self.inputs(), dynamic_shapes=self.dynamic_shapes())
        sizes = [(5, 6), (8, 3), (9, 9)] if self.dynamic_shapes() else [(5, 6)]
        for size in sizes:
            inputs = self.inputs(size, seed=3)
            torch.testing.assert_close(program.module()(*inputs), module(*inputs))

    def test_autocast(self):
        module, inputs = self.build(), self.inputs()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(*inputs)
        y.float().square().mean().backward()
        assert torch.isfinite(y).all()
        torch.testing.assert_close(y.float(), module(*inputs), rtol=0.05, atol=0.05)

    def test_annotations_are_checked(self):
        with pytest.raises(TypeCheckError):
            checked_forward(self.module)(self.build(), *(x.long() for x in self.inputs()))

    def test_wrong_options_are_refused(self):
        assert self.refused
        for options, message in self.refused:
            with pytest.raises(ValueError, match=message):
                self.build(**options)

    def test_wrong_inputs_are_refused(self):
        assert self.refused_inputs
        for inputs, message in self.refused_inputs:
            with pytest.raises(ValueError, match=message):
                self.build()(*inputs)

    def test_docstring_keeps_the_order(self):
        text = inspect.getdoc(self.module)
        sentence, equation = text.split("\n\n")[:2]
        assert sentence.endswith(".") and "\n" not in sentence
        assert "=" in equation
        places = [re.search(rf"^{part}", text, re.MULTILINE) for part in DOCSTRING]
        assert all(places), [part for part, place in zip(DOCSTRING, places) if not place]
        starts = [place.start() for place in places]
        assert starts == sorted(starts)
        assert "torch.Size(" in text
        signature = inspect.signature(self.module).parameters
        for option in signature:
            assert re.search(rf"^    [\w, ]*\b{option}\b[\w, ]*:", text, re.MULTILINE), option


class ContextModuleTests(ModuleTests):
    """Tests of a context module: maps of any size in, the same size out."""

    #: its name in the catalogue
    name: str
    channels = 8
    identity_at_start = False
    permutation_equivariant = False
    #: channels, side of the map, parameters, MACs
    costs: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def arguments(self) -> tuple:
        return (self.channels,)

    def inputs(self, size=(5, 6), batch=2, dtype=torch.float32, seed=1):
        draw = torch.Generator().manual_seed(seed)
        return (torch.randn(batch, self.channels, *size, generator=draw).to(dtype),)

    @property
    def refused_inputs(self):
        c = self.channels
        form = rf"{self.module.__name__} expected a map \(b, {c}, h, w\), got "
        return (
            ((torch.zeros(1, c + 1, 4, 4),), form + rf"\(1, {c + 1}, 4, 4\)"),
            ((torch.zeros(c, 4, 4),), form + rf"\({c}, 4, 4\)"),
            ((torch.zeros(1, c, 4, 4).long(),), "expected a floating-point map, got torch.int64"),
        )

    def dynamic_shapes(self):
        auto = torch.export.Dim.AUTO
        return ({2: auto, 3: auto},)

    def test_catalogue_builds_it(self):
        entry = catalogue()[self.name]
        assert entry.module is self.module
        assert all((entry.title, entry.node, entry.squeeze, entry.reason, entry.reconstruct))
        torch.manual_seed(0)
        built = context(self.name, self.channels, **self.options)
        inputs = self.inputs()
        assert torch.equal(built.eval()(*inputs), self.build().eval()(*inputs))

    def test_costs(self):
        assert self.costs
        for channels, side, parameters, products in self.costs:
            with torch.device("meta"):
                module = self.module(channels, **self.options).eval()
                x = torch.empty(1, channels, side, side)
            assert sum(p.numel() for p in module.parameters()) == parameters
            assert macs(module, x) == products

    @pytest.mark.parametrize("training", [False, True])
    def test_identity_at_start(self, training):
        inputs = self.inputs()
        same = torch.equal(self.build().train(training)(*inputs), inputs[0])
        assert same == self.identity_at_start

    def test_permuted_pixels(self):
        module = randomise(self.build()).double().eval()
        (x,) = self.inputs((4, 5), dtype=torch.float64)
        order = torch.randperm(20, generator=torch.Generator().manual_seed(3))

        def permute(t):
            return t.flatten(2)[..., order].reshape(t.shape)

        same = torch.allclose(module(permute(x)), permute(module(x)), atol=1e-9)
        assert same == self.permutation_equivariant

    def test_channels_last(self):
        module, (x,) = randomise(self.build()).double().eval(), self.inputs(dtype=torch.float64)
        y = module(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(y, module(x))

    def test_larger_batch_in_training(self):
        module = self.build().train()
        (x,) = self.inputs((1, 1), batch=3)
        assert module(x).shape == x.shape

"""What every network of a backbone and a head must do: inherit, and name the head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from contextlab.backbones import CourseBackbone
from contextlab.networks import HeadNetwork
from contextlab.networks._shared import auxiliary_head

WIDTH, CLASSES = 16, 5
# one inherited property runs on several heads, which hypothesis would otherwise report
INHERITED = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.differing_executors]
)


class HeadTests:
    """A subclass sets the ``module`` of the head and options with which it is small."""

    module: type[nn.Module]
    options: dict[str, int]
    forms = ("paper", "code")
    dropout: float

    def head(self, form: str, **options) -> nn.Module:
        return self.module(WIDTH, CLASSES, form=form, **{**self.options, **options})

    def net(self, form: str) -> HeadNetwork:
        torch.manual_seed(0)
        backbone = CourseBackbone(width=WIDTH, stem=4)
        extra = auxiliary_head(backbone, CLASSES, 8, bias=True)
        return HeadNetwork(backbone, CLASSES, self.head(form), extra)

    @INHERITED
    @given(h=st.integers(1, 50), w=st.integers(1, 50), b=st.integers(1, 2), code=st.booleans())
    def test_logits_have_the_size_of_the_image(self, h, w, b, code):
        model = self.net(self.forms[code]).eval()
        with torch.no_grad():
            assert model(torch.rand(b, 3, h, w)).shape == (b, CLASSES, h, w)

    def test_every_weight_learns_in_training(self):
        for form in self.forms:
            model = self.net(form).train()
            optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
            x, labels = torch.rand(2, 3, 40, 48), torch.randint(CLASSES, (2, 40, 48))
            reached = set()
            for _ in range(2):  # a block that is the identity at the start opens in the first step
                logits, auxiliary = model(x)
                assert logits.shape == auxiliary.shape == (2, CLASSES, 40, 48)
                loss = F.cross_entropy(logits, labels) + 0.4 * F.cross_entropy(auxiliary, labels)
                optimiser.zero_grad()
                loss.backward()
                reached |= {n for n, p in model.named_parameters() if p.grad.any()}
                optimiser.step()
            assert {n for n, _ in model.named_parameters()} - reached == set()

    def test_the_auxiliary_answer_is_for_training_only_and_of_the_map_before(self):
        for form in self.forms:
            model, x = self.net(form), torch.rand(2, 3, 32, 32)
            assert isinstance(model.eval()(x), torch.Tensor)
            model.train()(x)[1].sum().backward()
            reached = {n for n, p in model.named_parameters() if p.grad is not None}
            assert {n.split(".")[0] for n in reached} == {"backbone", "auxiliary"}
            assert not any(
                n.startswith(("backbone.blocks.1", "backbone.blocks.2")) for n in reached
            )

    def test_the_parts_make_the_whole(self):
        for form in self.forms:
            model, x = self.net(form).eval(), torch.rand(2, 3, 30, 41)
            maps = model.backbone((x - 0.5) / 0.5)
            logits = F.interpolate(model.head(maps[-1]), size=(30, 41), mode="bilinear")
            torch.testing.assert_close(model(x), logits)

    def test_corners_are_aligned_where_asked_for(self):
        plain, x = self.net("code").eval(), torch.rand(2, 3, 30, 41)
        model = HeadNetwork(plain.backbone, CLASSES, plain.head, align_corners=True).eval()
        logits = model.head(model.backbone((x - 0.5) / 0.5)[-1])
        rows, columns = [0, 0, -1, -1], [0, -1, 0, -1]
        torch.testing.assert_close(model(x)[..., rows, columns], logits[..., rows, columns])
        assert not torch.allclose(model(x), plain(x))

    def test_it_compiles_and_exports(self):
        model, x = self.net("code").eval(), torch.rand(2, 3, 21, 34)
        with torch.no_grad():
            expected = model(x)
            compiled = torch.compile(model, fullgraph=True, backend="eager")
            torch.testing.assert_close(compiled(x), expected)
            torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), expected)
        torch.compiler.reset()

    def test_the_head_ends_with_dropout_and_one_logit_a_class(self):
        for form in self.forms:
            dropout, last = self.head(form).classifier
            assert isinstance(dropout, nn.Dropout2d) and dropout.p == self.dropout
            assert self.head(form, dropout=0.3).classifier[0].p == 0.3
            assert (last.out_channels, last.kernel_size, last.bias is None) == (5, (1, 1), False)

    def test_wrong_options_are_refused_in_words(self):
        for options, message in (
            ({"form": "official"}, "form of paper, code, got 'official'"),
            ({"form": "paper", "width": 0}, "width and classes >= 1, got 0 and 5"),
            ({"form": "paper", "heads": 2}, "'heads'"),
        ):
            with pytest.raises(ValueError, match=message):
                self.head(**options)


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())

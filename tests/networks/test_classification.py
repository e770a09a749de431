"""The classifier: the published sizes, the gates and their places, and that it trains as it is."""

import math

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st

from contextlab import data, training
from contextlab.backbones import backbone
from contextlab.backbones.df import BasicBlock
from contextlab.modules import SqueezeExcite
from contextlab.networks import Classifier, NodeGate, classifier

GATES = ((None, {}), ("squeeze_excite", {"reduction": 4}), ("squeeze_reasoning", {"nodes": 8}))
SMALL = {"width": 0.125}


def small(context=None, options=None, **more):
    torch.manual_seed(0)
    return classifier(
        3, backbone="df1", backbone_options=SMALL, context=context, context_options=options, **more
    )


@pytest.mark.parametrize(
    ("name", "context", "options", "parameters"),
    [
        ("resnet50", None, {}, 25_557_032),
        ("resnet50", "squeeze_excite", {}, 28_088_024),
        ("resnet50", "cbam", {}, 28_089_624),
        ("resnet50", "squeeze_reasoning", {"edges": "none"}, 25_635_624),
        ("resnet50", "squeeze_reasoning", {}, 25_635_624 + 16 * 16**2),
        ("resnet101", "squeeze_excite", {}, 49_326_872),
        ("resnet101", "squeeze_reasoning", {"edges": "none"}, 44_697_384),
        ("resnet101", "squeeze_reasoning", {}, 44_697_384 + 33 * 16**2),
    ],
)
def test_the_published_sizes(name, context, options, parameters):
    """Table X; SRNet-101's 44.70 M hold only without A_g."""
    with torch.device("meta"):
        net = classifier(1000, backbone=name, context=context, context_options=options)
        assert net.eval()(torch.empty(1, 3, 224, 224)).shape == (1, 1000, 1, 1)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_a_gate_stands_last_in_every_branch():
    with torch.device("meta"):
        net = classifier(1000, backbone="resnet50", context="squeeze_reasoning")
    gates = [n for n, m in net.named_modules() if isinstance(m, NodeGate)]
    assert len(gates) == 3 + 4 + 6 + 3 and all(n.endswith(".se") for n in gates)
    narrow = small("squeeze_excite", {"reduction": 4})
    blocks = [m for m in narrow.modules() if isinstance(m, BasicBlock)]
    assert len(blocks) == 10
    assert all(isinstance(block.residual[-1], SqueezeExcite) for block in blocks)


def plain_gate(gate: NodeGate, x):
    """Equation by equation, with the matrices written out."""
    g = rearrange(x.mean((2, 3)), "b (k m) -> b m k", k=gate.nodes)  # states x nodes
    w = gate.talk.weight[0].weight[:, :, 0]
    a = 0 if gate.talk.adjacency is None else gate.talk.adjacency[0].weight[:, :, 0].T
    e = w @ g @ (torch.eye(gate.nodes, dtype=x.dtype) - a)
    e = e.sigmoid() if gate.gate == "sigmoid" else e.relu()
    return x * rearrange(e, "b m k -> b (k m) 1 1")


@settings(deadline=None, max_examples=20)
@given(
    nodes=st.sampled_from([1, 2, 4, 8]),
    edges=st.sampled_from(["learned", "none"]),
    gate=st.sampled_from(["sigmoid", "relu"]),
    h=st.integers(1, 6),
    w=st.integers(1, 6),
)
def test_a_node_gate_is_what_its_equation_says(nodes, edges, gate, h, w):
    torch.manual_seed(nodes)
    module = NodeGate(16, nodes=nodes, edges=edges, gate=gate).double()
    x = torch.randn(2, 16, h, w, dtype=torch.float64)
    torch.testing.assert_close(module(x), plain_gate(module, x))


def test_its_cost_is_the_stated_one():
    count = sum(p.numel() for p in NodeGate(64).parameters())
    assert count == 16**2 + 4**2
    assert sum(p.numel() for p in NodeGate(64, edges="none").parameters()) == 4**2


@settings(deadline=None, max_examples=15)
@given(h=st.integers(1, 70), w=st.integers(1, 70), b=st.integers(1, 3), gate=st.sampled_from(GATES))
def test_one_answer_an_image(h, w, b, gate):
    with torch.no_grad():
        assert small(*gate).eval()(torch.rand(b, 3, h, w)).shape == (b, 3, 1, 1)


def test_the_parts_make_the_whole():
    model, x = small("squeeze_reasoning", {"nodes": 8}).eval(), torch.rand(2, 3, 64, 96)
    net = model.backbone
    mean, std = (torch.tensor(v)[:, None, None] for v in (net.mean, net.std))
    pooled = net((x - mean) / std)[-1].mean((2, 3))
    layer = model.classifier[1]
    expected = pooled @ layer.weight[:, :, 0, 0].T + layer.bias
    torch.testing.assert_close(model(x)[:, :, 0, 0], expected)


@pytest.mark.parametrize(("context", "options"), GATES)
def test_the_loop_trains_and_scores_it_unchanged(context, options):
    model, vehicles = small(context, options, dropout=0.1), data.build("vehicles", "val", size=16)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    history = training.fit(model, vehicles, training.Recipe(steps=3, batch=8), progress=False)
    assert all(map(math.isfinite, history.loss)) and history.finished
    same = [n for n, p in model.named_parameters() if torch.equal(p, before[n])]
    assert same == []
    metrics = training.evaluate(model, vehicles)
    assert sum(map(sum, metrics.confusion)) == 16 and metrics.demands == {}
    assert metrics.classes == ("bus", "truck", "train")


def test_it_exports():
    model, x = small("squeeze_reasoning", {"nodes": 8}).eval(), torch.rand(2, 3, 45, 70)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "squeeze_reasoning", "context_options": {"nodes": 5}}, "channels=8, got 5"),
        (
            {"context": "squeeze_reasoning", "context_options": {"nodes": 8, "gate": "tanh"}},
            "a gate of sigmoid, relu, got 'tanh'",
        ),
        ({"context_options": {"nodes": 8}}, "a context for context_options, got None"),
        ({"backbone": "course", "backbone_options": {}, "context": "cbam"}, "got 'gate'"),
        ({"classes": ()}, "classes >= 1, got 0"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    given = {"classes": 3, "backbone": "df1", "backbone_options": SMALL} | options
    with pytest.raises(ValueError, match=message):
        classifier(**given)
    with pytest.raises(ValueError, match="no ImageNet weights in timm for resnet18 with a gate"):
        backbone("resnet18", gate=NodeGate)


def test_any_backbone_will_do_without_gates():
    assert Classifier(backbone("course"), 4).eval()(torch.rand(1, 3, 9, 7)).shape == (1, 4, 1, 1)

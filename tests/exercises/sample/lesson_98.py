"""A small lesson that the tests of the mechanism use: one exercise of each kind, and a quiz."""

import torch

from contextlab.exercises import Exercise, Question, Wrong, WrongAnswer, call, raises, same

TITLE = "Running means"


def _check_hops(hops):
    same(hops, 3, what="the number of hops", why="Count the edges from 0 to 3 on the path.")


def _check_running_mean(running_mean):
    same(running_mean(torch.tensor([1.0, 2.0, 3.0]), 2), torch.tensor([1.5, 2.5]), what="the mean")
    for n, k in ((1, 1), (7, 3), (10, 10)):
        x = torch.randn(n)
        want = torch.stack([x[i : i + k].mean() for i in range(n - k + 1)])
        same(running_mean(x, k), want, what=f"the mean of {n} values with a window of {k}")
    raises(ValueError, running_mean, torch.zeros(3), 4, why="The window is longer than x.")


def _check_gate(gate_class):
    gate = call(gate_class, 4)
    for shape in ((2, 4, 3, 5), (1, 4, 1, 1)):
        x = torch.randn(shape)
        out = call(gate, x)
        if out.shape != x.shape:
            raise Wrong(f"the gate keeps the shape {shape}, yours gives {tuple(out.shape)}.")
        weight = torch.sigmoid(gate.fc(x.mean((2, 3))))
        same(out, x * weight[:, :, None, None], what="the output", why="One weight a channel.")
    if all(parameter.grad is None for parameter in gate.parameters()):
        call(gate, torch.randn(2, 4, 3, 3)).sum().backward()
    if any(parameter.grad is None for parameter in gate.parameters()):
        raise Wrong("no gradient reaches the parameters.")


RUNNING_MEAN = """
def running_mean(x, k):
    if k > len(x):
        raise ValueError(f"the window {k} is longer than {len(x)} values")
    return x.unfold(0, k, 1).mean(-1)
"""

EXERCISES = [
    Exercise(
        name="hops",
        lesson="98",
        title="Count",
        prompt="How many hops is node 3 from node 0 on the path 0 - 1 - 2 - 3?",
        stub="hops = ...",
        solution="hops = 3",
        check=_check_hops,
        hint="Walk along the path and count the edges.",
        wrong=(
            WrongAnswer("hops = 4", r"hops is 4, and should be 3. Count the edges"),
            WrongAnswer("hops = 'three'", r"should be a number, got 'three'"),
            WrongAnswer("hops = float('nan')", r"is nan, and should be 3"),
        ),
    ),
    Exercise(
        name="running_mean",
        lesson="98",
        title="Running mean",
        prompt="Write the mean of every window of `k` neighbours: $y_i = \\frac1k\\sum_j x_{i+j}$.",
        stub="""
        def running_mean(x, k):
            # raise ValueError when k is larger than len(x)
            return ...
        """,
        solution=RUNNING_MEAN,
        check=_check_running_mean,
        hint="`x.unfold(0, k, 1)` gives all windows.",
        wrong=(
            WrongAnswer("def running_mean(x, k): return x", r"shape \(3,\); expected shape \(2,\)"),
            WrongAnswer(
                "def running_mean(x, k): return x.unfold(0, k, 1).sum(-1)", "at .* it is 5, and"
            ),
            WrongAnswer("def running_mean(x, k): x.mean()", r"returned None: is the `return`"),
            WrongAnswer(
                "def running_mean(x, k):\n    x -= 1\n    return x.unfold(0, k, 1).mean(-1) + 1",
                "changed its input in place",
            ),
            WrongAnswer(
                "def running_mean(x, k): return x.unfold(0, min(k, len(x)), 1).mean(-1)",
                r"running_mean\(tensor of shape \(3,\), 4\) should raise ValueError, but did not",
            ),
            WrongAnswer(
                "def running_mean(x, k):\n    y = ...\n    return y + x",
                r"TypeError in line 3, `return y \+ x`: .* `\.\.\.` is still waiting",
            ),
            WrongAnswer("def running_mean(x, k): return unfold(x)", "Run the cells above first"),
        ),
    ),
    Exercise(
        name="gate",
        lesson="98",
        title="A gate",
        prompt="One weight a channel, from the channel's mean.",
        stub="""
        class Gate(nn.Module):
            def __init__(self, channels):
                super().__init__()
                self.fc = nn.Linear(channels, channels)

            def forward(self, x):
                return ...
        """,
        solution="""
        class Gate(nn.Module):
            def __init__(self, channels):
                super().__init__()
                self.fc = nn.Linear(channels, channels)

            def forward(self, x):
                weight = torch.sigmoid(self.fc(x.mean((2, 3))))
                return x * rearrange(weight, "b c -> b c 1 1")
        """,
        check=_check_gate,
        hint="Average over height and width first.",
        wrong=(
            WrongAnswer("class Gate:\n    pass", r"Gate\(4\) stopped with TypeError"),
            WrongAnswer(
                "class Gate(nn.Module):\n"
                "    def __init__(self, c):\n"
                "        super().__init__()\n"
                "        self.fc = nn.Linear(c, c)\n"
                "    def forward(self, x):\n"
                "        return x + torch.sigmoid(self.fc(x.mean((2, 3))))[:, :, None, None]",
                "values are off; .* One weight a channel",
            ),
            WrongAnswer(
                "class Gate(nn.Module):\n"
                "    def __init__(self, c):\n"
                "        super().__init__()\n"
                "        self.fc = nn.Linear(c, c)\n"
                "    def forward(self, x):\n"
                "        return self.fc(x)",
                r"Gate\(tensor of shape \(2, 4, 3, 5\)\) stopped with RuntimeError in line 6",
            ),
        ),
        defines="Gate",
    ),
    Exercise(
        name="smooth_twice",
        lesson="98",
        title="Twice",
        prompt="Apply `running_mean` twice.",
        stub="""
        def smooth_twice(x, k):
            raise NotImplementedError
        """,
        solution="""
        def smooth_twice(x, k):
            return running_mean(running_mean(x, k), k)
        """,
        check=lambda f: same(f(torch.arange(5.0), 2), torch.tensor([1.0, 2, 3])),
        hint="The output of the first is the input of the second.",
        wrong=(
            WrongAnswer(
                "def smooth_twice(x, k): return running_mean(x, k)", r"has shape \(4,\); expected"
            ),
        ),
        needs=("running_mean",),
    ),
]

QUIZ = [
    Question(
        "What does a window of `k = 1` do to $x$?", ("nothing", "it averages all"), 0, "One value."
    ),
    Question("How long is the result?", ("n", "n - k + 1", "k"), 1, "So many windows fit."),
]

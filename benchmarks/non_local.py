"""The non-local block against its plain version: time and peak memory, as ratios from one run.

    python benchmarks/non_local.py [--sides 32 64 96] [--mode dot_product] [--device cuda]

The plain version computes the same with the n x n matrix of affinities in memory. Both use the
same weights, and the benchmark stops where their answers differ.
"""

from __future__ import annotations

import argparse

import torch
from einops import einsum, rearrange
from torch import Tensor

from contextlab.costs import Measurement, Table, fit_exponent, measure
from contextlab.modules import NonLocal
from contextlab.modules.non_local import MODES


def plain(module: NonLocal, x: Tensor) -> Tensor:
    """The block as the equation has it, with all affinities at once."""
    query, key, value = module.project(x)
    if module.mode == "concatenation":
        a, b = (einsum(t, w, "b k n d, k d -> b k n") for t, w in zip((query, key), module.w))
        affinity = torch.relu(rearrange(a, "b k i -> b k i 1") + rearrange(b, "b k j -> b k 1 j"))
    else:
        affinity = einsum(query, key, "b k i d, b k j d -> b k i j")
    if module.mode in ("embedded_gaussian", "gaussian"):
        affinity = torch.softmax(module.scale * affinity, -1)
    else:
        affinity = affinity / key.shape[2]
    y = einsum(affinity, value, "b k i j, b k j e -> b k i e")
    y = rearrange(y, "b k (h w) d -> b (k d) h w", h=x.shape[2])
    return x + module.norm(module.out(y))


def compare(module: NonLocal, x: Tensor, backward: bool, repeats: int) -> tuple[Measurement, ...]:
    """Measure ours, then the plain version."""

    def call(forward):
        with torch.set_grad_enabled(backward):
            y = forward(x)
            if backward:
                y.square().mean().backward()

    versions = (module, lambda x: plain(module, x))
    return tuple(measure(call, version, repeats=repeats, device=x.device) for version in versions)


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 96])
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--mode", choices=MODES, default=MODES[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args(arguments)

    torch.manual_seed(0)
    module = NonLocal(chosen.channels, mode=chosen.mode, zero_init=False).to(chosen.device)
    # the logits of a fresh block are near zero: spread them as those of a trained one
    for layer in (module.theta, module.phi):
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=chosen.channels**-0.5 / 2)
    rows = []
    for side in chosen.sides:
        x = torch.randn(1, chosen.channels, side, side, device=chosen.device)
        with torch.no_grad():
            torch.testing.assert_close(module(x), plain(module, x), rtol=1e-4, atol=1e-4)
        for backward in (False, True):
            x.requires_grad_(backward)
            ours, theirs = compare(module, x, backward, chosen.repeats)
            rows.append(
                {
                    "side": side,
                    "pass": "forward + backward" if backward else "forward",
                    "ours (ms)": 1e3 * ours.seconds,
                    "plain (ms)": 1e3 * theirs.seconds,
                    "time, ours / plain": ours.seconds / theirs.seconds,
                    "ours (MiB)": ours.peak_bytes / 2**20,
                    "plain (MiB)": theirs.peak_bytes / 2**20,
                    "memory, plain / ours": theirs.peak_bytes / ours.peak_bytes,
                }
            )
    print(f"{chosen.mode}, batch 1, {chosen.channels} channels, {module.g.out_channels} inside,")
    print(f"torch {torch.__version__}, {chosen.device}, {torch.get_num_threads()} threads")
    print(Table(rows))
    if len(chosen.sides) > 1:
        pixels = [side**2 for side in chosen.sides]
        for name in ("forward", "forward + backward"):
            for version in ("ours", "plain"):
                peaks = [row[f"{version} (MiB)"] for row in rows if row["pass"] == name]
                print(f"memory of {version}, {name}: {fit_exponent(pixels, peaks)}")
    return rows


if __name__ == "__main__":
    main()

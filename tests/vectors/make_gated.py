"""Writes gated.safetensors beside this file: gated RMS norm as PyTorch computes it in float64, gradients by
autograd, and layer norm and RMS norm whose y and rstd backward is to have in place of x, each as a call of the
tool.

    python -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python tests/vectors/make_gated.py

README.md beside this file says what the file holds. Run again with the same PyTorch, the file comes out the same,
but for the order of its metadata.
"""

import json
import pathlib

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F

EPS = float(np.float32(1e-5))


def rms_norm(x, gain, groups):
    """Of groups of neighboring columns, with a gain for all."""
    grouped = x.unflatten(-1, (groups, -1))
    xhat = grouped * torch.rsqrt(grouped.square().mean(-1, keepdim=True) + EPS)
    return xhat.flatten(-2) * gain


def gated(x, gate_input, gain, order, groups):
    """`rms_norm_ref` of Mamba 2 (`norm_before_gate`) has both orders."""
    if order == "before":
        return rms_norm(x * F.silu(gate_input), gain, groups)
    return rms_norm(x, gain, groups) * F.silu(gate_input)


def sizes(y, dy, leaves):
    """The largest sum of |terms| of each gradient, a term for each y."""
    sums = {key: torch.zeros_like(leaf) for key, leaf in leaves.items()}
    for value, weight in zip(y.flatten(), dy.flatten()):
        of_value = torch.autograd.grad(value, list(leaves.values()), retain_graph=True)
        for key, gradient in zip(leaves, of_value):
            sums[key] += (weight * gradient).abs()
    return {f"d{key}": value.max().item() for key, value in sums.items()}


def main():
    torch.manual_seed(20161231)
    tensors, calls = {}, []

    def add(name, values):
        tensors.update({f"{name}.{key}": value.detach().contiguous().clone() for key, value in values.items()})

    for rows, cols, groups in ((6, 24, 1), (5, 40, 4)):
        for order in ("before", "after"):
            name = f"gated.{order}_{groups}"
            inputs = {
                "x": torch.randn(rows, cols) + 0.3,
                "gate_input": 2 * torch.randn(rows, cols),
                "gain": 1 + 0.25 * torch.randn(cols),
                "dy": torch.randn(rows, cols),
            }
            leaves = {key: value.double().requires_grad_() for key, value in inputs.items() if key != "dy"}
            y = gated(**leaves, order=order, groups=groups)
            of_terms = sizes(y, inputs["dy"].double(), leaves)
            y.backward(inputs["dy"].double())
            gradients = {f"d{key}": leaf.grad for key, leaf in leaves.items()}
            add(name, {**inputs, "y": y, **gradients})
            shared = ["--x", f"{name}.x", "--gate-input", f"{name}.gate_input", "--gate-order", order]
            shared += ["--gain", f"{name}.gain", "--normalization", "rms"]
            if groups > 1:
                shared += ["--heads", str(groups), "--head-dim", str(cols // groups)]
            forward = {"y": [f"{name}.y", y.detach().abs().max().item()]}
            calls.append({"name": f"{name} forward", "command": "forward", "flags": shared, "outputs": forward})
            outputs = {key: [f"{name}.{key}", of_terms[key]] for key in gradients}
            flags = [*shared, "--dy", f"{name}.dy"]
            calls.append({"name": f"{name} backward", "command": "backward", "flags": flags, "outputs": outputs})

    for normalization in ("layer", "rms"):
        rows, cols, name = 5, 24, f"from_y.{normalization}"
        inputs = {
            "x": torch.randn(rows, cols) + 0.3,
            "gain": 1 + 0.25 * torch.randn(cols),
            "bias": 0.5 * torch.randn(cols),
            "dy": torch.randn(rows, cols),
        }
        leaves = {key: value.double().requires_grad_() for key, value in inputs.items() if key != "dy"}
        x = leaves["x"]
        mean = x.mean(-1, keepdim=True) if normalization == "layer" else 0.0
        rstd = torch.rsqrt((x - mean).square().mean(-1, keepdim=True) + EPS)
        y = (x - mean) * rstd * leaves["gain"] + leaves["bias"]
        of_terms = sizes(y, inputs["dy"].double(), leaves)
        y.backward(inputs["dy"].double())
        gradients = {f"d{key}": leaf.grad for key, leaf in leaves.items()}
        # As forward stores them.
        stored = {"y": y.detach().float(), "rstd": rstd.detach().flatten().float()}
        add(name, {**inputs, **stored, **gradients})
        flags = [part for key in ("y", "rstd", "gain", "bias", "dy") for part in (f"--{key}", f"{name}.{key}")]
        flags += ["--normalization", normalization]
        outputs = {key: [f"{name}.{key}", of_terms[key]] for key in gradients}
        calls.append({"name": f"{name} backward", "command": "backward", "flags": flags, "outputs": outputs})

    metadata = {"torch": torch.__version__, "calls": json.dumps(calls)}
    path = pathlib.Path(__file__).with_name("gated.safetensors")
    safetensors.torch.save_file(tensors, path, metadata)
    print(f"{path}: {len(calls)} calls, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
